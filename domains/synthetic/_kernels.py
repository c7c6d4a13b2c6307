"""Compiled CPU kernel for mixtures of isotropic Gaussians: energy and force of many points.

    l_k(x) = c_k - |x - m_k|^2 / (2 v_k),    u(x) = -log sum_k exp l_k(x)
    force  = sum_k r_k (m_k - x) / v_k,       r_k = exp(l_k) / sum_j exp(l_j)

Points are taken in blocks of `LANES`, component by component, so that the inner loops run over
points and become vector instructions. The compiler has no vector `exp` of its own, hence the one
here: a polynomial for 2^f on |f| <= 1/2, scaled by writing the integer part into the exponent bits.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
LANES = 128


@intrinsic
def _float_from_bits(typing_context, bits):
    """The float whose bit pattern is the given integer: int32 -> float32, int64 -> float64."""
    narrow = bits.bitwidth == 32
    signature = (types.float32 if narrow else types.float64)(bits)

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType() if narrow else ir.DoubleType())

    return signature, generate


def exp_nonpositive(x: float) -> float:
    """exp(x) for x <= 0: relative error |x| 1e-7 (float32) or 1e-15 (float64).

    Below -87 (float32) and -700 (float64) the value there, about 1e-38 and 1e-304, is returned.
    """
    return math.exp(x)


@overload(exp_nonpositive, inline="always")
def _exp_nonpositive(x):
    return _exp_nonpositive_32 if x == types.float32 else _exp_nonpositive_64


def _exp_nonpositive_32(x):
    power = (np.float32(-87.0) if x < np.float32(-87.0) else x) * np.float32(1.4426950408889634)
    whole = np.int32(power - np.float32(0.5))
    f = power - np.float32(whole)
    p = np.float32(1.5403530393381609e-4)
    p = p * f + np.float32(1.3333558146428443e-3)
    p = p * f + np.float32(9.6181291076284772e-3)
    p = p * f + np.float32(5.5504108664821580e-2)
    p = p * f + np.float32(2.4022650695910071e-1)
    p = p * f + np.float32(6.9314718055994531e-1)
    p = p * f + np.float32(1.0)
    bits = np.int32((whole + np.int32(127)) << np.int32(23))
    return p * _float_from_bits(bits)  # type: ignore[call-arg]


def _exp_nonpositive_64(x):
    x = -700.0 if x < -700.0 else x
    whole = np.int32(x * 1.4426950408889634 - 0.5)
    # log 2 in two parts: the product with the integer is exact in the first, so no digits are lost.
    t = x - whole * 6.93145751953125e-1 - whole * 1.42860682030941723e-6
    p = 1.0 / 6227020800.0
    p = p * t + 1.0 / 479001600.0
    p = p * t + 1.0 / 39916800.0
    p = p * t + 1.0 / 3628800.0
    p = p * t + 1.0 / 362880.0
    p = p * t + 1.0 / 40320.0
    p = p * t + 1.0 / 5040.0
    p = p * t + 1.0 / 720.0
    p = p * t + 1.0 / 120.0
    p = p * t + 1.0 / 24.0
    p = p * t + 1.0 / 6.0
    p = p * t + 0.5
    p = p * t + 1.0
    p = p * t + 1.0
    bits = (np.int64(whole) + 1023) << 52
    return p * _float_from_bits(bits)  # type: ignore[call-arg]


@njit(inline="always", fastmath=FASTMATH)
def _log_terms(block, means, log_scale, half_precision, terms, largest):
    """Fill `terms` [component, lane] with l_k of the block [space, lane], `largest` their max."""
    largest[:] = -np.inf
    for k in range(means.shape[0]):
        row = terms[k]
        row[:] = 0
        for d in range(means.shape[1]):
            mean, coordinate = means[k, d], block[d]
            for j in range(LANES):
                offset = coordinate[j] - mean
                row[j] += offset * offset
        scale, half = log_scale[k], half_precision[k]
        for j in range(LANES):
            term = scale - half * row[j]
            row[j] = term
            largest[j] = term if term > largest[j] else largest[j]


@njit(fastmath=FASTMATH, nogil=True, cache=True)
def mixture_energy_and_force(x, means, log_scale, half_precision, cutoff, energy, force):
    """Write u [point] and -grad u [point, space] of x [point, space].

    log_scale [component] = log weight - log normaliser, half_precision [component] = 1/(2 v_k);
    all arrays of one dtype. A component whose terms lie `cutoff` below the largest in a whole block
    is left out: choose exp(-cutoff) far below the rounding error.
    """
    n, n_space = x.shape
    block = np.empty((n_space, LANES), x.dtype)
    pull = np.empty((n_space, LANES), x.dtype)
    terms = np.empty((means.shape[0], LANES), x.dtype)
    largest = np.empty(LANES, x.dtype)
    total = np.empty(LANES, x.dtype)
    for start in range(0, n, LANES):
        used = min(LANES, n - start)
        for j in range(LANES):
            for d in range(n_space):
                block[d, j] = x[start + min(j, used - 1), d]
        _log_terms(block, means, log_scale, half_precision, terms, largest)
        total[:] = 0
        pull[:] = 0
        for k in range(means.shape[0]):
            row = terms[k]
            near = False
            for j in range(LANES):
                near |= not (largest[j] - row[j] > cutoff)
            if not near:
                continue
            for j in range(LANES):
                row[j] = exp_nonpositive(row[j] - largest[j])
                total[j] += row[j]
            for d in range(n_space):
                mean, coordinate, into = means[k, d], block[d], pull[d]
                for j in range(LANES):
                    into[j] += row[j] * half_precision[k] * (mean - coordinate[j])
        for j in range(used):
            energy[start + j] = -(largest[j] + math.log(total[j]))
            for d in range(n_space):
                force[start + j, d] = 2 * pull[d, j] / total[j]
