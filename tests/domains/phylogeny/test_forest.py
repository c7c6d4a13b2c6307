"""The forest: exact parents, one object for each unrooted tree, rewards."""

from __future__ import annotations

import math

import pytest
import torch

from domains.phylogeny.forest import (
    Forest,
    ForestState,
    ListedForest,
    ParsimonyForest,
    PosteriorForest,
)
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.models import substitution_model
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.trees import topology_keys, unrooted_lengths
from tests.domains.phylogeny.small_sets import random_patterns
from workbench.errors import InputError
from workbench.gflownet import exact
from workbench.gflownet.checks import check_backward_policy, check_environment, check_on_rollouts


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n_taxa", [4, 5, 6])
def test_moves_and_their_inverses_on_all_states(n_taxa):
    forest = ListedForest(Parsimony(random_patterns(n_taxa, 20, generator())))
    check_environment(forest)
    terminal = forest.is_terminal(forest.all_states())
    assert int(terminal.sum()) == math.prod(range(1, 2 * n_taxa - 4, 2))


def test_terminal_states_are_all_unrooted_trees_once():
    forest = ListedForest(Parsimony(random_patterns(6, 20, generator())))
    states = forest.all_states()
    ends = ForestState(*(t[forest.is_terminal(states)] for t in (states.children, states.roots)))
    assert len(topology_keys(forest.trees_of(ends)).unique()) == 105


def test_uniform_backward_policy_sums_to_one_over_real_parents():
    forest = ListedForest(Parsimony(random_patterns(5, 20, generator())))
    graph = exact.state_graph(forest)
    uniform = exact.uniform_policy(forest.backward_mask(forest.all_states()))
    check_backward_policy(forest, graph, uniform)


def test_moves_of_a_large_forest_on_random_walks():
    forest = ParsimonyForest(Parsimony(random_patterns(12, 30, generator())))
    check_on_rollouts(forest, 16, generator(1))


def test_moves_with_lengths_and_their_inverses():
    forest, states = Forest(7, with_lengths=True), []
    state, g = forest.initial_state(8), generator(2)
    while not bool(forest.is_terminal(state).all()):
        states.append(state)
        pair = torch.multinomial(forest.forward_mask(state).double(), 1, generator=g).double()
        lengths = torch.rand(8, 2, generator=g, dtype=torch.float64)
        lengths[:, 0] *= (pair[:, 0] > 0) | (len(states) < forest.max_steps)
        action = torch.cat([pair, lengths], 1)
        after = forest.step(state, action)
        undo = forest.undoing(state, action)
        back = forest.backward_step(after, undo)
        for name in ("children", "roots", "lengths"):
            assert torch.equal(getattr(back, name), getattr(state, name))
        assert torch.equal(forest.redoing(after, undo), action)
        state = after
    assert len(states) == forest.max_steps
    assert bool((unrooted_lengths(forest.trees_of(state)) > 0).all())


def test_objects_are_the_trees_they_were_made_from():
    patterns = random_patterns(8, 30, generator(3))
    trees = TreePrior().draw(8, 50, generator(4))
    likelihood = TreeLikelihood(patterns, substitution_model())
    forest = PosteriorForest(likelihood, TreePrior())
    objects = forest.objects(trees)
    assert bool(forest.is_terminal(objects).all())
    back = forest.trees_of(objects)
    assert torch.equal(topology_keys(back), topology_keys(trees))
    expected = likelihood.log_likelihood(trees) + TreePrior().log_density(trees)
    torch.testing.assert_close(forest.log_reward(objects), expected, rtol=0, atol=1e-9)


def test_parsimony_reward_is_the_score():
    parsimony = Parsimony(random_patterns(6, 40, generator(5)))
    forest = ListedForest(parsimony, temperature=2.0)
    objects = forest.objects(TreePrior().draw(6, 20, generator(6)))
    steps = parsimony.score(forest.trees_of(objects).children)
    expected = (parsimony.constant - steps).double() / 2.0
    assert torch.equal(forest.log_reward(objects), expected)


def test_too_few_or_too_many_taxa():
    with pytest.raises(InputError, match="at least 4"):
        Forest(3, with_lengths=False)
    with pytest.raises(InputError, match="too many"):
        ListedForest(Parsimony(random_patterns(8, 20, generator())))
