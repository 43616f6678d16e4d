/* hash.h - fast hashes that no one needs to trust: of ids, to find equal ones, and CRC32C, to notice a file that was
 * cut or altered by accident. Neither protects from a person who means harm: whatever is found equal by hash is compared
 * itself, and every field of a file is checked against its bounds whatever its checksum says. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Multiply and fold, as in wyhash: 8 bytes a step. */
static inline uint64_t hash_bytes(const void *p, size_t n)
{
    static const uint64_t k0 = 0xa0761d6478bd642f, k1 = 0xe7037ed1a0b428db;
    const uint8_t *s = (const uint8_t *)p;
    uint64_t h = k0 ^ n, w = 0;
    size_t left = n;
    for (; left > 8; left -= 8, s += 8) {
        memcpy(&w, s, 8);
        h = hash_mix(h ^ w, k1);
    }
    w = 0;
    memcpy(&w, s, left);
    return hash_mix(hash_mix(h ^ w, k1) ^ k0, k1);
}

/* CRC-32C (Castagnoli, RFC 3720): crc32c(0, "123456789", 9) = 0xe3069283. Continues from crc. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
uint32_t crc32c_ref(uint32_t crc, const void *p, size_t n); /* bit by bit: the test's oracle */
