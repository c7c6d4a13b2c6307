"""The checks pass on sound environments and name what is wrong with broken ones."""

from __future__ import annotations

import pytest
import torch

from domains.synthetic import BitSequences, Hypergrid, TreeBuilding
from domains.synthetic.bit_sequences import BitState
from domains.synthetic.hypergrid import GridState
from workbench.gflownet.checks import (
    BrokenEnvironment,
    check_backward_policy,
    check_environment,
    check_on_rollouts,
)
from workbench.gflownet.exact import state_graph, uniform_policy


class WrongUndo(Hypergrid):
    def undoing(self, state, action):
        return (action + 1) % self.n_actions


class NoWayInto(Hypergrid):
    """A parent that is not real: the fault that gives zero loss and a wrong law."""

    def backward_mask(self, state):
        mask = super().backward_mask(state)
        mask[:, 0] |= ~state.stopped & ~self.is_initial(state)
        return mask


class MissingParent(Hypergrid):
    def backward_mask(self, state):
        mask = super().backward_mask(state)
        mask[:, 0] &= ~mask[:, 1]
        return mask


class InPlace(BitSequences):
    def step(self, state, action):
        state.words.copy_(super().step(state, action).words)
        return BitState(state.words)


class MovesOnAfterTheEnd(Hypergrid):
    def step(self, state, action):
        stops = action == self.dimensions
        moved = state.coordinates + self._increments[action]
        return GridState(moved, state.stopped | stops)


class MergedActions(Hypergrid):
    """A second stop action with the same way back: the parent is counted once, the move twice."""

    def __init__(self):
        super().__init__(2, 3)
        self.n_actions = 4

    def forward_mask(self, state):
        mask = super().forward_mask(state)
        return torch.cat([mask, mask[:, -1:]], 1)

    def step(self, state, action):
        return super().step(state, action.clamp(max=2))

    def undoing(self, state, action):
        return action.clamp(max=2)


class WrongPartialReward(Hypergrid):
    def log_partial_reward(self, state):
        return super().log_partial_reward(state)

    def log_reward(self, state):
        return 2 * super().log_reward(state)


class Renumbered(TreeBuilding):
    def index(self, state):
        return super().index(state).flip(0)


BROKEN = [
    (WrongUndo(2, 3), "one backward action for each way in|among the parents"),
    (NoWayInto(2, 3), "reached by an allowed action|comes back when a way back"),
    (MissingParent(2, 3), "among the parents"),
    (InPlace(8, 4, 2), "is not changed by a step"),
    (MovesOnAfterTheEnd(2, 3), "stays where it has ended"),
    (MergedActions(), "left by the action"),
    (WrongPartialReward(2, 3), "partial"),
]


@pytest.mark.parametrize(("environment", "words"), BROKEN, ids=lambda x: type(x).__name__)
def test_a_broken_environment_is_caught(environment, words, generator):
    with pytest.raises(BrokenEnvironment, match=words):
        check_environment(environment)
    with pytest.raises(BrokenEnvironment, match=words):
        check_on_rollouts(environment, 64, generator)


def test_a_wrong_numbering_is_caught():
    with pytest.raises(BrokenEnvironment, match="number of its row"):
        check_environment(Renumbered(3))


def test_a_p_b_over_more_than_the_parents_is_caught():
    environment = Hypergrid(2, 4)
    graph = state_graph(environment)
    log_pb = uniform_policy(graph.backward_mask)
    check_backward_policy(environment, graph, log_pb)
    with pytest.raises(BrokenEnvironment, match="sums to one over its parents"):
        check_backward_policy(environment, graph, uniform_policy(torch.ones(32, 3).bool()))
