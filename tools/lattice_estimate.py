#!/usr/bin/env python3
"""The figures of docs/security/lattice.md, from the constants of src/crypto/lattice_ring.h.

Security here is the primal attack alone (embedding a secret of deviation 0.82 scaled to the noise; BKZ with block size b
succeeds where the projected target is shorter than what BKZ leaves, Alkim et al. 2016; one core-SVP call 2^(0.292 b), and
with 2^(16.4) 8 d for the HomomorphicEncryption.org convention). With a Sage that has the lattice-estimator on its path,
--estimator prints that too: it knows more attacks and is what the page quotes.
"""
import math
import sys

DIM, DEGREE, ROWS, NOISE_VAR, KEY_SHIFT, SCALE, REPLY_SHIFT, FLOOD = 2560, 512, 64, 12, 16, 34, 24, 31


def log2_root(b):  # of the root Hermite factor of BKZ-b (Chen 2013)
    return math.log2((math.pi * b) ** (1 / b) * b / (2 * math.pi * math.e)) / (2 * (b - 1))


def primal(n, log_q, sigma, secret=math.sqrt(2 / 3)):
    for b in range(60, 1500, 2):
        for m in range(n // 3, 2 * n + 200, 40):
            d = n + m + 1
            log_volume = (m * log_q + n * math.log2(sigma / secret)) / d
            if math.log2(sigma) + math.log2(b) / 2 <= (2 * b - d - 1) * log2_root(b) + log_volume:
                return b, 0.292 * b, 0.292 * b + 16.4 + math.log2(8 * d)
    return None


def security():
    print("set                     n  log q  sigma  block  core-SVP  with 8d tours")
    for name, n, log_q, sigma in (
        ("published row", 2048, 54, 3.2),
        ("rows", DIM, 64, math.sqrt(NOISE_VAR)),
        ("key, hiding", DIM, 64 - KEY_SHIFT, math.sqrt(NOISE_VAR)),
    ):
        b, core, tours = primal(n, log_q, sigma)
        print(f"{name:20} {n:5} {log_q:6} {sigma:6.2f} {b:6} {core:9.1f} {tours:14.1f}")


def noise():
    t = 11  # deviations: 2 exp(-t^2 / 2) = 2^-86.3 for each of the three sums
    rounding = t * math.sqrt((DIM + 1) / 12) * 2**REPLY_SHIFT
    key = t * math.sqrt(2 * DIM * NOISE_VAR) * 2**KEY_SHIFT
    flood, deviation = 2.0 ** (FLOOD + 1), 2**FLOOD / math.sqrt(3)
    print("\n   rows  noise bound / 2^33  flooding, bits  first-order leak of a digit, log2 bits")
    for rows in (569, 30000, 131072, 10**6, 1 << 22, 1 << 31):
        hidden = math.sqrt(NOISE_VAR * DEGREE * math.ceil(rows / ROWS))
        bound = (rounding + key + flood + t * hidden) / 2 ** (SCALE - 1)
        leak = math.log2(1.0386 / 2 / math.log(2)) + 2 * math.log2(hidden / deviation)
        print(f"{rows:10} {bound:17.3f} {math.log2(deviation / hidden):15.1f} {leak:20.1f}")


def estimator():
    from estimator import LWE, ND  # the public repository malb/lattice-estimator, under sage -python

    for log_q in (64, 64 - KEY_SHIFT):
        print(f"\nlog q = {log_q}")
        LWE.estimate(LWE.Parameters(DIM, 2**log_q, ND.Uniform(-1, 1), ND.DiscreteGaussian(math.sqrt(NOISE_VAR))))


if __name__ == "__main__":
    security()
    noise()
    if "--estimator" in sys.argv[1:]:
        estimator()
