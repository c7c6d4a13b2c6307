"""A whole force field over a batch: blocks of configurations in, energies and forces out
(numba)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from numpy import ndarray

from domains.molecules._force_field_born_kernels import generalized_born
from domains.molecules._force_field_kernels import (
    FORCE,
    ROWS,
    SCRATCH_ROWS,
    WIDTH,
    angles,
    bonds,
    cross_maps,
    pairs,
    torsions,
)
from domains.molecules._force_field_math_kernels import JIT
from domains.molecules.force_field_parameters import Tables


@numba.njit(**JIT)
def load_block(x, first, state):
    """Positions `x [batch, atom, 3]` from configuration `first` on to batch-last rows, forces to
    zero. A block that reaches beyond the batch repeats the last configuration."""
    zero = x.dtype.type(0)
    for w in range(WIDTH):
        lane = min(first + w, x.shape[0] - 1)
        for a in range(x.shape[1]):
            for k in range(3):
                state[a, k * WIDTH + w] = x[lane, a, k]
                state[a, FORCE + k * WIDTH + w] = zero


@numba.njit(**JIT)
def store_block(state, sums, first, scale, energy, force, with_force):
    """Scaled energies and forces of the block to `energy [batch]` and `force [batch, atom, 3]`."""
    real = state.dtype.type
    factor = real(scale)
    for w in range(min(WIDTH, energy.shape[0] - first)):
        energy[first + w] = scale * sums[w]
        if with_force:
            for a in range(state.shape[0]):
                for k in range(3):
                    force[first + w, a, k] = factor * state[a, FORCE + k * WIDTH + w]


def _kernel_sources_digest() -> int:
    """A number that changes when any kernel file does."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("_force_field*_kernels.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:4], "big")


def _compiled(sources_digest: int) -> Callable[..., int]:
    """The compiled batch loop.

    Numba's disk cache notices a change of this file only, not of the kernels that are called from
    here; the digest in the closure is part of the cache key, so no stale code is run.
    """

    @numba.njit(cache=True, **JIT)
    def evaluate(x, energy, force, with_force, scale, force_field):
        bond_table, angle_table, torsion_table, map_table, pair_table, born_table = force_field
        n = x.shape[1]
        atoms, constants = born_table
        with_born = atoms.shape[0] > 0
        state = np.empty((n, ROWS * WIDTH), x.dtype)
        scratch = np.zeros(SCRATCH_ROWS * WIDTH, x.dtype)
        other = np.zeros(SCRATCH_ROWS * WIDTH, x.dtype)
        slopes = np.empty((n * (n - 1) // 2 if with_born else 0, 2 * WIDTH), x.dtype)
        sums = np.empty(WIDTH, np.float64)
        for first in range(0, x.shape[0], WIDTH):
            load_block(x, first, state)
            sums[:] = 0.0
            bonds(state, sums, scratch, *bond_table)
            angles(state, sums, scratch, *angle_table)
            torsions(state, sums, scratch, *torsion_table)
            cross_maps(state, sums, scratch, other, *map_table)
            pairs(state, sums, scratch, *pair_table)
            if with_born:
                generalized_born(state, sums, scratch, slopes, atoms, constants, with_force)
            store_block(state, sums, first, scale, energy, force, with_force)
        return sources_digest

    return evaluate


_evaluate = _compiled(_kernel_sources_digest())


def evaluate(
    x: ndarray, energy: ndarray, force: ndarray, with_force: bool, scale: float, parts: Tables
) -> None:
    """Write `scale * E` to `energy [batch]` and `-scale * grad E` to `force [batch, atom, 3]`.

    `x [batch, atom, 3]` in nm, E in kJ/mol; all arrays contiguous and of the precision for which
    `parts` were made by `tables`.
    """
    _evaluate(x, energy, force, with_force, scale, parts)
