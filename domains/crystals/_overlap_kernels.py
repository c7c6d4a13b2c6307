"""Compiled masks of numbers that would bring atoms too close, whatever the number within its bin.

Volume: the distances of atoms on fixed sites, and of an atom and its images, grow with it, so a bin is judged
at its upper edge. Last coordinate of an orbit: at the middle of the bin, less what half a bin moves the two
atoms relative to each other. All atoms of an orbit see the same neighbourhood, so one of them is looked at.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from domains.crystals._geometry_kernels import (
    image_counts,
    orbit_atoms,
    scaled_lattice,
    shifted,
    take_numbers,
    wrap,
)


@numba.njit(cache=True, nogil=True)
def _squared_distance(lattice, wrapped, counts, itself):
    """Of the nearest images; of an atom and its own images where `itself`."""
    best = np.inf
    for a in range(-counts[0], counts[0] + 1):
        for b in range(-counts[1], counts[1] + 1):
            for c in range(-counts[2], counts[2] + 1):
                if itself and a == 0 and b == 0 and c == 0:
                    continue
                x, y, z = shifted(lattice, wrapped, a, b, c)
                best = min(best, x * x + y * y + z * z)
    return best


@numba.njit(cache=True, nogil=True)
def _placed(
    position, values, radius, until, n_shape, first, multiplicity, free, first_atom, matrix, offset,
    cell, scale, atoms, radii,
):  # fmt: skip
    """Write the atoms of fixed orbits, and of free ones before orbit `until`; returns how many, and where
    the numbers of orbit `until` begin."""
    n, at, own, xyz = 0, 1 + n_shape, -1, np.zeros(3)
    for i in range(len(position)):
        if position[i] < 0:
            break
        place = first + position[i]
        if i == until:
            own = at
        begin, at = at, take_numbers(free[place], values, at, xyz)
        if at > begin and i >= until:
            continue
        orbit_atoms(place, xyz, multiplicity, first_atom, matrix, offset, cell, scale, atoms, n)
        radii[n : n + multiplicity[place]] = radius[i]
        n += multiplicity[place]
    return n, own


@numba.njit(cache=True, nogil=True)
def _volumes(lattice, atoms, radii, n, largest, factors, closest, allowed):
    """Bins of the volume, from the crystal at the largest."""
    n_bins = len(allowed)
    inverse, wrapped = np.linalg.inv(lattice), np.zeros(3)
    counts = np.empty(3, dtype=np.int64)
    stretch = math.exp((factors[1] - factors[0]) / 3.0)
    image_counts(lattice, inverse, 2.0 * closest * largest * stretch, counts)
    ratio = math.sqrt(_squared_distance(lattice, wrapped, counts, True)) / (2.0 * largest)
    for i in range(n):
        for j in range(i + 1, n):
            wrap(atoms, i, j, inverse, wrapped)
            square = _squared_distance(lattice, wrapped, counts, False)
            ratio = min(ratio, math.sqrt(square) / (radii[i] + radii[j]))
    for b in range(n_bins):
        shrink = math.exp((factors[1] - factors[0]) * ((b + 1) / n_bins - 1.0) / 3.0)
        allowed[b] = ratio * shrink >= closest


@numba.njit(cache=True, nogil=True)
def _coordinates(
    place, xyz, axis, own_radius, multiplicity, first_atom, matrix, offset, cell, scale,
    lattice, atoms, radii, n, largest, closest, allowed,
):  # fmt: skip
    """Bins of the last free coordinate `axis` of an orbit whose other coordinates are in `xyz`."""
    n_bins, m = len(allowed), multiplicity[place]
    inverse, wrapped = np.linalg.inv(lattice), np.zeros(3)
    counts = np.empty(3, dtype=np.int64)
    image_counts(lattice, inverse, 2.0 * closest * largest, counts)
    moves = np.zeros((m, 3))  # of each atom as the coordinate goes through half a bin
    for k in range(m):
        for other in range(3):
            for c in range(3):
                part = matrix[first_atom[place] + k, c, axis] * cell[c, other]
                moves[k, other] += part * scale * 0.5 / n_bins
    for b in range(n_bins):
        xyz[axis] = (b + 0.5) / n_bins
        orbit_atoms(place, xyz, multiplicity, first_atom, matrix, offset, cell, scale, atoms, n)
        radii[n : n + m] = own_radius
        allowed[b] = True
        for j in range(n + m):
            if j == n:
                continue
            slack = 0.0
            for other in range(3):
                move = moves[0, other] - (moves[j - n, other] if j > n else 0.0)
                slack += move * move
            wrap(atoms, n, j, inverse, wrapped)
            distance = math.sqrt(_squared_distance(lattice, wrapped, counts, False))
            if distance + math.sqrt(slack) < closest * (own_radius + radii[j]):
                allowed[b] = False
                break


@numba.njit(cache=True, nogil=True)
def _orbit_of(position, number, first, free):
    """The orbit and axis of free coordinate `number`, and whether it is the orbit's last."""
    at = 0
    for i in range(len(position)):
        if position[i] < 0:
            break
        place = first + position[i]
        for axis in range(3):
            if free[place, axis]:
                if at == number:
                    last = True
                    for later in range(axis + 1, 3):
                        last = last and not free[place, later]
                    return i, axis, last
                at += 1
    return -1, 0, False


@numba.njit(cache=True, nogil=True)
def allowed_bins(
    group, position, values, n_set, radius, ions_a3, factors, closest,
    system, centring, primitive, n_shape, first, multiplicity, free, first_atom, matrix, offset,
    allowed,
):  # fmt: skip
    """Fill `allowed` [row, bin]; all True where the number decides nothing or no bin is left.

    radius    [row, slot] covalent radii; `ions_a3` [row] volume of ions; `factors` logarithms of its bounds
    """
    cell, lattice, xyz = np.empty((3, 3)), np.empty((3, 3)), np.zeros(3)
    most = 64 + position.shape[1]
    atoms, radii = np.empty((2 * most, 3)), np.empty(2 * most)
    for row in range(len(group)):
        g = group[row]
        allowed[row] = True
        number = n_set[row] - 1 - n_shape[g]
        if number < -1:
            continue
        until, axis = 0, 0
        if number >= 0:
            until, axis, last = _orbit_of(position[row], number, first[g], free)
            if not last:
                continue
        largest = radius[row].max()
        value = 1.0 if number < 0 else values[row, n_shape[g]]
        volume = ions_a3[row] * math.exp(factors[0] + (factors[1] - factors[0]) * value)
        scale = scaled_lattice(
            system[g], centring[g], primitive, values[row], volume, cell, lattice
        )
        n, own = _placed(
            position[row], values[row], radius[row], until, n_shape[g], first[g],
            multiplicity, free, first_atom, matrix, offset, cell, scale, atoms, radii,
        )  # fmt: skip
        if number < 0:
            _volumes(lattice, atoms, radii, n, largest, factors, closest, allowed[row])
        else:
            place = first[g] + position[row, until]
            xyz[:] = 0.0
            for other in range(axis):
                if free[place, other]:
                    xyz[other] = values[row, own]
                    own += 1
            _coordinates(
                place, xyz, axis, radius[row, until], multiplicity, first_atom, matrix, offset, cell,
                scale, lattice, atoms, radii, n, largest, closest, allowed[row],
            )  # fmt: skip
        if not allowed[row].any():
            allowed[row] = True
