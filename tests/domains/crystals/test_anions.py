"""The leading anion, and the multipliers that keep it within its share."""

from __future__ import annotations

import numpy as np
import pytest

from domains.crystals.anions import AnionBalance, leading_anions
from domains.crystals.crystals import Crystals
from domains.crystals.elements import elements


def _crystals(formulas):
    """Atoms by symbol with their charge; nothing else of them is looked at."""
    chosen = elements(["Na", "Mg", "O", "F", "Cl"])
    n, width = len(formulas), max(len(f) for f in formulas)
    kind, charge = np.full((n, width), -1), np.zeros((n, width))
    for row, formula in enumerate(formulas):
        for slot, (symbol, ion) in enumerate(formula):
            kind[row, slot], charge[row, slot] = chosen.index(symbol), ion
    space, blank = np.zeros((n, width, 3)), np.zeros((n, width))
    return Crystals(chosen, np.zeros((n, 3, 3)), space, kind, charge, blank, np.ones(n, dtype=int))


SALTS = [
    [("Na", 1), ("F", -1)],
    [("Mg", 2), ("F", -1), ("F", -1)],
    [("Na", 1), ("Na", 1), ("O", -2)],
    [("Na", 1), ("Cl", -1)],
]


def test_most_abundant_negative_ion_leads():
    mixed = [("Mg", 2), ("Na", 1), ("O", -2), ("F", -1)]
    metal = [("Na", 1), ("Mg", 2)]
    found = _crystals([*SALTS, mixed, metal])
    names = [found.elements.symbols[i] if i >= 0 else "" for i in leading_anions(found)]
    assert names == ["F", "F", "O", "Cl", "O", ""]  # of equals the less electronegative


def test_balanced_law_is_the_closest_that_keeps_the_share():
    crystals, log_reward = _crystals(SALTS), np.array([3.0, 3.5, 1.0, -1.0])
    balance = AnionBalance(len(crystals.elements), 0.4)
    rng = np.random.default_rng(0)
    for _ in range(20):
        weight = np.exp(log_reward - balance.nats(crystals))
        balance.learn(crystals.select(rng.choice(4, 20_000, p=weight / weight.sum())))
    law = np.exp(log_reward - balance.nats(crystals))
    law /= law.sum()
    assert law[:2].sum() == pytest.approx(0.4, abs=0.01)  # fluorides: held at the share
    assert law[2] == pytest.approx(0.4, abs=0.01)  # oxides: the next that would lead more
    assert balance.nats(crystals)[3] == 0.0  # chlorides stay as they are
    assert law[1] / law[0] == pytest.approx(np.exp(0.5))  # within an anion nothing changes


def test_share_of_one_leaves_the_law_alone():
    crystals = _crystals(SALTS)
    assert not AnionBalance(len(crystals.elements), 1.0).nats(crystals).any()
