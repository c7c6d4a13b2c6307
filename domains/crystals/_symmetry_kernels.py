"""Compiled count of the symmetry operations of orbits with arbitrary free coordinates.

A motion that keeps a crystal keeps its lattice, so its rotation is one of the few of the lattice's own
symmetry; its translation takes an atom of the rarest element to another of that element. All such motions are
tried, in fractional coordinates of the primitive cell.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from domains.crystals._geometry_kernels import orbit_atoms, take_numbers

_TOLERANCE = 1e-6


@numba.njit(cache=True, nogil=True)
def _atoms(positions, elements, first, multiplicity, free, first_atom, matrix, offset, into_primitive,
           coordinates, xyz, kind):  # fmt: skip
    """Fill `xyz` and `kind`; returns how many atoms there are."""
    n, at = 0, 0
    own = np.zeros(3)
    for i in range(len(positions)):
        if positions[i] < 0:
            break
        place = first + positions[i]
        at = take_numbers(free[place], coordinates, at, own)
        orbit_atoms(
            place, own, multiplicity, first_atom, matrix, offset, into_primitive, 1.0, xyz, n
        )
        kind[n : n + multiplicity[place]] = elements[i]
        n += multiplicity[place]
    return n


@numba.njit(cache=True, nogil=True)
def _maps(rotation, shift, xyz, kind, n):
    """Whether every atom is taken to one of its kind."""
    for i in range(n):
        found = False
        for j in range(n):
            if kind[j] != kind[i]:
                continue
            same = True
            for axis in range(3):
                moved = shift[axis] - xyz[j, axis]
                for other in range(3):
                    moved += rotation[axis, other] * xyz[i, other]
                if abs(moved - math.floor(moved + 0.5)) > _TOLERANCE:
                    same = False
                    break
            if same:
                found = True
                break
        if not found:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _rarest(kind, n):
    """An atom of the element that has fewest atoms."""
    best, fewest = 0, n + 1
    for i in range(n):
        count = 0
        for j in range(n):
            count += kind[j] == kind[i]
        if count < fewest:
            best, fewest = i, count
    return best


@numba.njit(cache=True, nogil=True)
def more_symmetric(group, position, element, first, multiplicity, free, first_atom, matrix, offset,
                   bravais, into_primitive, rotations, n_rotations, order, coordinates, out):  # fmt: skip
    """out[row] = whether the row's orbits have more operations than `order[group]`."""
    most = 0
    for row in range(len(group)):
        total = 0
        for i in range(position.shape[1]):
            if position[row, i] >= 0:
                total += multiplicity[first[group[row]] + position[row, i]]
        most = max(most, total)
    xyz, kind, shift = np.empty((most, 3)), np.empty(most, dtype=np.int64), np.empty(3)
    for row in range(len(group)):
        g = group[row]
        n = _atoms(
            position[row], element[row], first[g], multiplicity, free, first_atom, matrix, offset,
            into_primitive[bravais[g]], coordinates, xyz, kind,
        )  # fmt: skip
        start, found = _rarest(kind, n), 0
        for r in range(n_rotations[bravais[g]]):
            rotation = rotations[bravais[g], r]
            for j in range(n):
                if kind[j] != kind[start]:
                    continue
                for axis in range(3):
                    shift[axis] = xyz[j, axis]
                    for other in range(3):
                        shift[axis] -= rotation[axis, other] * xyz[start, other]
                found += _maps(rotation, shift, xyz, kind, n)
            if found > order[g]:
                break
        out[row] = found > order[g]
