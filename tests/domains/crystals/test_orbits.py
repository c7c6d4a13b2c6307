"""Masks of the discrete stages: their contract, no dead ends, and neutrality against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from domains.crystals.elements import elements, neutral_states
from domains.crystals.orbits import OrbitEnvironment
from domains.crystals.playground import GROUPS, ListedOrbits
from domains.crystals.reachable import Limits
from tests.domains.crystals.crystal_cases import FEW_GROUPS, environment, random_walks
from workbench.errors import InputError
from workbench.gflownet import checks


@pytest.mark.parametrize(
    "symbols, limits",
    [
        (("Na", "Cl"), Limits(6)),
        (("Sr", "Ti", "O"), Limits(7, fewest_kinds=2, required=(1,))),
        (("Li", "Fe", "Mn", "S", "O", "F"), Limits(8, fewest_kinds=2, most_kinds=3)),
    ],
)
def test_every_walk_keeps_to_the_contract(symbols, limits, generator):
    env = OrbitEnvironment(elements(symbols), FEW_GROUPS, limits)
    checks.check_on_rollouts(env, 48, generator)


def test_a_listed_space_keeps_to_the_contract_in_every_state():
    env = ListedOrbits(elements(["Cu", "O"]), (*GROUPS, 123), Limits(4, fewest_kinds=2))
    checks.check_environment(env)
    assert env.n_states > 200


def test_all_that_stops_is_neutral_and_within_the_limits():
    env = environment(
        ("Li", "Fe", "S", "O"), most_atoms=8, fewest_kinds=2, most_kinds=3, required=(0,)
    )
    orbits = random_walks(env, 200).final.orbits
    counts = env.parameters.counts(orbits)
    assert (counts.sum(1) <= 8).all()
    kinds = (counts > 0).sum(1)
    assert (kinds >= 2).all() and (kinds <= 3).all()
    assert (counts[:, 0] > 0).all()
    for row in counts:
        there = row.nonzero()[0]
        states = neutral_states(env.orbits.elements, there, row[there])
        assert states is not None and (states * row[there]).sum() == 0


def _neutral(chosen, counts):
    kinds = [k for k, n in enumerate(counts) if n]
    own = [chosen.state[chosen.first_state[k] : chosen.first_state[k + 1]] for k in kinds]
    return any(
        sum(counts[k] * s for k, s in zip(kinds, states, strict=True)) == 0
        for states in itertools.product(*own)
    )


def test_the_listed_compositions_are_all_that_are_neutral():
    """In P1 every orbit is one atom, so the listed objects are the neutral compositions themselves."""
    chosen, most = elements(["Fe", "S", "O"]), 4
    env = ListedOrbits(chosen, (1,), Limits(most))
    stopped = env.all_states().stopped
    element = env.all_states().element[stopped].numpy()
    found = {tuple(np.bincount(row[row >= 0], minlength=3)) for row in element}
    every = itertools.product(range(most + 1), repeat=3)
    expected = {c for c in every if 0 < sum(c) <= most and _neutral(chosen, c)}
    assert found == expected


def test_a_fixed_site_is_used_once_and_a_free_one_again():
    env = OrbitEnvironment(elements(["Na", "Cl"]), (99,), Limits(6))
    state = env.step(env.initial_state(1), torch.tensor([0]))
    two = env.step(state, torch.tensor([env.n_groups]))  # position a of P4mm has a free z
    assert bool(env.forward_mask(two)[0, env.n_groups])
    env = OrbitEnvironment(elements(["Na", "Cl"]), (221,), Limits(6))
    state = env.step(env.initial_state(1), torch.tensor([0]))
    one = env.step(state, torch.tensor([env.n_groups]))
    assert not env.forward_mask(one)[0, env.n_groups : env.n_groups + 2].any()


@pytest.mark.parametrize(
    "symbols, groups, limits, words",
    [
        (("Na", "Mg"), (1, 225), Limits(8), "negative oxidation states"),
        (("O", "F"), (1, 225), Limits(8), "positive oxidation states"),
        (("Al", "O"), (1,), Limits(4, fewest_kinds=2), None),
        (("Al", "O"), (225,), Limits(5, fewest_kinds=2), None),
        (("Mg", "Br"), (1,), Limits(2, fewest_kinds=2), "--max-atoms"),
        (("Na", "Cl"), (230,), Limits(8), "space groups"),
    ],
)
def test_what_leaves_nothing_says_why(symbols, groups, limits, words):
    if words is None:
        assert OrbitEnvironment(elements(symbols), groups, limits).n_groups == 1
        return
    with pytest.raises(InputError, match=words):
        OrbitEnvironment(elements(symbols), groups, limits)
