"""Judges: classes, validity, symmetry of files, hull, structure types, relaxation, pages."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from domains.crystals import judging, views
from domains.crystals.balance import shares
from domains.crystals.elements import elements
from domains.crystals.hull import Hull, fractions
from domains.crystals.ionic import IonicEnergy
from domains.crystals.prototypes import substituted
from domains.crystals.reachable import Limits
from domains.crystals.relaxation import relax
from domains.crystals.structures import from_structures, space_group, structures, write_cif
from workbench.errors import InputError

CHOSEN = elements(["Na", "Cl"])
RNG = np.random.default_rng(0)


def rock_salt(a: float = 5.64) -> Structure:
    return Structure(0.5 * a * (1 - np.eye(3)), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


def caesium_chloride(a: float = 3.5) -> Structure:
    return Structure(Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


def test_equal_crystals_are_one_class_in_any_cell_and_scale():
    cells = [caesium_chloride(), rock_salt(), rock_salt() * (2, 1, 1), rock_salt(5.8)]
    crystals = from_structures(CHOSEN, cells, [221, 225, 225, 225])
    assert judging.classes(crystals, structures(crystals)).tolist() == [0, 1, 1, 1]
    assert judging.novel(cells[:2], [rock_salt(6.0)]).tolist() == [True, False]


def test_validity_neutrality_and_anions():
    close = rock_salt(0.8)
    crystals = from_structures(CHOSEN, [rock_salt(), close], [225, 225])
    assert judging.valid(crystals).tolist() == [True, False]
    assert judging.neutral(crystals).all()
    assert shares("anion", crystals) == {"Cl": 1.0}


def test_faithful_files_have_their_group(tmp_path):
    for name, cell in (("a", rock_salt()), ("b", caesium_chloride())):
        write_cif(cell, tmp_path / f"{name}.cif")
    (tmp_path / "c.cif").write_text("nothing")
    paths = [tmp_path / f"{name}.cif" for name in "abc"]
    assert judging.faithful(paths, [225, 225, 1]).tolist() == [True, False, False]
    with pytest.raises(InputError, match=r"c\.cif cannot be read"):
        judging.known_structures(tmp_path)


def test_entropy_and_median():
    assert judging.entropy([1, 1, 2, 2]) == pytest.approx(np.log(2))
    middle, error = judging.median_and_error(np.random.default_rng(0).normal(size=4000))
    assert abs(middle) < 5 * error
    assert error == pytest.approx(np.sqrt(np.pi / 2 / 4000), rel=0.2)


def test_the_hull_of_a_binary_by_hand():
    hull = Hull(2, np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([-2.0, -0.5]))
    points = np.array([[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [1.0, 0.0]])
    above = hull.above_ev_per_atom(points, np.array([-2.0, -0.5, -0.5, 0.1]))
    np.testing.assert_allclose(above, [0.0, 0.5, 0.5, 0.1], atol=1e-9)


def test_substitution_puts_elements_into_neutral_types_with_the_right_symmetry():
    found = substituted(elements(["Sr", "Ti", "O"]), Limits(7, 2), range(1, 231), 1000, RNG)
    assert found is not None
    cells = structures(found.crystals)
    formulas = {
        (t.name, c.composition.reduced_formula) for t, c in zip(found.prototype, cells, strict=True)
    }
    assert ("perovskite", "SrTiO3") in formulas and ("rutile", "TiO2") in formulas
    for prototype, cell in zip(found.prototype, cells, strict=True):
        assert space_group(cell) == prototype.group
    assert substituted(elements(["Na", "Cl"]), Limits(1), range(1, 231), 1000, RNG) is None


def test_relaxation_by_differences_ends_in_rock_salt():
    energy = IonicEnergy()
    strained = rock_salt()
    strained.apply_strain([0.06, 0.02, -0.03])
    strained.translate_sites([0], [0.03, 0.0, 0.02])
    crystals = from_structures(CHOSEN, [strained], [1])
    before = energy.formation_energy_ev_per_atom(crystals)[0]
    relaxed = relax(crystals, energy)
    assert relaxed.energy_ev_per_atom[0] < before - 0.01
    assert space_group(structures(relaxed.crystals)[0], 0.05) == 225
    np.testing.assert_array_equal(fractions(relaxed.crystals), [[0.5, 0.5]])


def test_the_page_of_views_needs_no_network():
    page = views.page("Crystals", [rock_salt(), caesium_chloride()], ["a <b>", "c"])
    assert page.count("<canvas>") == 2 and "a &lt;b&gt;" in page
    assert "http" not in page and "src=" not in page


def test_a_number_of_substitutions_serves_all_types():
    every = substituted(
        elements(["Na", "K", "Cl", "F", "O"]), Limits(6, 2), range(1, 231), 1000, RNG
    )
    some = substituted(elements(["Na", "K", "Cl", "F", "O"]), Limits(6, 2), range(1, 231), 20, RNG)
    assert len(some.crystals) == 20 < len(every.crystals)
    names = {prototype.name for prototype in every.prototype}
    assert {prototype.name for prototype in some.prototype} == names
