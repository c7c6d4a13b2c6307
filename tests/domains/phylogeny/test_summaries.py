"""Summaries of samples of trees: frequencies by hand and by dendropy, consensus, credible sets, distances."""

from __future__ import annotations

import dendropy
import pytest
import torch

from domains.phylogeny.consensus import (
    majority_consensus,
    maximum_clade_credibility,
    supported_tree,
)
from domains.phylogeny.newick import format_newick
from domains.phylogeny.summaries import (
    asdsf,
    best_distinct,
    frequencies_in,
    frequencies_side_by_side,
    mean_tree,
    split_table,
    topology_distance,
    topology_table,
    with_splits_of,
)
from domains.phylogeny.topologies import random_topologies
from domains.phylogeny.tree_moves import interchange_neighbours
from domains.phylogeny.trees import (
    Trees,
    concatenated,
    robinson_foulds,
    split_keys,
    topology_keys,
    unrooted_lengths,
)
from workbench.errors import InputError

NAMES = tuple(f"taxon_{i}" for i in range(9))


@pytest.fixture
def sample(generator) -> Trees:
    """A tree of 9 taxa 60 times with other lengths, some of its neighbours, and 5 trees at random."""
    children = random_topologies(9, 6, generator)
    lengths = torch.rand(100, 16, generator=generator, dtype=torch.float64)
    first = Trees(children[[0]], lengths[:1])
    near = interchange_neighbours(first)[torch.arange(35) % 12].children
    trees = torch.cat([children[[0]].expand(60, -1, -1), near, children[1:]])
    return Trees(trees, lengths)


@pytest.mark.parametrize("extended", [False, True])
def test_consensus_and_supports_are_dendropys(sample, extended, generator):
    weights = torch.rand(100, generator=generator, dtype=torch.float64)
    table = split_table(sample, weights)
    ours = majority_consensus(table, NAMES, extended=extended)
    taxa = dendropy.TaxonNamespace(NAMES)
    newicks = format_newick(sample, [str(name) for name in NAMES])
    theirs = dendropy.TreeList(taxon_namespace=taxa)
    for newick, weight in zip(newicks, weights.tolist(), strict=True):
        tree = dendropy.Tree.get(
            data=newick,
            schema="newick",
            taxon_namespace=taxa,
            preserve_underscores=True,
            rooting="force-unrooted",
        )
        tree.weight = weight
        theirs.append(tree)
    counted = theirs.split_distribution(use_tree_weights=True, ignore_edge_lengths=False)
    for members, frequency in zip(table.members, table.frequency.tolist(), strict=True):
        labels = [name for name, member in zip(NAMES, members.tolist(), strict=True) if member]
        mask = taxa.taxa_bitmask(labels=labels)
        key = dendropy.Bipartition(
            bitmask=mask, tree_leafset_bitmask=taxa.all_taxa_bitmask(), is_rooted=False
        ).split_bitmask
        assert counted[key] == pytest.approx(frequency)
    minimum = 0.0 if extended else 0.5
    reference = counted.consensus_tree(min_freq=minimum)
    mine = dendropy.Tree.get(
        data=ours.newick(),
        schema="newick",
        taxon_namespace=taxa,
        preserve_underscores=True,
        rooting="force-unrooted",
    )
    if not extended:  # ties between rare splits are broken in another order
        assert dendropy.calculate.treecompare.symmetric_difference(mine, reference) == 0
    assert len(mine.leaf_nodes()) == 9
    assert extended or bool((ours.supports[ours.supports.isfinite()] > 0.5).all())


def test_lengths_of_splits_are_weighted_means(sample, generator):
    weights = torch.rand(100, generator=generator, dtype=torch.float64)
    table = split_table(sample, weights)
    key = int(table.keys[0])
    rows, columns = (split_keys(sample) == key).nonzero().unbind(1)
    values, share = unrooted_lengths(sample)[rows, 9 + columns], weights[rows]
    mean = float((share * values).sum() / share.sum())
    assert float(table.mean_length[0]) == pytest.approx(mean)
    variance = float((share * (values - mean).square()).sum() / share.sum())
    assert float(table.sd[0]) == pytest.approx(variance**0.5)
    tips = unrooted_lengths(sample)[:, :9]
    torch.testing.assert_close(table.tip_length, (weights[:, None] * tips).sum(0) / weights.sum())


def test_topologies_credible_set_and_mean_tree(sample):
    table = topology_table(sample)
    assert float(table.frequency[0]) == pytest.approx(0.6)
    assert float(table.frequency.sum()) == pytest.approx(1.0)
    assert table.credible(0.6) == 1 and table.credible(0.61) == 2
    assert table.credible(1.0) == len(table) <= 18
    best = mean_tree(sample, int(table.keys[0]))
    assert int(robinson_foulds(best, sample[[0]])[0]) == 0
    rows = topology_keys(sample) == table.keys[0]
    torch.testing.assert_close(
        unrooted_lengths(best).sum(1)[0], unrooted_lengths(sample)[rows].sum(1).mean()
    )
    drawn = supported_tree(best, split_table(sample), NAMES, split_keys(best)[0])
    assert int(drawn.supports.isfinite().sum()) == 6
    with pytest.raises(InputError, match="level 0"):
        table.credible(0)


def test_distances_between_samples(sample):
    same = split_table(sample)
    other = split_table(sample[slice(0, 60)])
    assert asdsf([same, same]) == 0.0
    both = frequencies_side_by_side([same, other])
    counted = both[(both >= 0.1).any(1)]
    assert asdsf([same, other]) == pytest.approx(
        float((counted[:, 0] - counted[:, 1]).abs().mean()) / 2**0.5
    )
    whole, part = topology_table(sample), topology_table(sample[slice(0, 60)])
    assert topology_distance(whole, whole) == 0.0
    assert topology_distance(whole, part) == pytest.approx(0.4)
    with pytest.raises(InputError, match="at least two"):
        asdsf([same])


def test_best_distinct_after_collapsing(generator):
    """Two trees that differ only around an edge of length zero are one."""
    tree = Trees(random_topologies(7, 1, generator), torch.ones(1, 12, dtype=torch.float64))
    near = interchange_neighbours(tree)
    both = concatenated([tree, near[[0]]])
    scores = torch.tensor([3.0, 2.0], dtype=torch.float64)
    assert best_distinct(both, scores).tolist() == [1, 0]
    differing = ~torch.isin(split_keys(both), _shared(both))
    lengths = both.lengths.clone()
    for row, column in differing.nonzero().tolist():
        lengths[row, 7 + column] = 0.0
    root = both.children[:, -1]
    for row in range(2):  # the root's edge is in two parts
        if bool((lengths[row, root[row]] == 0).any()):
            lengths[row, root[row]] = 0.0
    assert best_distinct(Trees(both.children, lengths), scores, 0.0).tolist() == [1]


def _shared(trees: Trees) -> torch.Tensor:
    keys, counts = split_keys(trees).unique(return_counts=True)
    return keys[counts == len(trees)]


def test_maximum_clade_credibility(sample):
    row, supports = maximum_clade_credibility(sample)
    assert row < 60
    assert float(supports[-1]) == pytest.approx(1.0) and bool((supports >= 0.6 - 1e-9).all())


def test_weights_that_cannot_be_used(sample):
    with pytest.raises(InputError, match="99 weights for 100 trees"):
        split_table(sample, torch.ones(99))
    with pytest.raises(InputError, match="no trees"):
        topology_table(sample[slice(0, 0)])
    with pytest.raises(InputError, match="is none: give at least"):
        majority_consensus(split_table(sample), NAMES, 0.3)


def test_tables_side_by_side_have_the_splits_of_both(sample):
    left, right = split_table(sample[slice(0, 70)]), split_table(sample[slice(70, 100)])
    both = with_splits_of(left, right)
    table = frequencies_side_by_side([left, right])
    assert len(both) == len(table)
    order = torch.argsort(both.keys)
    torch.testing.assert_close(frequencies_in(both, left)[order], table[:, 0])
    torch.testing.assert_close(frequencies_in(both, right)[order], table[:, 1])
    assert bool(both.mean_length[len(left) :].isnan().all())
    assert bool((both.frequency[len(left) :] == 0).all())


def test_splits_of_collapsed_edges_do_not_count(sample):
    inner = unrooted_lengths(sample)[:, 9:]
    table = split_table(sample, longer_than=0.5)
    assert float(table.frequency.sum()) == pytest.approx(
        float((inner > 0.5).double().mean(0).sum())
    )
    assert bool((table.mean_length > 0.5).all()) and bool((table.frequency > 0).all())
