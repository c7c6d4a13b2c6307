"""The leading anion, and the multipliers that keep anions, groups and formulas within their shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.crystals.balance import Balance, largest_share, leading_anions
from domains.crystals.crystals import Crystals
from domains.crystals.elements import elements
from workbench.training.tree import pack, unpack


def _crystals(formulas):
    """Atoms by symbol with their charge; nothing else of them is looked at."""
    chosen = elements(["Na", "Mg", "O", "F", "Cl"])
    n, width = len(formulas), max(len(f) for f in formulas)
    kind, charge = np.full((n, width), -1), np.zeros((n, width))
    for row, formula in enumerate(formulas):
        for slot, (symbol, ion) in enumerate(formula):
            kind[row, slot], charge[row, slot] = chosen.index(symbol), ion
    space, blank = np.zeros((n, width, 3)), np.zeros((n, width))
    return Crystals(chosen, np.zeros((n, 3, 3)), space, kind, charge, blank, np.arange(1, n + 1))


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


def test_the_largest_share_is_named():
    crystals = _crystals(SALTS)
    assert largest_share("anion", crystals) == ("F", 0.5)
    assert largest_share("formula", crystals)[1] == largest_share("group", crystals)[1] == 0.25


def _learned(shares, crystals, log_reward, rounds=40):
    """The law after learning from its own samples."""
    balance, rng = Balance(shares), np.random.default_rng(0)
    for _ in range(rounds):
        weight = np.exp(log_reward - balance.nats(crystals))
        draws = rng.choice(len(crystals), 20_000, p=weight / weight.sum())
        balance.learn(crystals.select(draws))
    law = np.exp(log_reward - balance.nats(crystals))
    return balance, law / law.sum()


def test_balanced_law_is_the_closest_that_keeps_the_share():
    crystals = _crystals(SALTS)
    balance, law = _learned({"anion": 0.4}, crystals, np.array([3.0, 3.5, 1.0, -1.0]))
    assert law[:2].sum() == pytest.approx(0.4, abs=0.01)  # fluorides: held at the share
    assert law[2] == pytest.approx(0.4, abs=0.01)  # oxides: the next that would lead more
    assert balance.nats(crystals)[3] == 0.0  # chlorides stay as they are
    assert law[1] / law[0] == pytest.approx(np.exp(0.5))  # within an anion nothing changes


def test_groups_and_formulas_are_bounded_together():
    crystals = _crystals([SALTS[0], SALTS[0], *SALTS[1:]])  # NaF in the groups 1 and 2
    log_reward = np.array([4.0, 3.0, 2.0, 0.0, 0.0])
    balance, law = _learned({"group": 0.3, "formula": 0.4}, crystals, log_reward)
    assert law[0] + law[1] == pytest.approx(0.4, abs=0.01)  # NaF
    assert law.max() < 0.31
    assert law[2] == pytest.approx(0.3, abs=0.01)  # MgF2, in one group
    assert law[3] == pytest.approx(law[4])  # what is rare keeps its proportions
    assert set(balance.penalty["formula"]) >= {"NaF"}


def test_a_few_crystals_move_multipliers_a_little():
    crystals, balance = _crystals(SALTS), Balance({"formula": 0.01})
    balance.learn(crystals)  # each formula has a quarter
    assert 0.0 < balance.nats(crystals).max() <= 3.0


def test_shares_of_one_leave_the_law_alone():
    crystals = _crystals(SALTS)
    balance = Balance({})
    balance.learn(crystals)
    assert not balance.nats(crystals).any()


def test_multipliers_survive_a_checkpoint():
    crystals = _crystals(SALTS)
    balance, _ = _learned({"anion": 0.4}, crystals, np.array([3.0, 3.5, 1.0, -1.0]), 5)
    tree, tensors = pack(balance)
    fresh = unpack(tree, tensors, Balance({"anion": 0.4}))
    torch.testing.assert_close(fresh.nats(crystals), balance.nats(crystals))
