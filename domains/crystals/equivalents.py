"""How many sets of orbits describe the same crystals, and whether a set has the symmetry it claims.

One crystal has several descriptions: 4a + 4b or 4b + 4a, after a shift of the origin or another choice of
axes; a group or its mirror image; or a subgroup, when the occupied orbits happen to have more symmetry
than the group asks for. The reward is divided by the number of descriptions

    m = (different images of the orbits under the group's alternative settings)
        x (2 where the mirror image of the group is in the run as well, the crystals being called one)

and descriptions in a subgroup are no crystals of that group (`own_symmetry.py`): one crystal is described in
one group, its own. Both depend on the orbits alone and are cached. m is exact for groups whose alternatives
leave the base measure alone. It is approximate in the triclinic and monoclinic systems, where a crystal has
further choices of axes within the bounds of the cell's shape, and for orthorhombic axes at the edge of those
bounds.
"""

from __future__ import annotations

import math

import numpy as np
import spglib
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.crystals.orbits import OrbitState
from domains.crystals.parameters import Parameters
from domains.crystals.wyckoff import MIRROR_PAIRS, wyckoff
from workbench.gflownet.states import select

_OTHER_HAND = {a: b for pair in MIRROR_PAIRS for a, b in (pair, pair[::-1])}


class Equivalents:
    """Cached answers for the objects of an orbit environment."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.environment = parameters.environment
        self._known: dict[bytes, tuple[float, bool]] = {}
        self._lists: dict[int, list[list[int]]] = {}

    def log_multiplicity_and_claim(
        self, state: OrbitState
    ) -> tuple[Float[Tensor, "batch"], Bool[Tensor, "batch"]]:
        """log m, and whether generic crystals of these orbits have the group's symmetry and no more."""
        rows = torch.cat([state.group.unsqueeze(1), state.position, state.element], 1).numpy()
        keys = [row.tobytes() for row in np.ascontiguousarray(rows)]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            some = select(state, torch.tensor(list(new.values())))
            claims = self.environment.has_own_symmetry(some).tolist()
            for i, key in enumerate(new):
                images = len(self.images(some, i)) * self._hands(int(some.group[i]))
                self._known[key] = (math.log(images), claims[i])
        found = [self._known[key] for key in keys]
        return (
            torch.tensor([value for value, _ in found], dtype=torch.float64),
            torch.tensor([claim for _, claim in found]),
        )

    def images(self, state: OrbitState, row: int) -> Int[np.ndarray, "image slot 2"]:
        """The different sets of (element, position) that describe the same crystals in the same group."""
        group = self.environment.groups[int(state.group[row])]
        position = state.position[row].numpy()
        there = position >= 0
        letters = position[there].tolist()
        elements = state.element[row].numpy()[there].tolist()
        found = {
            tuple(sorted(zip(elements, [image[letter] for letter in letters], strict=True)))
            for image in self._permutations(group)
        }
        return np.array(sorted(found))

    def _permutations(self, group: int) -> list[list[int]]:
        if group not in self._lists:
            self._lists[group] = wyckoff().permutations[group - 1].tolist()
        return self._lists[group]

    def _hands(self, group: int) -> int:
        other = _OTHER_HAND.get(self.environment.groups[group])
        return 2 if other in self.environment.groups else 1


def symmetry(
    lattice: Float[np.ndarray, "vector space"],
    cartesian: Float[np.ndarray, "atom space"],
    kind: Int[np.ndarray, "atom"],
    tolerance_a: float,
) -> tuple[int, bool]:
    """Space group found by spglib (0 where it finds none), and whether the cell is primitive."""
    there = kind >= 0
    fractional = cartesian[there] @ np.linalg.inv(lattice)
    try:
        cell = (lattice.tolist(), fractional.tolist(), kind[there].tolist())
        found = spglib.get_symmetry_dataset(cell, tolerance_a)
    except spglib.SpglibError:
        return 0, False
    if found is None:
        return 0, False
    same = (found.rotations == np.eye(3, dtype=int)).all((1, 2)).sum()
    return int(found.number), bool(same == 1)
