"""Compiled geometry: lattices and atoms from parameters in the unit cube, and distances under periodicity.

Shape of the conventional cell, from u in [0, 1] each (`ratio(u)` = centre * 3^(2u - 1)):
    cubic         a = b = c
    hexagonal, trigonal, tetragonal     c / a = ratio, gamma 120 or 90 degrees
    orthorhombic  b / a, c / a
    monoclinic    b / a', c / a', and a = a' + s c with a shear s in [-1/2, 1/2], [-1, 1] when centred
    triclinic     b' / a, c' / a, and b = b' + s1 a, c = c' + s2 a + s3 b' with shears in [-1/2, 1/2]
with primed vectors at right angles, so every cell has a positive volume; it is scaled to the one asked for.
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _ratio(u, centre):
    return centre * 3.0 ** (2.0 * u - 1.0)


@numba.njit(cache=True, nogil=True)
def conventional_cell(system, centring, u, cell):
    """Fill `cell` [3, 3] with rows a, b, c of the unscaled conventional cell."""
    cell[:] = 0.0
    for i in range(3):
        cell[i, i] = 1.0
    if system == 0:
        cell[1, 1], cell[2, 2] = _ratio(u[0], 1.0), _ratio(u[1], 1.0)
        cell[1, 0], cell[2, 0] = u[2] - 0.5, u[3] - 0.5
        cell[2, 1] = (u[4] - 0.5) * cell[1, 1]
    elif system == 1:
        cell[1, 1], cell[2, 2] = _ratio(u[0], 1.0), _ratio(u[1], 1.0)
        width = 1.0 if centring == 0 else 2.0
        cell[0, 2] = width * (u[2] - 0.5) * cell[2, 2]
    elif system == 2:
        cell[1, 1], cell[2, 2] = _ratio(u[0], 1.0), _ratio(u[1], 1.0)
    elif system == 3:
        cell[2, 2] = _ratio(u[0], 1.0)
    elif system < 6:
        cell[1, 0], cell[1, 1] = -0.5, math.sqrt(3.0) / 2.0
        cell[2, 2] = _ratio(u[0], math.sqrt(6.0) if centring == 5 else 1.2)


@numba.njit(cache=True, nogil=True)
def take_numbers(free, values, at, xyz):
    """Fill `xyz` with the numbers of the free coordinates from `at` on, zero where not free; returns where the
    next numbers begin."""
    for axis in range(3):
        xyz[axis] = 0.0
        if free[axis]:
            xyz[axis] = values[at]
            at += 1
    return at


@numba.njit(cache=True, nogil=True)
def orbit_atoms(place, xyz, multiplicity, first_atom, matrix, offset, cell, scale, out, start):
    """Write the atoms of one orbit to `out` from row `start` on: fractional conventional coordinates, which
    the free ones `xyz` give, times `cell` times `scale`."""
    for k in range(multiplicity[place]):
        image = first_atom[place] + k
        for axis in range(3):
            out[start + k, axis] = 0.0
        for axis in range(3):
            point = offset[image, axis] / 24.0
            for other in range(3):
                point += matrix[image, axis, other] * xyz[other]
            for other in range(3):
                out[start + k, other] += point * cell[axis, other] * scale


@numba.njit(cache=True, nogil=True)
def build(
    group, position, values, volume_a3,
    system, centring, primitive, n_shape, first, multiplicity, free, first_atom, matrix, offset,
    lattice, cartesian, slot,
):  # fmt: skip
    """Crystals of a batch.

    group, position, first   as in `orbits.py`; `values` [row, slot] the parameters: the shape's, the volume's
                             (not used here), then free coordinates of the orbits in order
    volume_a3                of the primitive cell
    lattice                  [row, 3, 3] filled with primitive vectors; `cartesian` [row, atom, 3]
    slot                     [row, atom] filled with the orbit of each atom, -1 where there is none
    """
    cell, xyz = np.empty((3, 3)), np.zeros(3)
    for row in range(len(group)):
        g = group[row]
        scale = scaled_lattice(
            system[g], centring[g], primitive, values[row], volume_a3[row], cell, lattice[row]
        )
        at, atom = 1 + n_shape[g], 0
        slot[row] = -1
        for i in range(position.shape[1]):
            if position[row, i] < 0:
                break
            place = first[g] + position[row, i]
            at = take_numbers(free[place], values[row], at, xyz)
            orbit_atoms(
                place,
                xyz,
                multiplicity,
                first_atom,
                matrix,
                offset,
                cell,
                scale,
                cartesian[row],
                atom,
            )
            slot[row, atom : atom + multiplicity[place]] = i
            atom += multiplicity[place]


@numba.njit(cache=True, nogil=True)
def scaled_lattice(system, centring, primitive, values, volume_a3, cell, lattice):
    """Fill `cell` (unscaled, conventional) and `lattice` (of that volume); returns the scale of the former."""
    conventional_cell(system, centring, values, cell)
    vectors = primitive[centring] @ cell
    scale = (volume_a3 / abs(np.linalg.det(vectors))) ** (1.0 / 3.0)
    lattice[:] = vectors * scale
    return scale


@numba.njit(cache=True, nogil=True)
def image_counts(lattice, inverse, cutoff, counts):
    """How many cells on each side hold all images within `cutoff` of a wrapped difference."""
    for axis in range(3):
        norm = 0.0
        for k in range(3):
            norm += inverse[k, axis] * inverse[k, axis]
        counts[axis] = math.floor(cutoff * math.sqrt(norm) + 0.5)


@numba.njit(cache=True, nogil=True)
def closest_ratio(lattice, cartesian, n_atoms, radius, cutoff):
    """Smallest distance of two atoms over the sum of their radii, images included; pairs beyond `cutoff`
    are not seen, so the result is capped by it over the largest sum."""
    inverse = np.linalg.inv(lattice)
    counts = np.empty(3, dtype=np.int64)
    image_counts(lattice, inverse, cutoff, counts)
    largest = 0.0
    for i in range(n_atoms):
        largest = max(largest, 2.0 * radius[i])
    best = cutoff / largest
    wrapped = np.empty(3)
    for i in range(n_atoms):
        for j in range(i, n_atoms):
            wrap(cartesian, i, j, inverse, wrapped)
            for a in range(-counts[0], counts[0] + 1):
                for b in range(-counts[1], counts[1] + 1):
                    for c in range(-counts[2], counts[2] + 1):
                        if i == j and a == 0 and b == 0 and c == 0:
                            continue
                        x, y, z = shifted(lattice, wrapped, a, b, c)
                        ratio = math.sqrt(x * x + y * y + z * z) / (radius[i] + radius[j])
                        best = min(best, ratio)
    return best


@numba.njit(cache=True, nogil=True)
def wrap(cartesian, i, j, inverse, wrapped):
    """Fractional difference of atoms j and i, each part within half a cell."""
    for axis in range(3):
        total = 0.0
        for k in range(3):
            total += (cartesian[j, k] - cartesian[i, k]) * inverse[k, axis]
        wrapped[axis] = total - math.floor(total + 0.5)


@numba.njit(cache=True, nogil=True)
def closest_ratios(lattice, cartesian, n_atoms, radius, cutoff, out):
    """`closest_ratio` of every crystal; `radius` [row, atom]."""
    for row in range(len(lattice)):
        out[row] = closest_ratio(lattice[row], cartesian[row], n_atoms[row], radius[row], cutoff)


@numba.njit(cache=True, nogil=True)
def neighbours(lattice, cartesian, n_atoms, cutoff, first, second, length, vector):
    """Ordered pairs of atoms within `cutoff`, of all crystals, as numbers of atoms over the whole batch;
    returns how many there are, and writes those that have room."""
    found, base = 0, 0
    counts, wrapped = np.empty(3, dtype=np.int64), np.empty(3)
    for row in range(len(lattice)):
        inverse = np.linalg.inv(lattice[row])
        image_counts(lattice[row], inverse, cutoff, counts)
        for i in range(n_atoms[row]):
            for j in range(n_atoms[row]):
                wrap(cartesian[row], i, j, inverse, wrapped)
                for a in range(-counts[0], counts[0] + 1):
                    for b in range(-counts[1], counts[1] + 1):
                        for c in range(-counts[2], counts[2] + 1):
                            if i == j and a == 0 and b == 0 and c == 0:
                                continue
                            x, y, z = shifted(lattice[row], wrapped, a, b, c)
                            square = x * x + y * y + z * z
                            if square > cutoff * cutoff:
                                continue
                            if found < len(first):
                                first[found], second[found] = base + i, base + j
                                length[found] = math.sqrt(square)
                                vector[found, 0], vector[found, 1], vector[found, 2] = x, y, z
                            found += 1
        base += n_atoms[row]
    return found


@numba.njit(cache=True, nogil=True, inline="always")
def shifted(lattice, wrapped, a, b, c):
    """The wrapped fractional difference in the image cell (a, b, c), Cartesian."""
    fa, fb, fc = wrapped[0] + a, wrapped[1] + b, wrapped[2] + c
    x = fa * lattice[0, 0] + fb * lattice[1, 0] + fc * lattice[2, 0]
    y = fa * lattice[0, 1] + fb * lattice[1, 1] + fc * lattice[2, 1]
    z = fa * lattice[0, 2] + fb * lattice[1, 2] + fc * lattice[2, 2]
    return x, y, z
