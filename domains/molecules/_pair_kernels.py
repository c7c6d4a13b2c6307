"""Compiled CPU kernels of pair energies: Lennard-Jones clusters and double-well particles.

Each kernel takes configurations batch first, `[batch, particle, space]`, and works on blocks of `LANES`
configurations laid out batch last: a particle is one row `[space * LANES]`, so that the innermost loop runs
over independent configurations. The pair functions write to one scratch row and nothing else: with
more outputs the compiler cannot rule out overlap and falls back to scalar code (measured: 5 times slower).
The last block is filled up by repeating the last configuration. Two particles at one point give an
infinite energy and a force that is not a number, as they should.
"""

from __future__ import annotations

import numba
import numpy as np

LANES = 64
# No "nnan" or "ninf": infinities of clashing particles must stay detectable.
FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")


@compiled
def _load_centred(x, start, rows):
    """Copies a block of configurations into `rows`, each with its centre moved to zero."""
    n_batch, n_particles, n_space = x.shape
    for lane in range(LANES):
        source = min(start + lane, n_batch - 1)
        for k in range(n_space):
            total = rows.dtype.type(0)
            for i in range(n_particles):
                total += x[source, i, k]
            mean = total / rows.dtype.type(n_particles)
            for i in range(n_particles):
                rows[i, k * LANES + lane] = x[source, i, k] - mean


@compiled
def _store(start, energy_row, force_rows, energy, force):
    n_batch, n_particles, n_space = force.shape
    for lane in range(min(LANES, n_batch - start)):
        energy[start + lane] = energy_row[lane]
        for i in range(n_particles):
            for k in range(n_space):
                force[start + lane, i, k] = force_rows[i, k * LANES + lane]


@compiled
def _add_pair(pull, force_i, force_j):
    for m in range(len(pull)):
        force_i[m] += pull[m]
    for m in range(len(pull)):
        force_j[m] -= pull[m]


@compiled
def _oscillate(position, oscillator, half_oscillator, energy_row, force):
    """Harmonic tether of one particle to the centre: assigns its force, adds its energy."""
    for m in range(len(position)):
        force[m] = -oscillator * position[m]
    for k in range(len(position) // LANES):
        for lane in range(LANES):
            coordinate = position[k * LANES + lane]
            energy_row[lane] += half_oscillator * coordinate * coordinate


@compiled
def _lennard_jones_pair(a, b, depth, twelve_depth, r_min_squared, one, two, energy_row, pull):
    for lane in range(LANES):
        dx = a[lane] - b[lane]
        dy = a[LANES + lane] - b[LANES + lane]
        dz = a[2 * LANES + lane] - b[2 * LANES + lane]
        inverse = one / (dx * dx + dy * dy + dz * dz)
        ratio = r_min_squared * inverse
        sixth = ratio * ratio * ratio
        energy_row[lane] += depth * (sixth * (sixth - two))
        slope = twelve_depth * (sixth * (sixth - one)) * inverse
        pull[lane] = slope * dx
        pull[LANES + lane] = slope * dy
        pull[2 * LANES + lane] = slope * dz


@compiled
def lennard_jones(x, depth, r_min, oscillator, energy, force):
    """u = sum_{i<j} depth [(r_min/r)^12 - 2 (r_min/r)^6] + oscillator/2 sum_i |x_i - centre|^2.

    x [batch, particle, 3]; energy [batch] and force [batch, particle, 3] are filled."""
    n_batch, n_particles, _ = x.shape
    real = x.dtype.type
    position = np.empty((n_particles, 3 * LANES), x.dtype)
    force_rows = np.empty((n_particles, 3 * LANES), x.dtype)
    energy_row = np.empty(LANES, x.dtype)
    pull = np.empty(3 * LANES, x.dtype)
    for start in range(0, n_batch, LANES):
        _load_centred(x, start, position)
        energy_row[:] = real(0)
        for i in range(n_particles):
            _oscillate(position[i], oscillator, real(0.5) * oscillator, energy_row, force_rows[i])
            for j in range(i):
                _lennard_jones_pair(
                    position[i],
                    position[j],
                    depth,
                    real(12) * depth,
                    r_min * r_min,
                    real(1),
                    real(2),
                    energy_row,
                    pull,
                )
                _add_pair(pull, force_rows[i], force_rows[j])
        _store(start, energy_row, force_rows, energy, force)


@compiled
def _double_well_pair(a, b, quartic, quadratic, constant, offset, two, four, energy_row, pull):
    for lane in range(LANES):
        dx = a[lane] - b[lane]
        dy = a[LANES + lane] - b[LANES + lane]
        distance = np.sqrt(dx * dx + dy * dy)
        shift = distance - offset
        squared = shift * shift
        energy_row[lane] += (quartic * squared + quadratic) * squared + constant
        slope = -(four * quartic * squared + two * quadratic) * shift / distance
        pull[lane] = slope * dx
        pull[LANES + lane] = slope * dy


@compiled
def double_well(x, quartic, quadratic, constant, offset, energy, force):
    """u = sum_{i<j} quartic (d - offset)^4 + quadratic (d - offset)^2 + constant.

    x [batch, particle, 2]; energy [batch] and force [batch, particle, 2] are filled."""
    n_batch, n_particles, _ = x.shape
    real = x.dtype.type
    position = np.empty((n_particles, 2 * LANES), x.dtype)
    force_rows = np.empty((n_particles, 2 * LANES), x.dtype)
    energy_row = np.empty(LANES, x.dtype)
    pull = np.empty(2 * LANES, x.dtype)
    for start in range(0, n_batch, LANES):
        _load_centred(x, start, position)
        energy_row[:] = real(0)
        force_rows[:] = real(0)
        for i in range(n_particles):
            for j in range(i):
                _double_well_pair(
                    position[i],
                    position[j],
                    quartic,
                    quadratic,
                    constant,
                    offset,
                    real(2),
                    real(4),
                    energy_row,
                    pull,
                )
                _add_pair(pull, force_rows[i], force_rows[j])
        _store(start, energy_row, force_rows, energy, force)
