/* evp.h - OpenSSL's digests and ciphers beside ours: their type ERR_STATE has the name of our error code. */
#pragma once
#define ERR_STATE openssl_err_state
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#undef ERR_STATE
