"""Rearrangements: numbers of neighbours, lengths, and the way back."""

from __future__ import annotations

import pytest
import torch

from domains.phylogeny.topologies import all_topologies, random_topologies
from domains.phylogeny.tree_moves import (
    hang,
    interchange_neighbours,
    regraft_neighbours,
    unhang,
)
from domains.phylogeny.trees import (
    Trees,
    canonical,
    robinson_foulds,
    topology_keys,
    unrooted_lengths,
)


def random_trees(n_taxa: int, n_trees: int, generator: torch.Generator) -> Trees:
    lengths = torch.rand(n_trees, 2 * n_taxa - 2, generator=generator, dtype=torch.float64)
    return Trees(random_topologies(n_taxa, n_trees, generator), lengths)


def test_hanging_and_back_is_the_same_unrooted_tree(generator):
    trees = canonical(random_trees(9, 20, generator))
    hung = hang(trees)
    back = canonical(unhang(hung.parent, hung.lengths))
    assert torch.equal(back.children, trees.children)
    torch.testing.assert_close(back.lengths, trees.lengths)


@pytest.mark.parametrize("n_taxa", [4, 5, 7, 9])
def test_every_neighbour_once(n_taxa, generator):
    tree = random_trees(n_taxa, 1, generator)
    near, far = interchange_neighbours(tree), regraft_neighbours(tree)
    assert len(near) == len(topology_keys(near).unique()) == 2 * (n_taxa - 3)
    assert len(far) == 2 * (n_taxa - 3) * (2 * n_taxa - 7)
    assert bool((robinson_foulds(tree, near) == 2).all())
    assert set(topology_keys(near).tolist()) <= set(topology_keys(far).tolist())


def test_rearrangements_keep_the_sum_of_lengths(generator):
    tree = random_trees(8, 1, generator)
    total = unrooted_lengths(tree).sum()
    for trees in (interchange_neighbours(tree), regraft_neighbours(tree)):
        sums = unrooted_lengths(trees).sum(1)
        torch.testing.assert_close(sums, total.expand_as(sums))


def test_five_taxa_reach_each_other():
    """All 15 trees of 5 taxa: 4 are one interchange away, 12 one regraft (Allen and Steel)."""
    lengths = torch.ones(1, 8, dtype=torch.float64)
    for children in all_topologies(5):
        tree = Trees(children[None], lengths)
        assert len(interchange_neighbours(tree)) == 4
        assert len(regraft_neighbours(tree)) == 12
