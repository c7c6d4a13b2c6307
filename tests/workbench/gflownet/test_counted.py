"""The counter counts, and hides nothing of what it wraps."""

from __future__ import annotations

import copy

from domains.synthetic import BitSequences, Hypergrid
from workbench.gflownet.checks import check_environment
from workbench.gflownet.counted import CountedEnvironment
from workbench.problem import EnumerableEnvironment, PartialReward
from workbench.training import tree


def test_it_counts_objects_and_passes_the_rest_on(generator):
    grid = CountedEnvironment(Hypergrid(2, 4))
    assert isinstance(grid, EnumerableEnvironment) and isinstance(grid, PartialReward)
    assert not isinstance(CountedEnvironment(BitSequences()), PartialReward)
    check_environment(grid)
    before = grid.n_rewards
    grid.log_reward(grid.uniform_objects(7, generator))
    assert grid.n_rewards == before + 7
    grid.log_partial_reward(grid.initial_state(2))
    assert grid.n_rewards == before + 9


def test_its_count_is_kept_by_copies_and_checkpoints(generator):
    grid = CountedEnvironment(Hypergrid(2, 4))
    grid.log_reward(grid.uniform_objects(5, generator))
    assert copy.deepcopy(grid) is grid
    packed = tree.pack(grid)
    fresh = CountedEnvironment(Hypergrid(2, 4))
    assert tree.unpack(*packed, fresh) is fresh
    assert fresh.n_rewards == 5
