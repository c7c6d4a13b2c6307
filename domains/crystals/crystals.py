"""Crystals as batches of atoms in primitive cells: what energies and judges see.

Lengths in angstrom, volumes in cubic angstrom, as is usual for crystals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from domains.crystals import _geometry_kernels as kernels
from domains.crystals.elements import Elements

LONGEST_DISTANCE_A = 6.0  # beyond which no pair is too close


@dataclass(frozen=True)
class Crystals:
    """A batch of crystals.

    elements     what `kind` numbers
    lattice      [crystal, vector, 3] primitive vectors in A
    cartesian    [crystal, atom, 3] in A; rows from `n_atoms` on are not used
    kind         [crystal, atom] element of each atom, -1 beyond
    charge       [crystal, atom] oxidation states, summing to zero; 0 beyond
    radius_a     [crystal, atom] ionic radii of those states
    group        [crystal] the space group each was made in, 1 to 230
    """

    elements: Elements
    lattice: Float[np.ndarray, "crystal vector space"]
    cartesian: Float[np.ndarray, "crystal atom space"]
    kind: Int[np.ndarray, "crystal atom"]
    charge: Float[np.ndarray, "crystal atom"]
    radius_a: Float[np.ndarray, "crystal atom"]
    group: Int[np.ndarray, "crystal"]

    def __len__(self) -> int:
        return len(self.lattice)

    @property
    def n_atoms(self) -> Int[np.ndarray, "crystal"]:
        return (self.kind >= 0).sum(1)

    @property
    def volume_per_atom_a3(self) -> Float[np.ndarray, "crystal"]:
        return np.abs(np.linalg.det(self.lattice)) / self.n_atoms

    def counts(
        self, which: Bool[np.ndarray, "crystal atom"] | None = None
    ) -> Int[np.ndarray, "crystal element"]:
        """Atoms of each element in each crystal, of those chosen or of all."""
        n, width = len(self), len(self.elements)
        row, slot = (self.kind >= 0 if which is None else which).nonzero()
        cell = row * width + self.kind[row, slot]
        return np.bincount(cell, minlength=n * width).reshape(n, width)

    def select(self, rows: Sequence[int] | np.ndarray) -> Crystals:
        """The given crystals, in that order."""
        chosen = np.asarray(rows, dtype=np.int64)
        parts = [getattr(self, name)[chosen] for name in _ARRAYS]
        return Crystals(self.elements, *parts)

    def scaled(self, factor: Float[np.ndarray, "crystal"]) -> Crystals:
        """All lengths multiplied."""
        by = np.asarray(factor)[:, None, None]
        parts = [getattr(self, name) for name in _ARRAYS[2:]]
        return Crystals(self.elements, self.lattice * by, self.cartesian * by, *parts)

    def closest_ratio(self) -> Float[np.ndarray, "crystal"]:
        """Smallest distance between atoms over the sum of their covalent radii, 6 A at most being
        looked at: below 0.7 or so no crystal is known."""
        radius = np.where(self.kind >= 0, self.elements.covalent_radius_a[self.kind], 0.0)
        out = np.empty(len(self))
        kernels.closest_ratios(
            self.lattice, self.cartesian, self.n_atoms, radius, LONGEST_DISTANCE_A, out
        )
        return out


_ARRAYS = ("lattice", "cartesian", "kind", "charge", "radius_a", "group")


def join(parts: Sequence[Crystals]) -> Crystals:
    """One batch out of several of the same elements; rows are widened to the largest."""
    width = max(part.kind.shape[1] for part in parts)

    def widened(array: np.ndarray, fill: float) -> np.ndarray:
        pad = [(0, 0), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
        return np.pad(array, pad, constant_values=fill)

    return Crystals(
        parts[0].elements,
        np.concatenate([part.lattice for part in parts]),
        np.concatenate([widened(part.cartesian, 0.0) for part in parts]),
        np.concatenate([widened(part.kind, -1) for part in parts]),
        np.concatenate([widened(part.charge, 0.0) for part in parts]),
        np.concatenate([widened(part.radius_a, 0.0) for part in parts]),
        np.concatenate([part.group for part in parts]),
    )
