"""A physical energy without any extra package: point ions with repulsion, in a Born-Haber cycle.

    formation energy = lattice energy of the ions (`_ionic_kernels.py`) + what the ions cost (`elements.py`)

in eV per atom. It puts ions of opposite charge beside each other at the right distance and ranks simple
salts as one expects; it is a demonstration, good to about 1 eV per atom, and knows nothing of covalent bonds,
crystal fields or mixed valence.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from domains.crystals import _ionic_kernels as kernels
from domains.crystals.crystals import Crystals


class IonicEnergy:
    """Formation energy of crystals from formal charges; `n_evaluations` counts them.

    name     what the energy is called, for reports
    """

    name = "point ions with repulsion (Born-Haber)"

    def __init__(self) -> None:
        self.n_evaluations = 0

    def state_dict(self) -> dict[str, int]:
        """The count, so that it is part of what a checkpoint keeps."""
        return {"n_evaluations": self.n_evaluations}

    def load_state_dict(self, stored: Mapping[str, int]) -> None:
        self.n_evaluations = stored["n_evaluations"]

    def formation_energy_ev_per_atom(self, crystals: Crystals) -> Float[np.ndarray, "crystal"]:
        """Formation energy in eV per atom."""
        self.n_evaluations += len(crystals)
        out, n_atoms = np.empty(len(crystals)), crystals.n_atoms
        kernels.lattice_energies(
            *(crystals.lattice, crystals.cartesian, crystals.charge, crystals.radius_a),
            *(n_atoms, out),
        )
        return (out + ion_cost_ev(crystals)) / n_atoms


def ion_cost_ev(crystals: Crystals) -> Float[np.ndarray, "crystal"]:
    """Energy that all ions of each cell cost, in eV."""
    elements = crystals.elements
    n = len(elements)
    lowest = int(elements.state.min())
    table = np.zeros((n, int(elements.state.max()) - lowest + 1))
    of = np.repeat(np.arange(n), np.diff(elements.first_state))
    table[of, elements.state - lowest] = elements.ion_cost_ev
    cost = table[crystals.kind, np.rint(crystals.charge).astype(np.int64) - lowest]
    return np.where(crystals.kind >= 0, cost, 0.0).sum(1)
