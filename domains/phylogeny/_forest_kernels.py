"""Compiled merge of pairs of subtrees: partials in the layout [batch, 4 * category, pattern].

Each row of the result is written by one pass over contiguous rows of both parts, which vectorises over
patterns; then every pattern is scaled by the power of two that puts its largest entry into [1/2, 1).
"""

from __future__ import annotations

import numba
import numpy as np

# No "nnan" or "ninf": impossible patterns must stay detectable.
FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")


@compiled
def _total(a0, a1, a2, a3, scale, out):
    for p in range(len(out)):
        out[p] = scale * ((a0[p] + a1[p]) + (a2[p] + a3[p]))


@compiled
def _row_equal(a, b, base_a, base_b, keep_a, keep_b, out):
    for p in range(len(out)):
        out[p] = (keep_a * a[p] + base_a[p]) * (keep_b * b[p] + base_b[p])


@compiled
def _row(a0, a1, a2, a3, m0, m1, m2, m3, out):
    for p in range(len(out)):
        out[p] = (m0 * a0[p] + m1 * a1[p]) + (m2 * a2[p] + m3 * a3[p])


@compiled
def _multiply(row, out):
    for p in range(len(out)):
        out[p] *= row[p]


@compiled
def _raise_to(row, out):
    for p in range(len(out)):
        out[p] = max(out[p], row[p])


@compiled
def _exponents(top, factor, log_scale):
    """factor = 2^-e and log_scale = e log 2 with top = m 2^e, 1/2 <= m < 1; 1 and 0 where top is 0."""
    bits = top.view(np.int64)
    factor_bits = factor.view(np.int64)
    for p in range(len(top)):
        exponent = ((bits[p] >> 52) & 0x7FF) - 1022 if bits[p] != 0 else 0
        factor_bits[p] = (1023 - exponent) << 52
        log_scale[p] = exponent * 0.6931471805599453


@compiled
def _merge_equal(a, b, stay_a, other_a, stay_b, other_b, base, out):
    """JC69, one category: rows a, b, out [4, pattern]; base [2, pattern] is scratch."""
    real = out.dtype.type
    _total(a[0], a[1], a[2], a[3], real(other_a), base[0])
    _total(b[0], b[1], b[2], b[3], real(other_b), base[1])
    for s in range(4):
        keep_a, keep_b = real(stay_a - other_a), real(stay_b - other_b)
        _row_equal(a[s], b[s], base[0], base[1], keep_a, keep_b, out[s])


@compiled
def _merge_general(a, b, matrix_a, matrix_b, base, out):
    real = out.dtype.type
    for s in range(4):
        m, o = matrix_a[4 * s : 4 * s + 4], matrix_b[4 * s : 4 * s + 4]
        _row(a[0], a[1], a[2], a[3], real(m[0]), real(m[1]), real(m[2]), real(m[3]), out[s])
        _row(b[0], b[1], b[2], b[3], real(o[0]), real(o[1]), real(o[2]), real(o[3]), base[0])
        _multiply(base[0], out[s])


@compiled
def merge(left, right, left_matrices, right_matrices, equal, out, log_scales):
    """out [batch, 4 * category, pattern] and log_scales [batch, pattern] from both parts and the
    transition matrices [batch, category, 16] of their edges (two entries filled if `equal`: staying,
    other)."""
    n_batch, n_channels, n_patterns = left.shape
    base = np.empty((2, n_patterns), out.dtype)
    top, factor = np.empty(n_patterns), np.empty(n_patterns)
    for i in range(n_batch):
        top[:] = 0.0
        for c in range(n_channels // 4):
            rows = slice(4 * c, 4 * c + 4)
            m, o = left_matrices[i, c], right_matrices[i, c]
            a, b, joint = left[i, rows], right[i, rows], out[i, rows]
            if equal:
                _merge_equal(a, b, m[0], m[1], o[0], o[1], base, joint)
            else:
                _merge_general(a, b, m, o, base, joint)
            for s in range(4):
                _raise_to(joint[s], top)
        _exponents(top, factor, log_scales[i])
        for s in range(n_channels):
            _multiply(factor, out[i, s])
