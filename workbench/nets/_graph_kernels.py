"""Compiled sums over neighbours: a sparse matrix in compressed rows times a dense one."""

from __future__ import annotations

import numba

FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")


@compiled
def _add_row(total, row):
    for k in range(len(total)):
        total[k] += row[k]


@compiled
def _add_scaled_row(total, row, scale):
    for k in range(len(total)):
        total[k] += scale * row[k]


@compiled
def neighbour_sums(pointer, neighbour, x, total):
    """total[i] = sum of x over the neighbours of i."""
    for i in range(len(pointer) - 1):
        total[i, :] = 0
        for e in range(pointer[i], pointer[i + 1]):
            _add_row(total[i], x[neighbour[e]])


@compiled
def weighted_neighbour_sums(pointer, neighbour, weight, x, total):
    """total[i] = sum of weight times x over the neighbours of i."""
    for i in range(len(pointer) - 1):
        total[i, :] = 0
        for e in range(pointer[i], pointer[i + 1]):
            _add_scaled_row(total[i], x[neighbour[e]], weight[e])
