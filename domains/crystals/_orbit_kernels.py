"""Compiled masks and insertions of the orbit environment (`orbits.py`).

A row of `position` and `element` holds the orbits placed so far, ascending in (element, position), then
-1. Actions: group number, then position * n_elements + element, then stop, each after the other.
"""

from __future__ import annotations

import numba
import numpy as np

from domains.crystals._reachable_kernels import add_shifted, exhausted, meets_shifted


@numba.njit(cache=True, nogil=True)
def _close(first_state, states, element, count, charges, closed):
    """closed = the charges after an element with `count` atoms, in any of its states."""
    closed[:] = 0
    for s in range(first_state[element], first_state[element + 1]):
        add_shifted(closed, charges, states[s] * count)


@numba.njit(cache=True, nogil=True)
def _read(position, element, first, size_of, stride_of, first_state, states, zero, earlier, closed):
    """What has been placed: atoms, used positions, kinds, the last element and its atoms. `earlier` becomes
    the charges before the last element, `closed` those after it."""
    atoms, used, kinds, last, count = 0, 0, 0, -1, 0
    earlier[:] = 0
    earlier[zero // 64] = np.uint64(1) << np.uint64(zero % 64)
    closed[:] = earlier
    for i in range(len(position)):
        if position[i] < 0:
            break
        if element[i] != last:
            if last >= 0:
                _close(first_state, states, last, count, earlier, closed)
                earlier[:] = closed
            last, count, kinds = element[i], 0, kinds + 1
        size = size_of[first + position[i]]
        atoms, count = atoms + size, count + size
        used += stride_of[first + position[i]]
    if last >= 0:
        _close(first_state, states, last, count, earlier, closed)
    return atoms, used, kinds, last, count


@numba.njit(cache=True, nogil=True)
def _allowed_classes(
    e, atoms, count, used, charges, table, first_state, states, most_atoms, size, stride, number, ok
):
    """ok[c] = whether an orbit of class c of element e, which has `count` atoms already, leaves a way on."""
    n_words, n_used = table.shape[3], table.shape[2]
    for c in range(len(size)):
        ok[c] = False
        after = atoms + size[c]
        if after > most_atoms or exhausted(used, stride[c], number[c]) or n_words == 0:
            continue
        for s in range(first_state[e], first_state[e + 1]):
            row = table[s, after, min(used + stride[c], n_used - 1)]
            if meets_shifted(charges, row, states[s] * (count + size[c])):
                ok[c] = True
                break


@numba.njit(cache=True, nogil=True)
def forward_masks(
    group, position, element, stopped, n_groups, width,
    first, n_positions, size_of, stride_of, class_of,
    class_first, class_size, class_stride, class_count, n_used, inside, inside_start,
    first_state, states, required, limits, n_words, mask,
):  # fmt: skip
    """Fill `mask` [row, action]."""
    n_elements = len(required)
    stop = n_groups + width * n_elements
    earlier = np.zeros(n_words, dtype=np.uint64)
    closed = np.zeros(n_words, dtype=np.uint64)
    ok = np.zeros(64, dtype=np.bool_)
    for row in range(len(group)):
        mask[row] = False
        if stopped[row]:
            continue
        if group[row] < 0:
            mask[row, :n_groups] = True
            continue
        g = group[row]
        c0, c1 = class_first[g], class_first[g + 1]
        size, stride, number = class_size[c0:c1], class_stride[c0:c1], class_count[c0:c1]
        shape = (len(states), limits[1] + 1, limits[2] + 1, n_used[g], n_words)
        length = shape[0] * shape[1] * shape[2] * shape[3] * shape[4]
        table = inside[inside_start[g] : inside_start[g] + length].reshape(shape)
        atoms, used, kinds, last, count = _read(
            position[row], element[row], first[g], size_of, stride_of, first_state, states, limits[3],
            earlier, closed,
        )  # fmt: skip
        finished = kinds >= limits[0] and atoms > 0
        for e in range(max(last, 0), n_elements):
            again = e == last
            if not again and kinds == limits[1]:
                break
            _allowed_classes(
                e, atoms, count if again else 0, used, earlier if again else closed,
                table[:, kinds if again else kinds + 1], first_state, states, limits[2],
                size, stride, number, ok,
            )  # fmt: skip
            for w in range(n_positions[g]):
                c = class_of[first[g] + w]
                if c >= 0 and ok[c]:
                    mask[row, n_groups + w * n_elements + e] = True
            if not again and required[e]:
                break
        for i in range(len(position[row])):
            w = position[row, i]
            if w >= 0 and stride_of[first[g] + w] > 0:
                mask[row, n_groups + w * n_elements : n_groups + (w + 1) * n_elements] = False
        for e in range(last + 1, n_elements):
            finished = finished and not required[e]
        neutral = closed[limits[3] // 64] >> np.uint64(limits[3] % 64) & np.uint64(1)
        mask[row, stop] = finished and neutral == 1


@numba.njit(cache=True, nogil=True)
def insert(position, element, w, e, new_position, new_element):
    """Rows with one more orbit each, where w >= 0."""
    for row in range(len(position)):
        new_position[row] = position[row]
        new_element[row] = element[row]
        if w[row] < 0:
            continue
        i = 0
        while position[row, i] >= 0 and (
            element[row, i] < e[row] or (element[row, i] == e[row] and position[row, i] <= w[row])
        ):
            i += 1
        for j in range(len(position[row]) - 1, i, -1):
            new_position[row, j] = position[row, j - 1]
            new_element[row, j] = element[row, j - 1]
        new_position[row, i] = w[row]
        new_element[row, i] = e[row]


@numba.njit(cache=True, nogil=True)
def remove(position, element, w, new_position, new_element):
    """Rows without one orbit at position w of their last element, where w >= 0."""
    for row in range(len(position)):
        new_position[row] = position[row]
        new_element[row] = element[row]
        if w[row] < 0:
            continue
        n = 0
        while n < len(position[row]) and position[row, n] >= 0:
            n += 1
        i = n - 1
        while i >= 0 and position[row, i] != w[row]:
            i -= 1
        for j in range(i, n):
            last = j + 1 == len(position[row])
            new_position[row, j] = -1 if last else position[row, j + 1]
            new_element[row, j] = -1 if last else element[row, j + 1]


@numba.njit(cache=True, nogil=True)
def backward_masks(group, position, element, stopped, mask):
    """Fill `mask` [row, 2 + width]: forget the group, take back an orbit of the last element by its
    position, go on after a stop."""
    for row in range(len(group)):
        mask[row] = False
        if group[row] < 0:
            continue
        if stopped[row]:
            mask[row, -1] = True
            continue
        n = 0
        while n < len(position[row]) and position[row, n] >= 0:
            n += 1
        if n == 0:
            mask[row, 0] = True
        for i in range(n - 1, -1, -1):
            if element[row, i] != element[row, n - 1]:
                break
            mask[row, 1 + position[row, i]] = True
