"""Rooting of consensus trees: the same unrooted tree with its supports, the root where it was asked."""

from __future__ import annotations

import dendropy
import pytest
import torch

from domains.phylogeny.consensus import LabelledTree, majority_consensus
from domains.phylogeny.labelled_rooting import (
    labelled_at_midpoint,
    labelled_at_outgroup,
    rooted_above,
)
from domains.phylogeny.rooting import root_at_midpoint
from domains.phylogeny.summaries import split_table
from domains.phylogeny.topologies import random_topologies
from domains.phylogeny.trees import Trees
from workbench.errors import InputError

NAMES = tuple("abcdefgh")


@pytest.fixture
def consensus(generator) -> LabelledTree:
    """Multifurcating: one tree twice and another once with lengths of their own."""
    children = random_topologies(8, 3, generator)
    rows = torch.tensor([0, 0, 0, 1, 2])
    lengths = torch.rand(5, 14, generator=generator, dtype=torch.float64) + 0.01
    return majority_consensus(split_table(Trees(children[rows], lengths)), NAMES)


def unrooted(tree: LabelledTree) -> dict[frozenset[str], tuple[float, str]]:
    """Length and support of every edge, by the tips on its side without `a`, as dendropy reads them."""
    read = dendropy.Tree.get(data=tree.newick(12), schema="newick", rooting="force-rooted")
    every = frozenset(NAMES)
    found: dict[frozenset[str], tuple[float, str]] = {}
    for node in read.preorder_node_iter():
        if node.parent_node is None:
            continue
        side = frozenset(leaf.taxon.label for leaf in node.leaf_iter())
        side = every - side if "a" in side else side
        length, label = found.get(side, (0.0, ""))
        found[side] = (length + (node.edge_length or 0.0), node.label or label)
    return found


def same(left: LabelledTree, right: LabelledTree) -> None:
    ours, theirs = unrooted(left), unrooted(right)
    assert set(ours) == set(theirs)
    for side, (length, support) in ours.items():
        assert length == pytest.approx(theirs[side][0], rel=1e-9)
        assert support == theirs[side][1]


def test_a_root_above_any_node_keeps_edges_and_supports(consensus):
    for at in range(len(consensus.parent)):
        if int(consensus.parent[at]) < 0:
            continue
        once = rooted_above(consensus, at, 0.25 * float(consensus.lengths[at]))
        same(once, consensus)
        root = int((once.parent < 0).nonzero()[0])
        assert int((once.parent == root).sum()) == 2
        for again in range(len(once.parent)):
            if int(once.parent[again]) >= 0:
                same(rooted_above(once, again, 0.5 * float(once.lengths[again])), consensus)


def test_an_outgroup_is_one_side_of_the_root(consensus):
    sides = [set(side) for side in unrooted(consensus) if len(side) > 1]
    for outgroup in ({"d"}, *sides, set(NAMES) - sides[0]):
        tree = labelled_at_outgroup(consensus, sorted(outgroup))
        read = dendropy.Tree.get(data=tree.newick(), schema="newick", rooting="force-rooted")
        found = [
            {leaf.taxon.label for leaf in child.leaf_iter()}
            for child in read.seed_node.child_nodes()
        ]
        assert outgroup in found and len(found) == 2
        same(tree, consensus)


def test_an_outgroup_that_is_no_group_gives_way_to_its_first_taxon(consensus):
    pairs = [{x, y} for x in NAMES for y in NAMES if x < y]
    absent = next(p for p in pairs if p not in [set(s) for s in unrooted(consensus)])
    tree = labelled_at_outgroup(consensus, sorted(absent))
    root = int((tree.parent < 0).nonzero()[0])
    assert int(tree.parent[NAMES.index(sorted(absent)[0])]) == root


def test_the_midpoint_is_that_of_binary_trees(generator):
    for seed in range(5):
        generator.manual_seed(seed)
        children = random_topologies(8, 1, generator)
        lengths = torch.rand(1, 14, generator=generator, dtype=torch.float64) + 0.01
        binary = Trees(children, lengths)
        ours = labelled_at_midpoint(majority_consensus(split_table(binary), NAMES))
        rooted = root_at_midpoint(binary)[0]
        heights = {float(h) for h in _root_to_tip(ours).round(decimals=9)}
        theirs = torch.zeros(15, dtype=torch.float64)
        for k in reversed(range(7)):
            for child in rooted.children[0, k].tolist():
                theirs[child] = theirs[8 + k] + rooted.lengths[0, child]
        assert heights == {float(h) for h in theirs[:8].round(decimals=9)}
        two = _root_to_tip(ours).sort(descending=True).values[:2]
        assert float(two[0]) == pytest.approx(float(two[1]), abs=1e-12)


def _root_to_tip(tree: LabelledTree) -> torch.Tensor:
    heights = []
    for tip in range(len(tree.names)):
        node, total = tip, 0.0
        while int(tree.parent[node]) >= 0:
            total += float(tree.lengths[node])
            node = int(tree.parent[node])
        heights.append(total)
    return torch.tensor(heights, dtype=torch.float64)


def test_bad_outgroups_are_named(consensus):
    with pytest.raises(InputError, match='outgroup "z" is not a taxon'):
        labelled_at_outgroup(consensus, ["z"])
    with pytest.raises(InputError, match="8 taxa: name some, and not all"):
        labelled_at_outgroup(consensus, list(NAMES))
