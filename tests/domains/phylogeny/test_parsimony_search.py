"""Parsimony search: scores of all rearrangements against Fitch from scratch, minima of small sets, plateaus."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.phylogeny import _parsimony_search_kernels as kernels
from domains.phylogeny.alignment import read_alignment
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.parsimony_search import (
    Config,
    distinct_best,
    search,
    site_planes,
    with_changes,
)
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.topologies import all_topologies, random_topologies
from domains.phylogeny.tree_moves import hang, regraft_neighbours, unhang
from domains.phylogeny.trees import Trees, topology_keys
from tests.domains.phylogeny import small_sets
from workbench.errors import InputError

CONVENTIONS = ("missing", "fifth-state", "fifth-state-any")


def trees_of(children: torch.Tensor) -> Trees:
    n_edges = 2 * children.shape[1]
    return Trees(children, torch.zeros(len(children), n_edges, dtype=torch.float64))


@pytest.mark.parametrize("gaps", CONVENTIONS)
def test_every_rearrangement_has_its_fitch_score(gaps, generator):
    patterns = small_sets.random_patterns(8, 90, generator)
    planes, parsimony = site_planes(patterns, gaps), Parsimony(patterns, gaps)
    tree = trees_of(random_topologies(8, 1, generator))
    hung = hang(tree)
    parent, child = hung.parent[0].numpy(), hung.child[0].numpy()
    scores = np.empty((14, 14), np.int64)
    total, n_scored = kernels.neighbourhood(parent, child, planes.tips, planes.no_extra(), scores)
    assert total + planes.constant == int(parsimony.score(tree.children)[0])
    moves = np.argwhere(scores < kernels.NONE)
    assert n_scored == len(moves) + 1
    reached = []
    for v, target in moves:
        near = parent.copy(), child.copy()
        kernels.apply_move(*near, v, target, np.zeros(14))
        reached.append(near[0])
    parents = torch.from_numpy(np.stack(reached))
    trees = unhang(parents, torch.zeros(parents.shape, dtype=torch.float64))
    expected = parsimony.score(trees.children)
    found = torch.from_numpy(scores[scores < kernels.NONE]) + planes.constant
    assert torch.equal(found, expected)
    neighbours = set(topology_keys(regraft_neighbours(tree)).tolist())
    assert set(topology_keys(trees).tolist()) - {int(topology_keys(tree)[0])} == neighbours


@pytest.mark.parametrize("gaps", CONVENTIONS)
def test_the_search_finds_all_minima_of_seven_taxa(gaps, generator):
    patterns = small_sets.random_patterns(7, 12, generator)
    planes = site_planes(patterns, gaps)
    listed = trees_of(all_topologies(7))
    steps = Parsimony(patterns, gaps).score(listed.children)
    known_steps = distinct_best(planes, listed, slack=1)[1]
    found = search(Config(max_evaluations=200_000, slack=1), planes, generator)
    assert found.best == int(steps.min()) == int(known_steps[0])
    assert torch.equal(found.steps.sort().values, known_steps.sort().values)
    assert found.n_evaluations < 250_000
    assert found.best_after[-1, 1] == found.best


def test_edges_that_never_change_are_collapsed(generator):
    """One informative column 0011 1 (fifth taxon free): the trees with that split cost one step, and the
    place of the fifth taxon does not matter."""
    states = torch.tensor([[1], [1], [2], [2], [15]], dtype=torch.uint8)
    names = tuple("abcde")
    patterns = Patterns(names, states, torch.ones(1, dtype=torch.float64), 1)
    planes = site_planes(patterns, "missing")
    listed = trees_of(all_topologies(5))
    trees, steps = with_changes(planes, listed)
    assert int(steps.min()) == 1 and int(steps.max()) == 2
    best, _ = distinct_best(planes, listed)
    assert len(best) < int((steps == 1).sum())
    assert bool((trees.lengths >= 0).all())


def test_the_best_known_trees_of_ds1(reference_data):
    """PAUP*'s 4026 (gap as fifth state), in less than 100,000 trees scored."""
    patterns = Patterns.from_alignment(read_alignment(reference_data("phylogeny/DS1.fasta")))
    planes = site_planes(patterns, "fifth-state")
    generator = torch.Generator().manual_seed(0)
    found = search(Config(max_evaluations=300_000, slack=4), planes, generator)
    assert found.best == 4026
    assert int(found.best_after[-1, 0]) < 100_000
    scores = Parsimony(patterns, "fifth-state").score(found.trees.children)
    assert torch.equal(scores, found.steps)
    assert len(topology_keys(found.trees).unique()) == len(found.trees)


def test_too_small_a_budget_is_said(generator):
    planes = site_planes(small_sets.random_patterns(6, 5, generator), "missing")
    with pytest.raises(InputError, match="36 evaluations or more"):
        search(Config(max_evaluations=10), planes, generator)


def test_climbs_from_given_trees_alone(generator):
    patterns = small_sets.random_patterns(7, 40, generator)
    planes = site_planes(patterns, "missing")
    config = Config(n_ratchet=0, slack=0, plateau_share=0.1, random_starts=False)
    start = trees_of(random_topologies(7, 2, generator))
    found = search(config, planes, generator, start)
    assert found.n_evaluations < 20_000 < config.max_evaluations
    assert found.best <= int(Parsimony(patterns, "missing").score(start.children).min())
    with pytest.raises(InputError, match="no tree to start from"):
        search(config, planes, generator)
