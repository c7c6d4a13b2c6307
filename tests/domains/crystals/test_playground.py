"""The exact law of the small space, and what a policy learns of it."""

from __future__ import annotations

import pytest
import torch

from domains.crystals.fingerprint import fingerprints
from domains.crystals.ionic import IonicEnergy
from domains.crystals.playground import Playground
from domains.crystals.policy import CrystalPolicy
from domains.crystals.reward import RewardConfig
from workbench.gflownet import algorithm, states
from workbench.gflownet.evaluation import total_variation
from workbench.gflownet.options import GFlowNetConfig


@pytest.fixture(scope="module")
def space() -> Playground:
    return Playground(RewardConfig(beta=2.0), IonicEnergy())


def test_descriptions_are_the_same_crystal_iff_their_atoms_are(space):
    values = torch.full((len(space.crystal), space.environment.parameters.most), 0.5)
    keys = fingerprints(space.environment.parameters.crystals(space.objects, values))
    equivalents = space.reward.equivalents
    _, claims = equivalents.log_multiplicity_and_claim(space.objects)
    rows = claims.nonzero().squeeze(1).tolist()
    for i in rows:
        for j in rows:
            assert (keys[i] == keys[j]) == (space.crystal[i] == space.crystal[j])


def test_the_law_counts_every_crystal_once(space):
    """p(crystal) is proportional to the integral of R of any one of its descriptions."""
    assert float(space.law.sum()) == pytest.approx(1.0)
    n_points = 2000
    values = torch.zeros(n_points, space.environment.parameters.most, dtype=torch.float64)
    values[:, 0] = (torch.arange(n_points) + 0.5) / n_points
    _, claims = space.reward.equivalents.log_multiplicity_and_claim(space.objects)
    mass = {}
    for row in claims.nonzero().squeeze(1).tolist():
        orbits = states.select(space.objects, torch.full((n_points,), row))
        crystals = space.environment.parameters.crystals(orbits, values)
        score = space.reward(crystals, orbits)
        log_m, _ = space.reward.equivalents.log_multiplicity_and_claim(orbits)
        able = torch.from_numpy(crystals.closest_ratio() >= 0.7)
        whole = (score + torch.where(able, log_m, 0.0)).exp().mean()
        if not bool(able.all()):
            continue  # what is too close is not divided by m
        mass.setdefault(int(space.crystal[row]), float(whole))
    total = mass[next(iter(mass))] / float(space.law[next(iter(mass))])
    for crystal, value in mass.items():
        assert value / total == pytest.approx(float(space.law[crystal]), rel=2e-3)


def test_an_untrained_policy_has_a_law_that_sums_to_one(space):
    torch.manual_seed(0)
    law = space.learned_law(CrystalPolicy(space.environment, 16, 1))
    assert float(law.sum()) == pytest.approx(1.0, abs=1e-5)
    assert total_variation(law, space.law) > 0.3


@pytest.mark.slow
def test_a_trained_policy_has_the_exact_law(space):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    policy = CrystalPolicy(space.environment, 64, 2)
    config = GFlowNetConfig(steps=400, batch=128, learning_rate=1e-2, ema_decay=0.98)
    state = algorithm.init(config, space.environment, generator, policy)
    for _ in range(config.steps):
        state, _ = algorithm.step(config, space.environment, state)
    average = state.average.module
    assert total_variation(space.learned_law(average), space.law) <= 0.03
    assert abs(float(average.log_z) - space.log_partition) <= 0.05
