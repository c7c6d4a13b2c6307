"""Energy above the convex hull of formation energies against composition.

The hull is spanned by the elements (formation energy zero) and given crystals, all by one energy model; it is
named after both, since a hull of few phases flatters what it judges.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from domains.crystals.crystals import Crystals


class Hull:
    """The hull of elements and the given crystals, in atomic fractions."""

    def __init__(
        self,
        n_elements: int,
        fractions: Float[np.ndarray, "phase element"],
        energies_ev_per_atom: Float[np.ndarray, "phase"],
    ) -> None:
        finite = np.isfinite(energies_ev_per_atom)
        self.fractions = np.concatenate([np.eye(n_elements), fractions[finite]])
        self.energies = np.concatenate([np.zeros(n_elements), energies_ev_per_atom[finite]])

    def depth_ev_per_atom(self, fraction: Float[np.ndarray, "element"]) -> float:
        """Lowest energy of any mixture of phases with this composition (<= 0)."""
        there = fraction > 0
        usable = (self.fractions[:, ~there] == 0).all(1)
        solved = linprog(
            self.energies[usable],
            A_eq=self.fractions[usable][:, there].T,
            b_eq=fraction[there],
            method="highs",
        )
        return float(solved.fun)

    def above_ev_per_atom(
        self,
        fractions: Float[np.ndarray, "crystal element"],
        energies_ev_per_atom: Float[np.ndarray, "crystal"],
    ) -> Float[np.ndarray, "crystal"]:
        """Energy above the hull; negative for what lies below it."""
        known: dict[bytes, float] = {}
        depth = []
        for fraction in fractions:
            key = fraction.round(9).tobytes()
            if key not in known:
                known[key] = self.depth_ev_per_atom(fraction)
            depth.append(known[key])
        return energies_ev_per_atom - np.array(depth)


def fractions(crystals: Crystals) -> Float[np.ndarray, "crystal element"]:
    """Atomic fraction of each element."""
    return crystals.counts() / crystals.n_atoms[:, None]
