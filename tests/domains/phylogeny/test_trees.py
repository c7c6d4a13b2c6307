"""Trees as arrays: canonical form, splits, rerooting, distances, random and enumerated topologies."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.phylogeny.rooting import root_at_midpoint, root_at_outgroup, root_near_outgroup
from domains.phylogeny.topologies import all_topologies, log_n_topologies, random_topologies
from domains.phylogeny.trees import (
    Trees,
    canonical,
    concatenated,
    reroot_with_source,
    rerooted,
    robinson_foulds,
    split_keys,
    splits,
    topology_keys,
    unrooted_lengths,
)
from workbench.errors import InputError


def random_trees(n_taxa: int, n_trees: int, seed: int) -> Trees:
    generator = torch.Generator().manual_seed(seed)
    children = random_topologies(n_taxa, n_trees, generator)
    lengths = torch.rand(n_trees, 2 * n_taxa - 2, generator=generator, dtype=torch.float64)
    return Trees(children, lengths)


def tip_distances(trees: Trees) -> np.ndarray:
    """[tree, taxon, taxon] path lengths by brute force."""
    n = trees.n_taxa
    result = np.zeros((len(trees), n, n))
    for t in range(len(trees)):
        far = [{v: 0.0} for v in range(n)] + [{} for _ in range(n - 1)]
        for k, pair in enumerate(trees.children[t].tolist()):
            a, b = (
                {tip: d + float(trees.lengths[t, v]) for tip, d in far[v].items()} for v in pair
            )
            for (x, dx), (y, dy) in itertools.product(a.items(), b.items()):
                result[t, x, y] = result[t, y, x] = dx + dy
            far[n + k] = a | b
    return result


def is_postorder(trees: Trees) -> bool:
    rows = torch.arange(trees.n_taxa - 1)[None, :, None] + trees.n_taxa
    used = trees.children.flatten(1).sort(1).values
    every_node = torch.arange(2 * trees.n_taxa - 2).expand_as(used)
    return bool((trees.children < rows).all()) and bool((used == every_node).all())


@given(n_taxa=st.integers(3, 12), seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=40, deadline=None)
def test_rerooting_moves_the_root_and_nothing_else(n_taxa, seed, data):
    trees = random_trees(n_taxa, 3, seed)
    at = torch.tensor(data.draw(st.lists(st.integers(0, 2 * n_taxa - 3), min_size=3, max_size=3)))
    ends = trees.children[:, -1]
    at_root = (ends == at[:, None]).any(1)
    whole = torch.where(
        at_root, trees.lengths.gather(1, ends).sum(1), trees.lengths.gather(1, at[:, None])[:, 0]
    )
    moved = rerooted(trees, at, whole * data.draw(st.floats(0, 1)))
    assert is_postorder(moved)
    np.testing.assert_allclose(tip_distances(moved), tip_distances(trees), atol=1e-12)
    assert torch.equal(topology_keys(moved), topology_keys(trees))
    assert torch.equal(canonical(moved).children, canonical(trees).children)
    torch.testing.assert_close(canonical(moved).lengths, canonical(trees).lengths)


def test_the_source_of_an_edge_is_its_old_number():
    trees = random_trees(7, 20, 1)
    at = torch.randint(12, (20,), generator=torch.Generator().manual_seed(2))
    moved, source = reroot_with_source(trees, at, torch.zeros(20, dtype=torch.float64))
    inner = torch.ones_like(moved.lengths, dtype=torch.bool)
    inner.scatter_(1, moved.children[:, -1], False)
    old_root = (source[:, :, None] == trees.children[:, -1, :][:, None, :]).any(2)
    same = inner & ~old_root
    assert torch.equal(moved.lengths[same], trees.lengths.gather(1, source)[same])


def test_unrooted_lengths_count_the_root_edge_once():
    trees = random_trees(6, 10, 3)
    expected = trees.lengths.sum(1)
    torch.testing.assert_close(unrooted_lengths(trees).sum(1), expected)
    moved = canonical(trees)
    torch.testing.assert_close(
        unrooted_lengths(moved).sort(1).values, unrooted_lengths(trees).sort(1).values
    )


@pytest.mark.parametrize("n_taxa", [3, 4, 5, 6, 7, 8])
def test_every_topology_is_listed_once(n_taxa):
    children = all_topologies(n_taxa)
    trees = Trees(children, torch.ones(len(children), 2 * n_taxa - 2))
    assert len(children) == round(math.exp(log_n_topologies(n_taxa)))
    assert is_postorder(trees)
    assert torch.equal(canonical(trees).children, children)
    assert len(children.flatten(1).unique(dim=0)) == len(children)
    assert len(topology_keys(trees).unique()) == len(children)


def test_random_topologies_are_uniform():
    n = 21_000
    children = random_topologies(6, n, torch.Generator().manual_seed(4))
    trees = Trees(children, torch.ones(n, 10))
    counts = topology_keys(trees).unique(return_counts=True)[1].double()
    assert len(counts) == 105
    chi_squared = float(((counts - n / 105) ** 2 / (n / 105)).sum())
    assert abs(chi_squared - 104) < 5 * math.sqrt(2 * 104)


def test_splits_are_the_tips_beyond_each_inner_edge():
    trees = random_trees(70, 4, 5)
    masks = splits(trees)
    assert masks.shape == (4, 67, 2)
    assert not (masks[:, :, 0] & np.uint64(1)).any()
    for t in range(4):
        sets = [{v} for v in range(70)]
        for a, b in trees.children[t].tolist():
            sets.append(sets[a] | sets[b])
        for i in range(67):
            inside = sets[70 + i] if 0 not in sets[70 + i] else set(range(70)) - sets[70 + i]
            found = {v for v in range(70) if int(masks[t, i, v // 64]) >> (v % 64) & 1}
            assert found == inside
    moved = splits(canonical(trees))
    for t in range(4):
        assert set(map(bytes, moved[t])) == set(map(bytes, masks[t]))


def test_split_keys_identify_splits():
    trees = random_trees(9, 200, 6)
    words, keys = splits(trees).reshape(-1), split_keys(trees).flatten().numpy()
    pairs = set(zip(words.tolist(), keys.tolist(), strict=True))
    assert len(pairs) == len(set(words.tolist())) == len(set(keys.tolist()))


def test_robinson_foulds_by_sets():
    left, right = random_trees(8, 50, 7), random_trees(8, 50, 8)
    by_sets = [
        len(set(map(bytes, a)) ^ set(map(bytes, b)))
        for a, b in zip(splits(left), splits(right), strict=True)
    ]
    assert robinson_foulds(left, right).tolist() == by_sets
    assert robinson_foulds(left, left).tolist() == [0] * 50
    assert robinson_foulds(left[:1], right).shape == (50,)


def test_collapsed_edges_make_topologies_equal():
    """All three resolutions of one quartet are one star when the inner edge is zero."""
    children = all_topologies(4)
    trees = canonical(Trees(children, torch.full((3, 6), 0.1)))
    trees.lengths[:, 4] = 0.0
    assert len(topology_keys(trees).unique()) == 3
    assert len(topology_keys(trees, longer_than=0.0).unique()) == 1


def test_a_root_edge_with_one_zero_half_is_not_collapsed():
    """((0,1):0.2,(2,3):0): the inner edge is 0.2 long, wherever on it the root stands."""
    children = torch.tensor([[[0, 1], [2, 3], [4, 5]]] * 2)
    lengths = torch.full((2, 6), 0.1)
    lengths[0, 4:] = torch.tensor([0.0, 0.2])
    lengths[1, 4:] = torch.tensor([0.2, 0.0])
    trees = Trees(children, lengths)
    assert torch.equal(topology_keys(trees, longer_than=0.0), topology_keys(trees))


def test_outgroup_rooting():
    trees = random_trees(9, 5, 9)
    names = [f"t{v}" for v in range(9)]
    rooted, _ = root_at_outgroup(trees, names, ["t4"])
    assert bool((rooted.children[:, -1] == 4).any(1).all())
    np.testing.assert_allclose(tip_distances(rooted), tip_distances(trees), atol=1e-12)
    ends = rooted.lengths.gather(1, rooted.children[:, -1])
    torch.testing.assert_close(ends[:, 0], ends[:, 1])


def test_an_outgroup_of_several_taxa_may_be_either_side():
    trees = random_trees(9, 1, 10)
    names = [f"t{v}" for v in range(9)]
    for mask in splits(trees)[0, :, 0].tolist():
        side = [names[v] for v in range(9) if mask >> v & 1]
        other = [name for name in names if name not in side]
        for group in (side, other):
            rooted, _ = root_at_outgroup(trees, names, group)
            below = rooted.children[0, -1]
            counted = Trees(rooted.children, torch.ones_like(rooted.lengths))
            assert len(group) in _sizes(counted)[below].tolist()


def _sizes(trees: Trees) -> torch.Tensor:
    sizes = torch.ones(2 * trees.n_taxa - 1, dtype=torch.int64)
    for k, pair in enumerate(trees.children[0]):
        sizes[trees.n_taxa + k] = sizes[pair].sum()
    return sizes


@given(n_taxa=st.integers(3, 10), seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_midpoint_rooting_balances_the_longest_path(n_taxa, seed):
    trees = random_trees(n_taxa, 2, seed)
    rooted, _ = root_at_midpoint(trees)
    np.testing.assert_allclose(tip_distances(rooted), tip_distances(trees), atol=1e-12)
    for t in range(2):
        depth = np.zeros(2 * n_taxa - 1)
        for k in range(n_taxa - 2, -1, -1):
            for child in rooted.children[t, k].tolist():
                depth[child] = depth[n_taxa + k] + float(rooted.lengths[t, child])
        longest = tip_distances(trees)[t].max()
        assert depth[:n_taxa].max() == pytest.approx(longest / 2)


@pytest.mark.parametrize(
    ("outgroup", "message"),
    [
        (["t11"], r'"t11" is not a taxon \(did you mean "t1"\?\)'),
        ([], "has 0 taxa"),
        (["t0", "t1", "t2", "t3"], "has 4 taxa"),
    ],
)
def test_bad_outgroups(outgroup, message):
    with pytest.raises(InputError, match=message):
        root_at_outgroup(random_trees(4, 1, 0), ["t0", "t1", "t2", "t3"], outgroup)


def test_an_outgroup_that_is_no_group_names_the_tree():
    children = torch.cat([torch.tensor([[[0, 1], [2, 3], [4, 5]]]), all_topologies(4)])
    trees = Trees(children, torch.ones(4, 6))
    with pytest.raises(InputError, match=r"tree \d has no edge with a, b alone"):
        root_at_outgroup(trees, ["a", "b", "c", "d"], ["a", "b"])


def test_near_an_outgroup_every_tree_has_a_root():
    children = torch.cat([torch.tensor([[[0, 1], [2, 3], [4, 5]]]), all_topologies(4)])
    trees = Trees(children, torch.ones(4, 6))
    rooted, _ = root_near_outgroup(trees, ["a", "b", "c", "d"], ["a", "b"])
    assert torch.equal(topology_keys(rooted), topology_keys(trees))
    together = topology_keys(trees) == topology_keys(trees)[0]
    for children, has_group in zip(rooted.children.tolist(), together.tolist(), strict=True):
        below = [{tip} for tip in range(4)]
        for left, right in children:
            below.append(below[left] | below[right])
        sides = [below[node] for node in children[-1]]
        assert ({0, 1} if has_group else {0}) in sides


def test_small_and_large_numbers_of_taxa():
    with pytest.raises(InputError, match="2 taxa"):
        all_topologies(2)
    with pytest.raises(InputError, match="at most 8"):
        all_topologies(9)
    three = Trees(all_topologies(3), torch.ones(1, 4))
    assert topology_keys(three).tolist() == [0]
    assert splits(three).shape == (1, 0, 1)
    assert concatenated([three, three]).children.shape == (2, 2, 2)
