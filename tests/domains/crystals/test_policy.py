"""The hybrid policy: normalised, and one source of log-probabilities."""

from __future__ import annotations

import math

import pytest
import torch

from domains.crystals.policy import CrystalPolicy
from tests.domains.crystals.crystal_cases import environment, random_walks
from workbench.errors import InputError
from workbench.gflownet import rollout, states
from workbench.gflownet.options import Exploration
from workbench.gflownet.trajectories import Needs


@pytest.fixture
def policy():
    torch.manual_seed(0)
    policy = CrystalPolicy(environment(groups=(1, 99, 166, 225), n_bins=8), 32, 1)
    for parameter in policy.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    return policy


def test_laws_are_normalised_and_keep_to_the_masks(policy):
    walks = random_walks(policy.environment, 32)
    setting = walks.visited.orbits.stopped
    discrete = states.select(walks.visited.orbits, (~setting).nonzero().squeeze(1))
    table = policy.orbit_log_probs(discrete)
    torch.testing.assert_close(table.exp().sum(1), torch.ones(len(table)))
    assert torch.equal(table > -torch.inf, policy.environment.orbits.forward_mask(discrete))
    numbers = states.select(walks.visited, setting.nonzero().squeeze(1))
    bins = policy.bin_log_probs(numbers)
    torch.testing.assert_close(bins.exp().sum(1), torch.ones(len(bins)))


def test_scores_are_the_log_probabilities_of_the_draws(policy, generator):
    env = policy.environment
    drawn = rollout.forward(env, policy.behaviour(32, generator), env.initial_state(32), generator)
    scores = policy.score(drawn, Needs())[0]
    recorded = drawn.padded(drawn.log_behaviour)
    torch.testing.assert_close(scores.log_pf, recorded, atol=1e-4, rtol=1e-4)
    back = rollout.backward(env, policy.backward_behaviour(32, generator), drawn.final, generator)
    recorded = back.padded(back.log_behaviour.float())
    torch.testing.assert_close(policy.score(back, Needs())[0].log_pb, recorded)


def test_exploration_draws_flatter_but_scores_stay(policy, generator):
    env = policy.environment
    behaviour = policy.behaviour(32, generator, Exploration(epsilon=1.0))
    drawn = rollout.forward(env, behaviour, env.initial_state(32), generator)
    first = drawn.step == 0
    expected = torch.full((32,), -math.log(env.orbits.n_groups))
    torch.testing.assert_close(drawn.log_behaviour[first], expected)
    assert not torch.allclose(policy.score(drawn, Needs())[0].log_pf[:, 0], expected)


def test_gradients_reach_every_part(policy, generator):
    env = policy.environment
    drawn = rollout.forward(env, policy.behaviour(16, generator), env.initial_state(16), generator)
    policy.score(drawn, Needs())[0].log_ratio().sum().backward()
    without = [name for name, p in policy.named_parameters() if p.grad is None]
    assert without == ["log_z"]


def test_objectives_with_flows_are_refused(policy, generator):
    env = policy.environment
    drawn = rollout.forward(env, policy.behaviour(4, generator), env.initial_state(4), generator)
    with pytest.raises(InputError, match="tb or log-variance"):
        policy.score(drawn, Needs(flow=True))
