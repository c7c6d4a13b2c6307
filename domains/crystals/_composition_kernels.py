"""Compiled masks of the three published stages (`three_stages.py`).

What is possible after the elements so far is two sets: of charges (words, as in `_reachable_kernels.py`), and
of fixed positions used up (one word, a bit for each value of `used`), since a count of atoms can be made of
a group's orbits in several ways.
"""

from __future__ import annotations

import numba
import numpy as np

from domains.crystals._reachable_kernels import add_shifted, exhausted, meets_shifted


@numba.njit(cache=True, nogil=True)
def ways_to_place(size, stride, count, n_used, most_atoms):
    """[atoms, used] -> bits of the values of `used` after placing that many atoms of one element."""
    ways = np.zeros((most_atoms + 1, n_used), dtype=np.uint64)
    for u in range(n_used):
        ways[0, u] = np.uint64(1) << np.uint64(u)
    for n in range(1, most_atoms + 1):
        for u in range(n_used):
            for c in range(len(size)):
                if size[c] <= n and not exhausted(u, stride[c], count[c]):
                    ways[n, u] |= ways[n - size[c], u + stride[c]]
    return ways


@numba.njit(cache=True, nogil=True)
def _place(ways, possible, n):
    """Bits of `used` after placing n atoms, from any of the possible ones."""
    after = np.uint64(0)
    for u in range(ways.shape[1]):
        if possible >> np.uint64(u) & np.uint64(1):
            after |= ways[n, u]
    return after


@numba.njit(cache=True, nogil=True)
def _charge(first_state, states, e, n, before, after):
    after[:] = 0
    for s in range(first_state[e], first_state[e + 1]):
        add_shifted(after, before, states[s] * n)


@numba.njit(cache=True, nogil=True)
def composition_masks(
    group, counts, first_state, states, required, limits, n_words,
    before, before_start, n_used, ways, ways_start, allowed, finished,
):  # fmt: skip
    """Fill `allowed` [row, element, atoms - 1] and `finished` [row] of rows that have a group."""
    charges = np.zeros(n_words, dtype=np.uint64)
    other = np.zeros(n_words, dtype=np.uint64)
    n_elements, most_kinds, most_atoms, zero = len(required), limits[1], limits[2], limits[3]
    for row in range(len(group)):
        g = group[row]
        shape = (n_elements + 1, most_kinds + 1, most_atoms + 1, n_used[g], n_words)
        length = shape[0] * shape[1] * shape[2] * shape[3] * shape[4]
        table = before[before_start[g] : before_start[g] + length].reshape(shape)
        length = (most_atoms + 1) * n_used[g]
        own = ways[ways_start[g] : ways_start[g] + length].reshape(most_atoms + 1, n_used[g])
        charges[:] = 0
        charges[zero // 64] = np.uint64(1) << np.uint64(zero % 64)
        possible, atoms, kinds, last = np.uint64(1), 0, 0, -1
        for e in range(n_elements):
            n = counts[row, e]
            if n > 0:
                _charge(first_state, states, e, n, charges, other)
                charges[:] = other
                possible = _place(own, possible, n)
                atoms, kinds, last = atoms + n, kinds + 1, e
        allowed[row] = False
        complete = kinds >= limits[0] and atoms > 0
        for e in range(last + 1, n_elements):
            for n in range(1, most_atoms - atoms + 1):
                if kinds == most_kinds:
                    break
                after = _place(own, possible, n)
                if after == 0:
                    continue
                _charge(first_state, states, e, n, charges, other)
                for u in range(n_used[g]):
                    if after >> np.uint64(u) & np.uint64(1) and meets_shifted(
                        other, table[e + 1, kinds + 1, atoms + n, u], 0
                    ):
                        allowed[row, e, n - 1] = True
                        break
            if required[e]:
                complete = False
                break
        neutral = charges[zero // 64] >> np.uint64(zero % 64) & np.uint64(1)
        finished[row] = complete and neutral == 1
