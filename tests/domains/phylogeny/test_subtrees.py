"""Subtrees of a forest: partials, distances, and laws of lengths against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.phylogeny import _subtree_feature_kernels as kernels
from domains.phylogeny.forest import Forest, ForestState
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.models import substitution_model
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.subtrees import Guide, Subtrees, fitch_guide, likelihood_guide, members
from domains.phylogeny.torch_likelihood import merge_partials, tip_partials
from domains.phylogeny.trees import Trees
from tests.domains.phylogeny.small_sets import related_patterns

F81 = substitution_model(frequencies=[0.1, 0.2, 0.3, 0.4])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grown(guide: Guide, n_merges: int) -> tuple[Subtrees, ForestState, Forest]:
    """Random merges of one forest."""
    forest, g = Forest(guide.n_taxa, with_lengths=True), generator(1)
    state = forest.initial_state(1)
    subtrees, row = Subtrees(guide, state), torch.zeros(1, dtype=torch.int64)
    for _ in range(n_merges):
        pair = torch.multinomial(forest.forward_mask(state).double(), 1, generator=g)
        i, j = (name.contiguous() for name in forest.pairs[pair[:, 0]].unbind(1))
        lengths = 0.1 * torch.rand(1, 2, generator=g, dtype=torch.float64) + 0.01
        state = forest.step(state, torch.cat([pair.double(), lengths], 1))
        subtrees.join(row, i, j, lengths)
    return subtrees, state, forest


def test_partials_are_those_of_the_likelihood():
    patterns = related_patterns(4, 30, generator())
    guide = likelihood_guide(patterns, F81, 10.0)
    subtrees = Subtrees(guide, Forest(4, with_lengths=True).initial_state(1))
    lengths = torch.tensor([[0.03, 0.2]], dtype=torch.float64)
    row, one, two = torch.tensor([0]), torch.tensor([1]), torch.tensor([2])
    subtrees.join(row, one, two, lengths)
    tips = tip_partials(patterns)
    exact, _ = merge_partials(F81, tips[1:2], tips[2:3], lengths[:, 0], lengths[:, 1])
    exact = exact / torch.einsum("bsp,s->bp", exact, F81.frequencies)[:, None]
    # the guide sorts the distinct patterns and fills them up
    first = np.unique(patterns.states, axis=1, return_index=True)[1]
    distinct = exact[0][:, torch.from_numpy(first)]
    own = torch.from_numpy(subtrees._parts[0, 1][:, : len(first)]).double()
    torch.testing.assert_close(own, distinct, rtol=1e-5, atol=1e-5)


def test_state_kept_up_to_date_is_that_made_at_once():
    guide = likelihood_guide(related_patterns(8, 60, generator(2)), F81, 10.0)
    subtrees, state, _ = grown(guide, 5)
    anew = Subtrees(guide, state)
    there = state.roots[0] >= 0
    np.testing.assert_allclose(subtrees._parts[0, there], anew._parts[0, there], rtol=1e-5)
    both = np.ix_([0], there, there)
    np.testing.assert_allclose(subtrees._distances[both], anew._distances[both], rtol=1e-5)
    np.testing.assert_allclose(subtrees.keys[0, there], anew.keys[0, there], atol=1e-7)
    assert torch.equal(members(state), anew.members)
    assert torch.equal(subtrees.members[0, there], anew.members[0, there])


def test_distance_is_the_most_likely_one():
    guide = likelihood_guide(related_patterns(6, 200, generator(3)), F81, 10.0)
    c = np.empty(guide.tips.shape[2], np.float32)
    kernels.overlap(guide.tips[0], guide.tips[1], guide.frequencies, c)
    t = np.linspace(1e-4, 2.0, 20_000)
    log_l = np.log1p(np.exp(-guide.beta * t)[:, None] * c.astype(np.float64)) @ guide.weights
    assert float(guide.distances[0, 1]) == pytest.approx(t[log_l.argmax()], abs=2e-3)


def test_last_edge_has_the_slope_and_curvature_of_the_posterior():
    """Gamma law against finite differences of log L + log prior, at the mode of both."""
    patterns = related_patterns(4, 150, generator(4))
    jc = substitution_model()
    guide = likelihood_guide(patterns, jc, 10.0)
    forest = Forest(4, with_lengths=True)
    state = forest.initial_state(1)
    subtrees, row = Subtrees(guide, state), torch.tensor([0])
    for pair, names in ((3, (1, 2)), (4, (1, 3))):
        lengths = torch.tensor([[0.05, 0.08]], dtype=torch.float64)
        state = forest.step(state, torch.cat([torch.tensor([[pair]]), lengths], 1).double())
        subtrees.join(row, *(torch.tensor([name]) for name in names), lengths)
    assert state.roots.tolist() == [[0, 6, -1, -1]]
    law = subtrees.last_law(row)[0]
    shape, mean = float(law[1].exp()), float(law[0].exp())
    rate = shape / mean
    likelihood = TreeLikelihood(patterns, jc)

    def height(t: float) -> float:
        action = torch.tensor([[0.0, 0.0, t]], dtype=torch.float64)
        trees: Trees = forest.trees_of(forest.step(state, action))
        return float(likelihood.log_likelihood(trees)) - 10.0 * t

    mode = (shape - 1) / rate
    h = 1e-3 * mode
    up, here, down = height(mode + h), height(mode), height(mode - h)
    assert (up - down) / (2 * h) == pytest.approx(0.0, abs=0.02 * rate)
    assert (up - 2 * here + down) / h**2 == pytest.approx(-(shape - 1) / mode**2, rel=0.02)


def test_star_is_centred_where_the_other_end_is_known():
    """Three roots are the whole tree: the law of the first length has the mode of the exact profile."""
    patterns = related_patterns(4, 300, generator(6))
    jc = substitution_model()
    guide = likelihood_guide(patterns, jc, 10.0)
    subtrees, _, _ = grown(guide, 1)
    names = [name for name in range(1, 4) if subtrees.roots[0, name] >= 0]
    row = torch.tensor([0])
    star = subtrees.star(row, torch.tensor(names[:1]), torch.tensor(names[1:]))
    assert int(star.third) == 0
    e = torch.from_numpy(star.ends)[0]
    parts = subtrees._parts[0, [*names, 0]].astype(np.float64)

    def log_l(e: np.ndarray) -> float:
        g = (1 - e)[:, None, None] * parts + e[:, None, None]
        value = np.log(guide.frequencies @ g.prod(0)) @ guide.weights
        return float(value + 10.0 / guide.beta * np.log1p(-e).sum())

    best, at = log_l(e.numpy()), e.numpy()
    for k in range(3):
        for factor in (0.8, 1.25):
            moved = at.copy()
            moved[k] *= factor
            assert log_l(moved) < best + 0.3  # two rounds of Newton steps


def test_fitch_subtrees_carry_the_sets():
    patterns = related_patterns(6, 60, generator(5))
    parsimony, guide = Parsimony(patterns), fitch_guide(patterns, "missing")
    tips, sets = torch.from_numpy(guide.tips > 0), parsimony.features(parsimony.tip_sets())
    joint, _ = parsimony.merge(parsimony.tip_sets()[1:2], parsimony.tip_sets()[3:4])
    subtrees = Subtrees(guide, Forest(6, with_lengths=False).initial_state(1))
    one, three = torch.tensor([1]), torch.tensor([3])
    subtrees.join(torch.tensor([0]), one, three, torch.zeros(1, 2, dtype=torch.float64))
    own = torch.from_numpy(subtrees._parts[0, 1] > 0)
    columns = {tuple(c.tolist()) for c in torch.cat([tips[1], tips[3], own]).T.float()}
    known = torch.cat([sets[1], sets[3], parsimony.features(joint)[0]])
    assert {tuple(column.tolist()) for column in known.T} <= columns
