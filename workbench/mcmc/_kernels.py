"""Compiled arithmetic of the leapfrog move on the CPU: one pass over memory where tensor operations
make a dozen. Rows are chains, columns all coordinates of a configuration; draws are passed in.

The energy is not called from here: `leapfrog` calls it between these kernels.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# NaN and infinity stay detectable: neither "nnan" nor "ninf".
FLAGS = {"contract", "reassoc", "arcp", "nsz"}
LARGEST = float(np.finfo(np.float64).max)


@njit(cache=True, nogil=True, fastmath=FLAGS)
def _centre(row, width):
    """Moves the points of one configuration, `width` coordinates each, to mean zero, in place."""
    n_points = row.shape[0] // width
    for k in range(width):
        total = 0.0
        for p in range(n_points):
            total += row[p * width + k]
        mean = row.dtype.type(total / n_points)
        for p in range(n_points):
            row[p * width + k] -= mean


@njit(cache=True, nogil=True, fastmath=FLAGS)
def open_trajectory(x, force, velocity, step, beta, inverse_mass, width):
    """Standard normal draws in `velocity` become velocities after the first half kick.

    width > 0: draws are centred, in points of that many coordinates. Returns the positions after
    the first drift [chain, coordinate] and the kinetic energy of the fresh velocities [chain].
    """
    n_chains, n = x.shape
    moved, kinetic = np.empty_like(x), np.empty(n_chains)
    root = np.sqrt(inverse_mass)
    half = x.dtype.type(0.5)
    for c in range(n_chains):
        if width > 0:
            _centre(velocity[c], width)
        kick = half * step[c] * beta[c]
        total = 0.0
        for i in range(n):
            draw = velocity[c, i]
            total += draw * draw
            v = draw * root[i] + kick * inverse_mass[i] * force[c, i]
            velocity[c, i] = v
            moved[c, i] = x[c, i] + step[c] * v
        kinetic[c] = 0.5 * total
    return moved, kinetic


@njit(cache=True, nogil=True, fastmath=FLAGS)
def kick_and_drift(x, velocity, force, step, beta, inverse_mass):
    """One full kick and one drift, in place."""
    n_chains, n = x.shape
    for c in range(n_chains):
        kick = step[c] * beta[c]
        for i in range(n):
            v = velocity[c, i] + kick * inverse_mass[i] * force[c, i]
            velocity[c, i] = v
            x[c, i] += step[c] * v


@njit(cache=True, nogil=True, fastmath=FLAGS)
def close_trajectory(old, new, velocity, kinetic, draw, step, beta, inverse_mass, width):
    """Last half kick, and the choice between the states `old` and `new` = (x, u, force).

    width > 0: the proposal is centred. Returns the chosen x, u and force, the acceptance
    probability [chain], and the number of proposals that are not finite.
    """
    (old_x, old_u, old_force), (new_x, new_u, new_force) = old, new
    n_chains, n = new_x.shape
    x, u, force = np.empty_like(old_x), np.empty_like(old_u), np.empty_like(old_force)
    probability, n_nonfinite = np.empty(n_chains), 0
    half = new_x.dtype.type(0.5)
    for c in range(n_chains):
        kick = half * step[c] * beta[c]
        total = 0.0
        for i in range(n):
            v = velocity[c, i] + kick * inverse_mass[i] * new_force[c, i]
            total += v * v / inverse_mass[i]
        rise = float(new_u[c]) - float(old_u[c])
        change = beta[c] * rise + (0.5 * total - kinetic[c])
        # math.isfinite asks for x - x == 0, which reassociation turns into 0 == 0.
        finite = abs(change) <= LARGEST
        n_nonfinite += not finite
        probability[c] = math.exp(-max(change, 0.0)) if finite else 0.0
        if finite and draw[c] > change:
            u[c] = new_u[c]
            for i in range(n):
                x[c, i] = new_x[c, i]
                force[c, i] = new_force[c, i]
            if width > 0:
                _centre(x[c], width)
        else:
            u[c] = old_u[c]
            for i in range(n):
                x[c, i] = old_x[c, i]
                force[c, i] = old_force[c, i]
    return x, u, force, probability, n_nonfinite
