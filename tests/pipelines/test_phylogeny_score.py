"""`workbench phylogeny score`: the values of other programs, what is said, what is refused."""

from __future__ import annotations

import json

import pytest
import torch

from domains.phylogeny.tree_files import read_trees
from domains.phylogeny.trees import topology_keys
from pipelines.cli import main

ROWS = {"a": "ACGTACGTAC-", "b": "ACGTTCGTACA", "c": "AGGTACCTTCA", "d": "AGGAACCTACA"}
TREE = "(a:0.1,b:0.1,(c:0.1,d:0.1):0.1);"


@pytest.fixture
def files(tmp_path):
    alignment, tree = tmp_path / "a.fasta", tmp_path / "t.nwk"
    alignment.write_text("".join(f">{name}\n{row}\n" for name, row in ROWS.items()))
    tree.write_text(TREE)
    return ["phylogeny", "score", "--alignment", str(alignment), "--tree", str(tree)]


def scores(capsys, argv):
    assert main([*argv, "--json"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


@pytest.mark.parametrize("name", ["DS1", "DS3", "DS5", "primates"])
def test_reference_trees(reference_data, tmp_path, capsys, name):
    """IQ-TREE, phangorn and independent code; NEXUS, all trees of one file."""
    reference = json.loads(reference_data("phylogeny/reference.json").read_text())
    trees = reference["datasets"][name]["trees"]
    (tmp_path / "t.nwk").write_text("\n".join(tree["newick"] for tree in trees.values()))
    alignment = str(reference_data(f"phylogeny/{name}.fasta"))
    argv = ["phylogeny", "score", "--alignment", alignment, "--tree", str(tmp_path / "t.nwk")]
    found, _ = scores(capsys, argv)
    for ours, theirs in zip(found, trees.values(), strict=True):
        assert ours["log_likelihood"] == pytest.approx(theirs["lnL_own"], abs=2e-4)
        assert ours["parsimony"] == theirs["fitch_gap_missing_own"]
    fifth, said = scores(capsys, [*argv, "--gaps", "fifth-state"])
    assert "gap steps" in said
    for ours, theirs in zip(fifth, trees.values(), strict=True):
        assert ours["parsimony"] == theirs["fitch_gap5_qACGT_own"]


@pytest.mark.parametrize("name", ["DS5", "primates"])
def test_reference_models(reference_data, tmp_path, capsys, name):
    reference = json.loads(reference_data("phylogeny/reference.json").read_text())
    tree = reference["datasets"][name]["trees"]["iqtree_ml_jc"]["newick"]
    (tmp_path / "t.nwk").write_text(tree)
    alignment = str(reference_data(f"phylogeny/{name}.fasta"))
    argv = ["phylogeny", "score", "--alignment", alignment, "--tree", str(tmp_path / "t.nwk")]
    for value in reference["models"]["values"][name].values():
        found, said = scores(capsys, [*argv, "--model", value["model_string"]])
        assert found[0]["log_likelihood"] == pytest.approx(value["log_likelihood"], abs=1e-3)
        assert said == ""


@pytest.mark.parametrize("name", ["DS1_5taxa", "DS5_6taxa"])
def test_every_topology_of_a_small_set(reference_data, tmp_path, capsys, name):
    reference = json.loads(reference_data("phylogeny/reference.json").read_text())
    small = reference["small_exact"][name]
    text = reference_data(f"phylogeny/{small['dataset']}.fasta").read_text()
    kept = [entry for entry in text.split(">") if entry.split("\n")[0].strip() in small["taxa"]]
    (tmp_path / "a.fasta").write_text("".join(f">{entry}" for entry in kept))
    (tmp_path / "t.nwk").write_text("\n".join(t["newick"] for t in small["topologies"]))
    argv = ["phylogeny", "score", "--alignment", str(tmp_path / "a.fasta")]
    argv += ["--tree", str(tmp_path / "t.nwk")]
    found, _ = scores(capsys, argv)
    assert len(found) == small["n_topologies"]
    for ours, theirs in zip(found, small["topologies"], strict=True):
        assert ours["log_likelihood"] == pytest.approx(theirs["lnL_jc_bl0.1"], abs=1e-5)
        assert ours["parsimony"] == theirs["fitch_gap_missing"]


def test_order_of_taxa_and_root_do_not_matter(files, tmp_path, capsys):
    shuffled = tmp_path / "b.fasta"
    shuffled.write_text("".join(f">{name}\n{ROWS[name]}\n" for name in "dbac"))
    (tmp_path / "u.nwk").write_text("((c:0.1,(a:0.1,b:0.1):0.1):0.03,d:0.07);")
    argv = ["phylogeny", "score", "--alignment", str(shuffled), "--tree", str(tmp_path / "u.nwk")]
    for options in ([], ["--model", "GTR{1,2,3,4,5}+F+G4{0.7}", "--gaps", "fifth-state"]):
        first, second = (scores(capsys, [*case, *options])[0][0] for case in (files, argv))
        assert first["log_likelihood"] == pytest.approx(second["log_likelihood"], abs=1e-9)
        assert first["parsimony"] == second["parsimony"]


def test_it_says_what_was_fixed_and_what_optimised(files, capsys):
    assert main([*files, "--model", "HKY+F{0.3,0.2,0.2,0.3}+G4{0.5}"]) == 0
    said = capsys.readouterr()
    assert "kappa = 2 (default)" in said.out
    assert "frequencies = 0.3/0.2/0.2/0.3 (given)" in said.out
    assert "optimised   nothing" in said.out
    assert "not estimated, default values used: kappa = 2 " in said.err
    assert main([*files, "--model", "K80", "--optimise", "lengths"]) == 0
    assert "optimised   branch lengths\n" in capsys.readouterr().out
    assert main([*files, "--model", "K80", "--optimise", "all"]) == 0
    said = capsys.readouterr()
    assert "optimised   branch lengths, kappa\n" in said.out
    assert said.err == ""


def test_optimising_raises_the_likelihood(files, capsys):
    values = [
        scores(capsys, [*files, "--model", "HKY+G4", "--optimise", what])[0][0]["log_likelihood"]
        for what in ("none", "lengths", "all")
    ]
    assert values[0] < values[1] < values[2] + 1e-9


def test_trees_without_lengths_have_parsimony_alone(files, tmp_path, capsys):
    (tmp_path / "t.nwk").write_text(f"(a,b,(c,d));{TREE}")
    found, said = scores(capsys, files)
    assert found[0]["log_likelihood"] is None
    assert found[0]["parsimony"] == found[1]["parsimony"]
    assert found[1]["log_likelihood"] < 0
    assert "tree 1 has edges without a length" in said
    found, _ = scores(capsys, [*files, "--optimise", "lengths"])
    assert found[0]["log_likelihood"] == pytest.approx(found[1]["log_likelihood"], abs=1e-4)


def test_an_impossible_tree_is_named(files, tmp_path, capsys):
    (tmp_path / "t.nwk").write_text("(a:0,b:0,(c:0,d:0):0);")
    found, said = scores(capsys, files)
    assert found[0]["log_likelihood"] is None
    assert "edges of length zero between different sequences" in said


def test_written_trees(files, tmp_path, capsys):
    out = tmp_path / "o.nex"
    assert main([*files, "--optimise", "lengths", "--out", str(out), "--outgroup", "c"]) == 0
    written = read_trees(out, list(ROWS))
    given = read_trees(tmp_path / "t.nwk", list(ROWS))
    assert torch.equal(topology_keys(written.trees), topology_keys(given.trees))
    assert 2 in written.trees.children[0, -1].tolist()
    newick = tmp_path / "o.nwk"
    assert main([*files, "--out", str(newick), "--midpoint"]) == 0
    assert newick.read_text().startswith("(")


def test_one_set_of_sites(files, tmp_path, capsys):
    rows = "\n".join(f"{name} {row}" for name, row in ROWS.items())
    (tmp_path / "a.fasta").write_text(
        f"#NEXUS\nbegin data; matrix\n{rows}\n;\nend;\nbegin sets; charset some = 2-6; end;\n"
    )
    found, _ = scores(capsys, [*files, "--partition", "some"])
    (tmp_path / "a.fasta").write_text(
        "".join(f">{name}\n{row[1:6]}\n" for name, row in ROWS.items())
    )
    assert scores(capsys, files)[0][0]["log_likelihood"] == found[0]["log_likelihood"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gaps", "fifth"], "--gaps is fifth: one of missing, fifth-state"),
        (["--optimise", "everything"], "--optimise is everything"),
        (["--model", "HKZ"], 'unknown substitution model "HKZ"'),
        (["--partition", "x"], 'no set of sites "x"'),
        (["--midpoint"], "give --out FILE"),
        (["--out", "x.nwk", "--midpoint", "--outgroup", "a"], "give one of them"),
        (["--out", "x.nwk", "--outgroup", "z"], 'outgroup "z" is not a taxon'),
        (["--gap", "missing"], 'unknown option --gap (did you mean "--gaps"?)'),
    ],
)
def test_bad_options(files, capsys, options, message):
    assert main([*files, *options]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_tips_that_do_not_match(files, tmp_path, capsys):
    (tmp_path / "t.nwk").write_text("(a,b,(x,y));")
    assert main(files) == 2
    assert "x, y" in capsys.readouterr().err


def test_verbs_of_a_domain(capsys):
    assert main(["phylogeny"]) == 0
    assert "workbench phylogeny score" in capsys.readouterr().out
    assert main(["phylogeny", "scor"]) == 2
    assert 'did you mean "score"' in capsys.readouterr().err
