"""Compiled energy of point ions with repulsion: Ewald's sum and a power law.

    E = k/2 sum_ij q_i q_j / r_ij + sum_pairs B_ij (s_ij / r_ij)^n
    B_ij = A k max(|q_i q_j|, 1) / (n s_ij)

with s the sum of the ionic radii, n = 8, and A = 0.291 (Madelung's constant of rock salt over its six
neighbours), so that rock salt has its minimum near r = s. Ewald: real and reciprocal sums are cut where their
terms fall below exp(-ACCURACY^2); the width balances the two.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from domains.crystals._geometry_kernels import image_counts, shifted, wrap

COULOMB_EV_A = 14.399645
EXPONENT = 8
SHARE = 0.291
ACCURACY = 4.0
REPULSION_CUTOFF_A = 7.0


@numba.njit(cache=True, nogil=True)
def _pair(square, charges, radii, width, cutoff_square):
    """Half the energy of an ordered pair at a squared distance."""
    r = math.sqrt(square)
    energy = 0.0
    if square < cutoff_square:
        energy += COULOMB_EV_A * charges * math.erfc(width * r) / r
    if r < REPULSION_CUTOFF_A:
        ratio = radii / r
        power = ratio**EXPONENT
        energy += SHARE * COULOMB_EV_A * max(abs(charges), 1.0) / (EXPONENT * radii) * power
    return 0.5 * energy


@numba.njit(cache=True, nogil=True)
def _real_space(lattice, inverse, cartesian, charge, radius, n, width):
    cutoff = ACCURACY / width
    reach = max(cutoff, REPULSION_CUTOFF_A)
    counts, wrapped = np.empty(3, dtype=np.int64), np.empty(3)
    image_counts(lattice, inverse, reach, counts)
    energy = 0.0
    for i in range(n):
        for j in range(n):
            wrap(cartesian, i, j, inverse, wrapped)
            charges, radii = charge[i] * charge[j], radius[i] + radius[j]
            for a in range(-counts[0], counts[0] + 1):
                for b in range(-counts[1], counts[1] + 1):
                    for c in range(-counts[2], counts[2] + 1):
                        if i == j and a == 0 and b == 0 and c == 0:
                            continue
                        x, y, z = shifted(lattice, wrapped, a, b, c)
                        square = x * x + y * y + z * z
                        if square < reach * reach:
                            energy += _pair(square, charges, radii, width, cutoff * cutoff)
    return energy


@numba.njit(cache=True, nogil=True)
def _reciprocal_space(lattice, inverse, cartesian, charge, n, width, volume):
    """Over half of the reciprocal lattice, each term twice."""
    cutoff = 2.0 * ACCURACY * width
    counts = np.empty(3, dtype=np.int64)
    for axis in range(3):
        length = math.sqrt((lattice[axis] ** 2).sum())
        counts[axis] = math.floor(cutoff * length / (2.0 * math.pi))
    energy, k = 0.0, np.empty(3)
    for a in range(counts[0] + 1):
        for b in range(-counts[1] if a else 0, counts[1] + 1):
            for c in range(-counts[2] if a or b else 1, counts[2] + 1):
                for axis in range(3):
                    total = inverse[axis, 0] * a + inverse[axis, 1] * b + inverse[axis, 2] * c
                    k[axis] = 2.0 * math.pi * total
                square = k[0] * k[0] + k[1] * k[1] + k[2] * k[2]
                if square > cutoff * cutoff:
                    continue
                real, imaginary = 0.0, 0.0
                for i in range(n):
                    phase = 0.0
                    for axis in range(3):
                        phase += k[axis] * cartesian[i, axis]
                    real += charge[i] * math.cos(phase)
                    imaginary += charge[i] * math.sin(phase)
                weight = math.exp(-square / (4.0 * width * width)) / square
                energy += 2.0 * weight * (real * real + imaginary * imaginary)
    return COULOMB_EV_A * 2.0 * math.pi / volume * energy


@numba.njit(cache=True, nogil=True)
def lattice_energies(lattice, cartesian, charge, radius, n_atoms, out):
    """Energy of each neutral cell in eV."""
    for row in range(len(lattice)):
        n = n_atoms[row]
        inverse = np.linalg.inv(lattice[row])
        volume = abs(np.linalg.det(lattice[row]))
        width = math.sqrt(math.pi) * (n / (volume * volume)) ** (1.0 / 6.0)
        energy = _real_space(
            lattice[row], inverse, cartesian[row], charge[row], radius[row], n, width
        )
        energy += _reciprocal_space(
            lattice[row], inverse, cartesian[row], charge[row], n, width, volume
        )
        for i in range(n):
            energy -= COULOMB_EV_A * width / math.sqrt(math.pi) * charge[row, i] ** 2
        out[row] = energy
