"""Whether occupied orbits have the symmetry of the group they are placed in, and no more.

A crystal of a group is also, at special coordinates or with special occupation, one of its subgroups: caesium
chloride in twice its cell, or orbits of P1 that always have a centre. Such a set of orbits is a description
of crystals of another group, where they are counted already. `own_symmetry` is the test: the number of motions
that keep the orbits, at arbitrary free coordinates and an arbitrary cell of the system, is that of the group.
It is exact, since every symmetry of a crystal is one of its lattice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from domains.crystals import _geometry_kernels as geometry
from domains.crystals import _symmetry_kernels as kernels
from domains.crystals.wyckoff import PRIMITIVE, SYSTEMS, wyckoff

_ARBITRARY = (0.137, 0.811, 0.293, 0.618, 0.462)  # numbers of a cell without special proportions
_TOLERANCE = 1e-9


@cache
def lattice_rotations(system: int, centring: int) -> Int[np.ndarray, "rotation 3 3"]:
    """The rotations that keep the lattices of a system and centring, on columns of fractional coordinates
    of the primitive cell."""
    cell = np.empty((3, 3))
    geometry.conventional_cell(system, centring, np.array(_ARBITRARY), cell)
    vectors = PRIMITIVE[centring] @ cell
    metric = vectors @ vectors.T
    every = np.array(list(itertools.product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    kept = np.abs(every.transpose(0, 2, 1) @ metric @ every - metric).max((1, 2)) < _TOLERANCE
    return every[kept]


class OwnSymmetry:
    """The test for the groups of a run; `first` and `place` as in `OrbitEnvironment`."""

    def __init__(self, groups: Sequence[int], first: np.ndarray, place: np.ndarray) -> None:
        table = wyckoff()
        pairs = list(itertools.product(range(len(SYSTEMS)), range(len(PRIMITIVE))))
        numbers = np.array(groups) - 1
        bravais = table.system[numbers].astype(np.int64) * len(PRIMITIVE) + table.centring[numbers]
        used = set(bravais.tolist())
        rotations = np.zeros((len(pairs), 48, 3, 3))
        n_rotations = np.zeros(len(pairs), dtype=np.int64)
        for i in used:
            found = lattice_rotations(*pairs[i])
            rotations[i, : len(found)], n_rotations[i] = found, len(found)
        into_primitive = np.array([np.linalg.inv(PRIMITIVE[centring]) for _, centring in pairs])
        general = table.first_position[1:] - 1
        order = table.multiplicity[general[numbers]].astype(np.int64)
        self._arguments = (
            *(first, table.multiplicity[place].astype(np.int64), table.free[place]),
            *(table.first_atom[place], table.matrix, table.offset),
            *(bravais, into_primitive, rotations, n_rotations, order),
        )

    def __call__(
        self,
        group: Int[Tensor, "batch"],
        position: Int[Tensor, "batch slot"],
        element: Int[Tensor, "batch slot"],
    ) -> Bool[Tensor, "batch"]:
        """True where the orbits have the symmetry of their group and no more."""
        coordinates = np.random.default_rng(0).uniform(size=3 * position.shape[1])
        more = np.empty(len(group), dtype=np.bool_)
        kernels.more_symmetric(
            *(group.numpy(), position.numpy(), element.numpy()), *self._arguments, coordinates, more
        )
        return torch.from_numpy(~more)
