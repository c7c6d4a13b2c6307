"""A key for each crystal that is the same in every cell, orientation, origin and order of its atoms.

The key holds the volume per atom and, for every pair of elements, how many distances per atom lie in bins of
0.01 A up to 5 A, rounded; crystals that agree in all of it count as the same. Different crystals can have
equal distances (homometric ones), but need equal elements and volumes as well: none are known among small
cells of this kind. A distance within rounding of a bin's edge may give one crystal two keys, which costs
an evaluation and nothing else.
"""

from __future__ import annotations

import hashlib

import numpy as np

from domains.crystals import _geometry_kernels as kernels
from domains.crystals.crystals import Crystals

_CUTOFF_A = 5.0
_BIN_A = 0.01
_OFFSET_A = 0.00317  # away from round distances


def fingerprints(crystals: Crystals) -> list[bytes]:
    """One key per crystal."""
    n_atoms = crystals.n_atoms
    first, second, length, _ = neighbour_list(crystals, _CUTOFF_A)
    there = crystals.kind >= 0
    number = np.where(there, crystals.elements.number[crystals.kind], 0)[there]
    owner = np.repeat(np.arange(len(crystals)), n_atoms)
    low = np.minimum(number[first], number[second])
    high = np.maximum(number[first], number[second])
    code = (low * 128 + high) * 65536 + ((length + _OFFSET_A) / _BIN_A).astype(np.int64)
    order = np.lexsort((code, owner[first]))
    starts = np.searchsorted(owner[first][order], np.arange(len(crystals) + 1))
    volume = crystals.volume_per_atom_a3
    keys = []
    for i in range(len(crystals)):
        values, counts = np.unique(code[order[starts[i] : starts[i + 1]]], return_counts=True)
        atoms, share = np.unique(number[owner == i], return_counts=True)
        digest = hashlib.blake2b(digest_size=16)
        digest.update(values.tobytes())
        digest.update(np.rint(counts / n_atoms[i] * 1e4).astype(np.int64).tobytes())
        digest.update(atoms.tobytes())
        digest.update(np.rint(share / n_atoms[i] * 1e4).astype(np.int64).tobytes())
        digest.update(np.rint(volume[i] * 100).astype(np.int64).tobytes())
        keys.append(digest.digest())
    return keys


def neighbour_list(
    crystals: Crystals, cutoff_a: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ordered pairs of atoms within a distance, images included: the two atoms, numbered over the whole
    batch, their distance, and the vector between them."""
    guess = 200 * int(crystals.n_atoms.sum()) + 1000
    while True:
        first, second = np.empty(guess, dtype=np.int64), np.empty(guess, dtype=np.int64)
        length, vector = np.empty(guess), np.empty((guess, 3))
        found = kernels.neighbours(
            *(crystals.lattice, crystals.cartesian, crystals.n_atoms, cutoff_a),
            *(first, second, length, vector),
        )
        if found <= guess:
            return first[:found], second[:found], length[:found], vector[:found]
        guess = found
