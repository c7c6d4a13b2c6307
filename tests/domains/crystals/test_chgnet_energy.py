"""CHGNet formation energies: golden values, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from domains.crystals import chgnet_energy
from domains.crystals.chgnet_energy import ChgnetEnergy
from domains.crystals.elements import elements
from domains.crystals.structures import from_structures, read_cif, space_group, write_cif
from workbench.errors import InputError

pytest.importorskip("chgnet")

# Measured once with chgnet 0.4.2, model 0.3.0, on these files; experiment is within 0.1 of most.
GOLDEN = {
    "NaCl": -2.092,
    "MgO": -3.056,
    "KBr": -2.050,
    "CaF2": -4.216,
    "ZnS": -1.020,
    "SiC": -0.274,
    "SrTiO3": -3.580,
    "Al2O3": -3.442,
    "SiO2": -3.280,
}


def crystal(cells: list[Structure]):
    chosen = elements(sorted({site.specie.symbol for site in cells[0]}))
    return from_structures(chosen, cells, [1] * len(cells))


@pytest.mark.parametrize("name", GOLDEN)
def test_textbook_structures(reference_data, tmp_path, name):
    """Energy, invariance under a supercell and a swap of equal atoms, and the CIF round trip."""
    cell = read_cif(reference_data(f"crystals/prototypes/{name}.cif"))
    energy = ChgnetEnergy()
    value = energy.formation_energy_ev_per_atom(crystal([cell]))[0]
    assert value == pytest.approx(GOLDEN[name], abs=0.02)
    swapped = Structure.from_sites(list(reversed(cell.sites)))
    again = energy.formation_energy_ev_per_atom(crystal([swapped, cell * (2, 1, 1)]))
    np.testing.assert_allclose(again, value, atol=1e-4)
    assert energy.n_evaluations <= 2  # the fingerprint knows the crystal in any cell
    write_cif(cell, tmp_path / "again.cif")
    back = read_cif(tmp_path / "again.cif")
    assert back.composition.reduced_formula == cell.composition.reduced_formula
    assert space_group(back) == space_group(cell) > 1


def test_an_atom_alone_is_infinitely_high_and_keeps_its_place():
    cell = Structure(5.64 * (1 - np.eye(3)) / 2, ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    far = cell.copy()
    far.scale_lattice(cell.volume * 80)
    found = chgnet_energy.energies_ev_per_atom([cell, far, cell])
    assert found[1] == np.inf
    assert found[0] == pytest.approx(-3.666, abs=0.005) == found[2]


def test_what_is_stored_is_not_asked_again():
    cell = Structure(5.64 * (1 - np.eye(3)) / 2, ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    first = ChgnetEnergy()
    value = first.formation_energy_ev_per_atom(crystal([cell]))
    second = ChgnetEnergy()
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(second.formation_energy_ev_per_atom(crystal([cell])), value)
    assert second.n_evaluations == 1


def test_elements_without_a_reference_are_named():
    with pytest.raises(InputError, match="no elemental reference for Zz"):
        chgnet_energy.check_elements(["Na", "Zz"])


def test_the_reference_of_an_element_is_its_energy():
    """Formation energy of the stored elemental crystal of sodium is zero by construction."""
    assert chgnet_energy.references_ev_per_atom()["Na"] == pytest.approx(-1.278, abs=0.005)
    assert chgnet_energy.references_ev_per_atom()["O"] == pytest.approx(-4.913, abs=0.005)
