"""Compiled parts of the reachable-charge tables (`reachable.py`).

A set of charges is a row of 64-bit words: bit q + zero says that charge q is in the set. Elements are
visited in ascending order; `used` is the mixed-radix number of fixed positions taken per class, a class
being the positions of one multiplicity, either the fixed ones or those with freedom.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def shifted_word(source, i, by):
    """Word i of {q + by for q in source}; what falls off the ends is lost."""
    n = len(source)
    low, bits = i - by // 64, by % 64
    value = np.uint64(0)
    if 0 <= low < n:
        value = source[low] << np.uint64(bits)
    if bits and 0 <= low - 1 < n:
        value |= source[low - 1] >> np.uint64(64 - bits)
    return value


@numba.njit(cache=True, nogil=True)
def add_shifted(target, source, by):
    """target |= {q + by for q in source}."""
    for i in range(len(target)):
        target[i] |= shifted_word(source, i, by)


@numba.njit(cache=True, nogil=True)
def meets_shifted(first, second, by):
    """Whether some q in `first` has q + by in `second`."""
    found = False
    for i in range(len(first)):
        found = found or (shifted_word(first, i, by) & second[i]) != 0
    return found


@numba.njit(cache=True, nogil=True)
def exhausted(used, stride, count):
    """Whether all positions of a class are taken; never so where its stride is 0."""
    return stride > 0 and used // stride % (count + 1) == count


@numba.njit(cache=True, nogil=True)
def fill_tables(
    first_state, states, required, limits, class_size, class_stride, class_count, before, inside
):
    """Fill `before` [element + 1, kinds, atoms, used, word] and `inside` [state, kinds, atoms, used,
    word], both zero at first, for one set of classes.

    before[e, k, m, u]     charges from which the elements e and later can still end in neutrality, with k
                           kinds and m atoms placed and the fixed positions u taken
    inside[s, k, m, u]     the same in the middle of an element in its state s; those of element e are
                           first_state[e] to first_state[e + 1]
    limits                 fewest and most kinds, most atoms, bit of charge 0
    """
    n_elements, zero = len(first_state) - 1, limits[3]
    for k in range(limits[0], limits[1] + 1):
        for m in range(1, limits[2] + 1):
            for u in range(before.shape[3]):
                before[n_elements, k, m, u, zero // 64] |= np.uint64(1) << np.uint64(zero % 64)
    for e in range(n_elements - 1, -1, -1):
        own = inside[first_state[e] : first_state[e + 1]]
        charges = states[first_state[e] : first_state[e + 1]]
        for s in range(len(charges)):
            _fill_inside(
                charges[s], limits, class_size, class_stride, class_count, before[e + 1], own[s]
            )
        _fill_before(charges, limits, class_size, class_stride, class_count, own, before[e])
        if not required[e]:
            before[e] |= before[e + 1]


@numba.njit(cache=True, nogil=True)
def _fill_inside(state, limits, class_size, class_stride, class_count, closed, inside):
    """Close the element, or place one more orbit of it."""
    for k in range(1, limits[1] + 1):
        for m in range(limits[2], 0, -1):
            for u in range(closed.shape[2] - 1, -1, -1):
                inside[k, m, u] |= closed[k, m, u]
                for c in range(len(class_size)):
                    after = m + class_size[c]
                    if after > limits[2] or exhausted(u, class_stride[c], class_count[c]):
                        continue
                    following = inside[k, after, u + class_stride[c]]
                    add_shifted(inside[k, m, u], following, -state * class_size[c])


@numba.njit(cache=True, nogil=True)
def _fill_before(charges, limits, class_size, class_stride, class_count, inside, before):
    """Place a first orbit of the element."""
    for k in range(limits[1]):
        for m in range(limits[2] + 1):
            for u in range(before.shape[2]):
                for c in range(len(class_size)):
                    after = m + class_size[c]
                    if after > limits[2] or exhausted(u, class_stride[c], class_count[c]):
                        continue
                    for s in range(len(charges)):
                        following = inside[s, k + 1, after, u + class_stride[c]]
                        add_shifted(before[k, m, u], following, -charges[s] * class_size[c])
