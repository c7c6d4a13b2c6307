"""Relaxation of cell and atoms to a near minimum of the energy.

CHGNet: its own optimiser (FIRE on forces and stress). Ionic energy: L-BFGS over strain and displacements with
differences of the energy for gradients, all displaced copies of a crystal in one call.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from pymatgen.core import Structure
from scipy.optimize import minimize

from domains.crystals.chgnet_energy import ChgnetEnergy, model
from domains.crystals.crystals import Crystals
from domains.crystals.reward import CrystalEnergy
from domains.crystals.structures import from_structures, structures
from workbench.training.processes import divided

FORCE_EV_PER_A = 0.05
MOST_STEPS = 150
_STEP = 1e-3
_FEWEST_PER_PROCESS = 8


@dataclass(frozen=True)
class Relaxed:
    """crystals    after relaxation, of the same elements and in the same order
    energy_ev_per_atom   formation energy after relaxation, infinite where it failed
    """

    crystals: Crystals
    energy_ev_per_atom: Float[np.ndarray, "crystal"]


def relax(crystals: Crystals, energy: CrystalEnergy) -> Relaxed:
    """Every crystal, one after the other in each of CHGNet's processes."""
    if isinstance(energy, ChgnetEnergy):
        cells = structures(crystals)
        n = min(energy.n_processes, len(cells) // _FEWEST_PER_PROCESS)
        cells = divided(f"{__name__}:by_chgnet", cells, n, energy.device)
        final = from_structures(crystals.elements, cells, crystals.group.tolist())
    else:
        final = _by_differences(crystals, energy)
    return Relaxed(final, energy.formation_energy_ev_per_atom(final))


def by_chgnet(cells: Sequence[Structure], device: str) -> list[Structure]:
    """Each after CHGNet's own relaxation; as it was where an atom is left without neighbours on the way."""
    from chgnet.model import StructOptimizer

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        optimiser = StructOptimizer(model(device), use_device=device)
        return [_one_by_chgnet(optimiser, cell) for cell in cells]


def _one_by_chgnet(optimiser: Any, cell: Structure) -> Structure:
    try:
        found = optimiser.relax(cell, fmax=FORCE_EV_PER_A, steps=MOST_STEPS, verbose=False)
    except ValueError:
        return cell
    final = found["final_structure"]
    assert isinstance(final, Structure)
    final.remove_site_property("magmom")
    return final


def _by_differences(crystals: Crystals, energy: CrystalEnergy) -> Crystals:
    moved = [_minimised(crystals.select([i]), energy) for i in range(len(crystals))]
    return replace(
        crystals,
        lattice=np.concatenate([one.lattice for one in moved]),
        cartesian=np.concatenate([one.cartesian for one in moved]),
    )


def _minimised(crystal: Crystals, energy: CrystalEnergy) -> Crystals:
    n = int(crystal.n_atoms[0])

    def displaced(x: Float[np.ndarray, "copy dim"]) -> Crystals:
        """Copies under strain x[:9] and displacements x[9:]."""
        strain = np.eye(3) + x[:, :9].reshape(-1, 3, 3)
        atoms = np.repeat(crystal.cartesian, len(x), 0)
        atoms[:, :n] += x[:, 9:].reshape(-1, n, 3)
        copies = crystal.select(np.zeros(len(x), dtype=np.int64))
        return replace(
            copies, lattice=crystal.lattice[[0] * len(x)] @ strain, cartesian=atoms @ strain
        )

    def value_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        steps = _STEP * np.eye(len(x))
        every = energy.formation_energy_ev_per_atom(
            displaced(np.concatenate([x[None], x + steps, x - steps]))
        )
        half = (len(every) - 1) // 2
        return float(every[0]), (every[1 : 1 + half] - every[1 + half :]) / (2 * _STEP)

    found = minimize(
        value_and_slope, np.zeros(9 + 3 * n), jac=True, method="L-BFGS-B", options={"maxiter": 40}
    )
    return displaced(found.x[None])
