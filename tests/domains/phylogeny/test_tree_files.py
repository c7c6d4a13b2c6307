"""Newick and NEXUS trees: round trips, forms found in the wild, agreement with dendropy, bad input."""

from __future__ import annotations

import dendropy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.phylogeny.topologies import random_topologies
from domains.phylogeny.tree_files import read_trees, write_newick, write_nexus_trees
from domains.phylogeny.trees import Trees, canonical, split_keys, splits, topology_keys
from workbench.errors import InputError

ABCD = ["a", "b", "c", "d"]


def random_trees(n_taxa: int, n_trees: int, seed: int) -> Trees:
    generator = torch.Generator().manual_seed(seed)
    children = random_topologies(n_taxa, n_trees, generator)
    exponents = 20 * torch.rand(n_trees, 2 * n_taxa - 2, generator=generator, dtype=torch.float64)
    return Trees(children, torch.exp(exponents - 18))


def read(tmp_path, text: str, names=None):
    path = tmp_path / "trees.txt"
    path.write_text(text)
    return read_trees(path, names)


names_of_taxa = st.lists(
    st.text("aB1_ '-.()[],;:=\"", min_size=1, max_size=8).filter(lambda s: s.strip() == s),
    min_size=3,
    max_size=9,
    unique_by=lambda name: name.replace(" ", "_"),
)


@given(names=names_of_taxa, seed=st.integers(0, 10**6), rooted=st.booleans(), nexus=st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read_again(tmp_path_factory, names, seed, rooted, nexus):
    trees = random_trees(len(names), 4, seed)
    path = tmp_path_factory.mktemp("trees") / "trees.txt"
    weights = torch.rand(4, dtype=torch.float64)
    supports = torch.where(
        torch.rand(trees.lengths.shape) < 0.5, torch.rand(trees.lengths.shape), torch.nan
    ).double()
    supports[:, : len(names)] = torch.nan
    supports.scatter_(1, trees.children[:, -1], torch.nan)
    if nexus:
        write_nexus_trees(path, trees, names, weights=weights, supports=supports, rooted=rooted)
    else:
        write_newick(path, trees, names, supports, rooted)
    again = read_trees(path, names)
    if rooted:
        assert torch.equal(again.trees.children, trees.children)
        assert torch.equal(again.trees.lengths, trees.lengths)
        torch.testing.assert_close(again.supports, supports, rtol=0, atol=0, equal_nan=True)
    else:
        assert torch.equal(topology_keys(again.trees), topology_keys(trees))
        torch.testing.assert_close(
            canonical(again.trees).lengths, canonical(trees).lengths, rtol=1e-14, atol=0
        )
        assert by_split(again.trees, again.supports) == by_split(trees, supports)
    assert torch.equal(again.weights, weights if nexus else torch.ones(4).double())
    assert again.warnings == ()


def by_split(trees: Trees, supports: torch.Tensor) -> list[dict[int, float]]:
    inner = supports[:, trees.n_taxa : 2 * trees.n_taxa - 3]
    return [
        {key: value for key, value in zip(keys, values, strict=True) if value == value}
        for keys, values in zip(split_keys(trees).tolist(), inner.tolist(), strict=True)
    ]


def test_dendropy_reads_the_same_trees(tmp_path):
    trees = random_trees(12, 20, 1)
    names = [f"Species {i}'s" for i in range(12)]
    write_nexus_trees(tmp_path / "t.nex", trees, names, weights=torch.arange(1.0, 21).double())
    theirs = dendropy.TreeList.get(path=tmp_path / "t.nex", schema="nexus", store_tree_weights=True)
    ours = splits(trees)[:, :, 0]
    for t, tree in enumerate(theirs):
        tree.encode_bipartitions()
        inside = {
            frozenset(leaf.taxon.label for leaf in node.leaf_iter())
            for node in tree.preorder_internal_node_iter(exclude_seed_node=True)
        }
        everything = frozenset(names)
        mine = {
            frozenset(names[v] for v in range(12) if mask >> v & 1) for mask in ours[t].tolist()
        }
        assert (
            inside == mine or {s if names[0] not in s else everything - s for s in inside} == mine
        )
        assert tree.length() == pytest.approx(float(trees.lengths[t].sum()))
        assert tree.weight == t + 1


def test_we_read_what_dendropy_writes(tmp_path):
    trees = random_trees(9, 10, 2)
    names = [f"t {i}" for i in range(9)]
    write_newick(tmp_path / "a.nwk", trees, names)
    theirs = dendropy.TreeList.get(path=tmp_path / "a.nwk", schema="newick")
    theirs.write(path=tmp_path / "b.nex", schema="nexus", translate_tree_taxa=True)
    again = read_trees(tmp_path / "b.nex", names)
    assert torch.equal(topology_keys(again.trees), topology_keys(trees))


@pytest.mark.parametrize(
    "text",
    [
        "(a:1,b:2,(c:3,d:4):5);",
        "( a : 1 , b:2,\n (c:3,d:4)0.9:5 ) root ;",
        "[a comment] (a:1,b:2,(c:3,d:4)[&prob=0.9]:5)[&R];",
        "((a:1,b:2):2,(c:3,d:4):3);",
        "(a:1,b:2,((c:3,d:4):2):3);",
        "('a':1e0,b:2.0,(c:3,d:4)'90/100':5)",
    ],
)
def test_forms_of_one_tree(tmp_path, text):
    found = read(tmp_path, text, ABCD)
    expected = read(tmp_path, "(a:1,b:2,(c:3,d:4):5);", ABCD)
    assert torch.equal(canonical(found.trees).children, canonical(expected.trees).children)
    assert torch.equal(canonical(found.trees).lengths, canonical(expected.trees).lengths)
    assert found.warnings == ()


def test_a_nexus_file_of_trees(tmp_path):
    text = """#NEXUS
[ID: 1]
begin trees;
  translate 1 'Homo sapiens', 2 Pan_paniscus, 3 c, 4 d;
  tree rep.1 = [&U] (1:1,2:2,(3:3,4:4):5);
  tree 'second tree' = [&W 1/4] [&R] ((1:1,3:1)0.75:1,(2:1,4:1):0);
end;
"""
    file = read(tmp_path, text, ["Homo_sapiens", "Pan paniscus", "c", "d"])
    assert file.labels == ("rep.1", "second tree")
    assert file.weights.tolist() == [1.0, 0.25]
    assert file.supports[1].nan_to_num().sum() == 0.75
    assert read(tmp_path, text).names == ("Homo sapiens", "Pan_paniscus", "c", "d")


def test_several_trees_on_lines_of_their_own(tmp_path):
    file = read(tmp_path, "[&W 1/2](a,b,(c,d));\n((a,c),b,d);\n\n(a,d,(b,c))", ABCD)
    assert len(file.trees) == 3
    assert len(topology_keys(file.trees).unique()) == 3
    assert file.weights.tolist() == [0.5, 1, 1]
    assert bool(file.trees.lengths[:, :4].isnan().all())


def test_multifurcations_are_resolved_and_said_once(tmp_path):
    file = read(tmp_path, "(a:1,b:1,c:1,d:1);(a:1,b:1,(c:1,d:1):1);(d:1,a:1,b:1,c:1);", ABCD)
    assert file.warnings == (
        "trees.txt: 2 trees have multifurcations, resolved with edges of length zero",
    )
    stars = file.trees[[0, 2]]
    assert len(topology_keys(stars).unique()) == 2
    assert len(topology_keys(stars, longer_than=0.0).unique()) == 1
    np.testing.assert_allclose(stars.lengths.sum(1), 4.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(a,b,(c,e));", r"tips that are not in the alignment: e.*\(taxa without a tip: d\)"),
        ("(a,b,c);", r"fewer tips than taxa.*\(taxa without a tip: d\)"),
        ("(a,b,(c,d),a);", "tips that occur twice: a"),
        ("(a:1,b:-0.5,(c:1,d:1):1);", "negative branch length -0.5 at character 7"),
        ("(a:1,b:x,(c:1,d:1):1);", 'branch length "x" is no number at character 7'),
        ("(a:1,b:inf,(c:1,d:1):1);", "is no number"),
        ("(a,b,(c,d);", "1 parentheses are not closed"),
        ("(a,b,(c,d)));", r'"\)" without an open parenthesis at character 12'),
        ("(a,,(c,d));", 'nothing before "," at character 4'),
        ("(a b,(c,d));", '"b" without a comma or quotes at character 4'),
        ("(a,b)(c,d);", "without a comma"),
        ("(a,b,(c,d));(a,b,(c,x));", "tree 2: tips that are not in the alignment: x"),
        ("(a,b,(c,d)[x);", "line 1: this comment lacks its ]"),
        ("#NEXUS\nbegin trees;\ntree x (a,b,c,d);\nend;", "line 3: write TREE name"),
        ("#NEXUS\nbegin trees;\nend;", "holds no tree"),
        ("#NEXUS\nbegin trees;\ntranslate 1 a b;\nend;", 'line 3: "1 a b" in TRANSLATE'),
        (";", "."),
        ("hello", "."),
    ],
)  # fmt: skip
def test_bad_trees(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text, ABCD)


def test_trees_need_three_tips(tmp_path):
    with pytest.raises(InputError, match="2 tips"):
        read(tmp_path, "(a,b);")
