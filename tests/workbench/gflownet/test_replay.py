"""Replay keeps what it promises, and what it gives back are trajectories like any other."""

from __future__ import annotations

import pytest
import torch

from tests.workbench.gflownet.spaces import grid, solved
from workbench.gflownet import replay, rollout, scoring, states
from workbench.gflownet.options import Exploration, ReplayConfig


def drawn(policy, n, generator):
    start = policy.environment.initial_state(n)
    behaviour = policy.behaviour(n, generator, Exploration(epsilon=1.0))
    return rollout.forward(policy.environment, behaviour, start, generator)


def filled(config, policy, generator, rounds=4, n=30):
    found = [drawn(policy, n, generator) for _ in range(rounds)]
    buffer = replay.empty(config, policy.environment, found[0])
    for part in found:
        buffer = replay.add(config, buffer, part)
    return buffer, found


@pytest.mark.parametrize("kind", ["uniform", "prioritised", "diverse"])
@pytest.mark.parametrize("paths", ["stored", "backward"])
def test_what_is_drawn_is_a_trajectory_to_a_kept_object(kind, paths, generator):
    policy, _ = solved(grid())
    environment = policy.environment
    config = ReplayConfig(kind=kind, capacity=50, paths=paths)
    buffer, _ = filled(config, policy, generator)
    found = replay.draw(config, buffer, environment, policy, 40, generator)
    after = environment.step(found.visited, found.actions)
    assert torch.equal(states.row_keys(after), states.row_keys(scoring.after(found)))
    torch.testing.assert_close(found.log_reward, environment.log_reward(found.final))
    kept = set(states.row_keys(states.select(buffer.final, torch.arange(buffer.filled))).tolist())
    assert set(states.row_keys(found.final).tolist()) <= kept


def test_the_oldest_leave_a_uniform_buffer(generator):
    policy, _ = solved(grid())
    config = ReplayConfig(kind="uniform", capacity=50)
    buffer, found = filled(config, policy, generator)
    rewards = torch.cat([part.log_reward for part in found])[-50:]
    assert buffer.filled == 50
    torch.testing.assert_close(buffer.log_reward.sort().values, rewards.sort().values)


def test_a_diverse_buffer_keeps_the_best_objects_once(generator):
    policy, _ = solved(grid())
    config = ReplayConfig(kind="diverse", capacity=20)
    buffer, found = filled(config, policy, generator)
    keys = states.row_keys(buffer.final)[: buffer.filled]
    assert len(keys.unique()) == buffer.filled
    every = dict(
        zip(
            torch.cat([states.row_keys(part.final) for part in found]).tolist(),
            torch.cat([part.log_reward for part in found]).tolist(),
            strict=True,
        )
    )
    best = sorted(every.values(), reverse=True)[:20]
    assert sorted(buffer.log_reward[: buffer.filled].tolist(), reverse=True) == best


def test_half_of_a_prioritised_draw_is_from_the_best_tenth(generator):
    policy, _ = solved(grid())
    config = ReplayConfig(kind="prioritised", capacity=100)
    buffer, _ = filled(config, policy, generator)
    found = replay.draw(config, buffer, policy.environment, policy, 60, generator)
    tenth = buffer.log_reward.sort(descending=True).values[9]
    assert int((found.log_reward >= tenth).sum()) >= 30
    assert (found.log_reward < buffer.log_reward.max()).any()
