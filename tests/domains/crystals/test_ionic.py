"""The ionic energy against pymatgen's Ewald sum and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure

from domains.crystals import _ionic_kernels as kernels
from domains.crystals.elements import elements
from domains.crystals.ionic import IonicEnergy
from domains.crystals.structures import from_structures, structures
from tests.domains.crystals.crystal_cases import environment, random_crystals


def test_electrostatic_energies_are_those_of_pymatgen():
    crystals, _ = random_crystals(environment(), 8)
    energies = np.empty(8)
    kernels.lattice_energies(
        *(crystals.lattice, crystals.cartesian, crystals.charge),
        *(np.full_like(crystals.radius_a, 1e-9), crystals.n_atoms, energies),
    )
    for i, cell in enumerate(structures(crystals)):
        charges = crystals.charge[i, : crystals.n_atoms[i]]
        cell.add_oxidation_state_by_site(charges.tolist())
        expected = EwaldSummation(cell, acc_factor=14).total_energy
        assert energies[i] == pytest.approx(expected, abs=2e-4 * abs(expected) + 1e-4)


def rock_salt(a: float = 5.64) -> Structure:
    """The primitive cell."""
    lattice = Lattice(0.5 * a * (1 - np.eye(3)))
    return Structure(lattice, ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


def test_energy_does_not_depend_on_the_cell_or_the_order_of_atoms():
    chosen, energy = elements(["Na", "Cl"]), IonicEnergy()
    cell = rock_salt()
    turned = Structure.from_sites(list(reversed(cell.sites)))
    turned.translate_sites(list(range(len(turned))), [0.1, 0.2, 0.3])
    cells = [cell, cell * (2, 1, 1), cell * (1, 1, 3), turned]
    found = energy.formation_energy_ev_per_atom(from_structures(chosen, cells, [225] * 4))
    np.testing.assert_allclose(found, found[0], atol=1e-5)
    assert energy.n_evaluations == 4


def test_rock_salt_has_its_minimum_near_the_sum_of_the_radii():
    chosen, energy = elements(["Na", "Cl"]), IonicEnergy()
    lengths = np.linspace(5.0, 6.5, 16)
    cells = [rock_salt(a) for a in lengths]
    found = energy.formation_energy_ev_per_atom(from_structures(chosen, cells, [225] * 16))
    assert abs(lengths[found.argmin()] / 2 - (1.02 + 1.77)) < 0.2
    assert -2.5 < found.min() < -1.2  # experiment: -2.13
