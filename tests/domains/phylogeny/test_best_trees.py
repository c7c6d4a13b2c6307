"""The memory of best trees: what is kept, what counts as one tree, and what a checkpoint brings back."""

from __future__ import annotations

import pytest
import torch

from domains.phylogeny.best_trees import BestTrees
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.parsimony_search import distinct_best, site_planes
from domains.phylogeny.topologies import all_topologies
from domains.phylogeny.trees import Trees, topology_keys
from tests.domains.phylogeny import small_sets


def every_tree(n_taxa: int) -> Trees:
    children = all_topologies(n_taxa)
    return Trees(children, torch.zeros(len(children), 2 * n_taxa - 2, dtype=torch.float64))


@pytest.mark.parametrize("gaps", ["missing", "fifth-state"])
def test_in_pieces_it_keeps_what_all_at_once_has(gaps, generator):
    """10 columns for 6 taxa: many trees are equal once edges without changes are collapsed."""
    patterns = small_sets.random_patterns(6, 10, generator)
    trees = every_tree(6)
    order = torch.randperm(len(trees), generator=generator)
    memory = BestTrees(patterns, gaps, slack=2, n_kept=1000)
    for rows in order.split(9):
        steps = memory.add(trees[rows])
        assert torch.equal(steps, Parsimony(patterns, gaps).score(trees.children[rows]))
    expected, steps = distinct_best(site_planes(patterns, gaps), trees, slack=2)
    assert len(memory) == len(expected) < len(trees)
    assert torch.equal(memory.steps, steps)
    keys = topology_keys(memory.trees, longer_than=0.0).sort().values
    assert torch.equal(keys, topology_keys(expected, longer_than=0.0).sort().values)
    assert memory.best == int(steps[0])
    assert memory.within(memory.best) == int((steps == steps[0]).sum())


def test_only_the_best_are_kept_and_nothing_twice(generator):
    patterns = small_sets.random_patterns(6, 40, generator)
    memory = BestTrees(patterns, "missing", slack=5, n_kept=3)
    assert memory.best is None and len(memory) == 0
    memory.add(every_tree(6))
    assert len(memory) == 3
    before = memory.steps.clone()
    memory.add(every_tree(6))
    assert torch.equal(memory.steps, before)


def test_a_checkpoint_brings_it_back(generator):
    patterns = small_sets.random_patterns(6, 20, generator)
    first, second = (BestTrees(patterns, "missing", 3, 50) for _ in range(2))
    trees = every_tree(6)
    first.add(trees[slice(0, 50)])
    second.load_state_dict(first.state_dict())
    for memory in (first, second):
        memory.add(trees[slice(50, None)])
    assert torch.equal(first.steps, second.steps)
    assert torch.equal(first.trees.children, second.trees.children)
