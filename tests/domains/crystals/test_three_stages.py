"""The published three stages: contract, compatibility against PyXtal, and a reward without atoms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from domains.crystals.elements import elements, neutral_states
from domains.crystals.reachable import Limits
from domains.crystals.three_stages import ThreeStages, mean_field_energy_ev_per_atom
from domains.crystals.wyckoff import PRIMITIVE, wyckoff
from tests.domains.crystals.crystal_cases import FEW_GROUPS
from workbench.errors import InputError
from workbench.gflownet import algorithm, checks
from workbench.gflownet.options import GFlowNetConfig, NetworkConfig


def stages(symbols, groups, limits, n_bins=4) -> ThreeStages:
    return ThreeStages(
        elements(symbols), groups, limits, lambda s: torch.zeros(len(s.group)), n_bins
    )


def test_every_walk_keeps_to_the_contract(generator):
    env = stages(("Li", "Fe", "S", "O"), FEW_GROUPS, Limits(8, fewest_kinds=2, required=(0,)))
    checks.check_on_rollouts(env, 64, generator)


@pytest.mark.parametrize("group", [1, 47, 166, 221, 225])
def test_compositions_are_those_that_pyxtal_and_neutrality_allow(group):
    """All that can be reached, against PyXtal's own check of every composition."""
    pyxtal = pytest.importorskip("pyxtal.symmetry")
    symbols, most = ("Mg", "Fe", "O"), 6
    env = stages(symbols, (group,), Limits(most))
    chosen = env.elements
    n_conventional = round(1 / abs(np.linalg.det(PRIMITIVE[wyckoff().centring[group - 1]])))
    known, expected = pyxtal.Group(group), set()
    for counts in itertools.product(range(most + 1), repeat=3):
        kinds = np.array(counts).nonzero()[0]
        if not 0 < sum(counts) <= most:
            continue
        if neutral_states(chosen, kinds, np.array(counts)[kinds]) is None:
            continue
        if known.check_compatible([counts[k] * n_conventional for k in kinds])[0]:
            expected.add(counts)
    assert _reached(env) == expected


def _reached(env: ThreeStages) -> set[tuple[int, ...]]:
    level = env.step(env.initial_state(1), torch.tensor([0]))
    found = set()
    while len(level.group):
        mask = env.forward_mask(level)
        row, action = mask[:, : env.stop].nonzero(as_tuple=True)
        found |= {tuple(c) for c in level.count[mask[:, env.stop]].tolist()}
        level = env.step(type(level)(*[getattr(level, name)[row] for name in _FIELDS]), action)
    return found


_FIELDS = ("group", "count", "stopped", "lattice")


def test_the_core_trains_it_towards_low_energies(generator):
    env = stages(("Na", "Cl", "Mg", "O"), (221, 225), Limits(4, fewest_kinds=2), 8)

    def log_weight(state):
        return torch.from_numpy(-2.0 * np.minimum(mean_field_energy_ev_per_atom(env, state), 0.5))

    env.log_weight = log_weight
    config = GFlowNetConfig(steps=40, batch=64, network=NetworkConfig(width=32))
    state = algorithm.init(config, env, generator)
    before = algorithm.sample(env, state.policy, 200, generator).log_reward.mean()
    for _ in range(config.steps):
        state, _ = algorithm.step(config, env, state)
    after = algorithm.sample(env, state.policy, 200, generator).log_reward.mean()
    assert after > before + 1.0


def test_the_energy_has_its_minimum_at_the_volume_of_the_ions():
    env = stages(("Na", "Cl"), (225,), Limits(2), 64)
    state = env.initial_state(64)
    for action in (0, env.n_groups, env.n_groups + 2, env.stop):
        state = env.step(state, torch.full((64,), action))
    state = env.step(state, env.stop + 1 + torch.arange(64))
    assert bool(env.is_terminal(state).all())
    energy = mean_field_energy_ev_per_atom(env, state)
    assert env.volume_factor(state)[energy.argmin()] == pytest.approx(1.0, abs=0.05)
    assert -2.6 < energy.min() < -1.4  # rock salt by experiment: -2.13


def test_what_leaves_nothing_is_said():
    with pytest.raises(InputError, match="no neutral composition of Na Mg"):
        stages(("Na", "Mg"), (1,), Limits(4))
