"""Elements and neutral choices of oxidation states."""

from __future__ import annotations

import numpy as np
import pytest

from domains.crystals.elements import PUBLISHED, elements, neutral_states
from domains.crystals.parameters import ions
from workbench.errors import InputError


def test_elements_come_in_the_order_of_electronegativity():
    found = elements(["O", "Na", "Cl", "Mg"])
    assert found.symbols == ("Na", "Mg", "Cl", "O")
    assert (np.diff(found.electronegativity) > 0).all()
    assert set(elements(["published"]).symbols) == set(PUBLISHED) and len(PUBLISHED) == 22


def test_no_element_has_a_zero_state():
    assert (elements(["published"]).state != 0).all()


@pytest.mark.parametrize(
    "symbols, counts, expected",
    [
        (("Na", "Cl"), (1, 1), (1, -1)),
        (("Fe", "O"), (2, 3), (3, -2)),
        (("Sr", "Ti", "O"), (1, 1, 3), (2, 4, -2)),
        (("Na", "H"), (1, 1), (1, -1)),
        (("C", "S"), (1, 2), (4, -2)),
    ],
)
def test_the_least_unusual_choice(symbols, counts, expected):
    chosen = elements(symbols)
    order = [symbols.index(s) for s in chosen.symbols]
    found = neutral_states(chosen, np.arange(len(symbols)), np.array(counts)[order])
    assert found is not None
    assert found.tolist() == [expected[i] for i in order]


def test_no_choice_at_all():
    assert neutral_states(elements(["Na", "Cl"]), np.array([0, 1]), np.array([3, 1])) is None


@pytest.mark.parametrize(
    "symbols, counts, volume_a3",
    [
        # experimental volume of one formula unit, A^3
        (("Na", "Cl"), (1, 1), 44.9),
        (("Mg", "O"), (1, 1), 18.7),
        (("Ca", "F"), (1, 2), 40.8),
        (("Zn", "S"), (1, 1), 39.6),
        (("Sr", "Ti", "O"), (1, 1, 3), 59.5),
    ],
)
def test_the_volume_of_ions_is_near_that_of_crystals(symbols, counts, volume_a3):
    _, _, found = ions(elements(symbols), np.array(counts))
    assert 0.75 < found / volume_a3 < 1.3


def test_unknown_and_repeated_elements():
    with pytest.raises(InputError, match=r'"Nq".*did you mean'):
        elements(["Nq", "Cl"])
    with pytest.raises(InputError, match="twice"):
        elements(["Na", "Na"])
