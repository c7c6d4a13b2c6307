"""Bad input to the phylogeny commands: exit code 2, one sentence that names it, and no run folder."""

from __future__ import annotations

import pytest

from pipelines.cli import main

ROWS = {"a": "ACGTACGTAC", "b": "ACGTTCGTAC", "c": "AGGTACCTTC", "d": "AGGAACCTAC"}
TREE = "(a:0.1,b:0.1,(c:0.1,d:0.1):0.1);"


def fasta(rows: dict[str, str]) -> str:
    return "".join(f">{name}\n{row}\n" for name, row in rows.items())


def refused(argv: list[str], capsys) -> str:
    """The sentence on standard error."""
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "Traceback" not in said.err
    return said.err


ALIGNMENTS = [
    (fasta({**ROWS, "c": "ACG"}), 'sequence "c" has 3 sites where others have 10'),
    (fasta({**ROWS, "c": "AGGT!CCTTC"}), '"c"'),
    (fasta({**ROWS, "c": "AGGT!CCTTC"}), "5"),
    (fasta({"a": "ACGT", "b": "ACGT"}), "a tree needs 3 taxa or more"),
    ("#NEXUS\nbegin data;\nmatrix\na ACGT\nb ACGT\n", "line 3"),
    ("#NEXUS\nbegin trees;\ntree x = (a,b);\nend;\n", "has no"),
    ("some text\n", "is no alignment"),
    ("", "is empty"),
]


# Three taxa have a tree that can be scored, and none to choose.
THREE = (fasta({"a": "ACGT", "b": "ACGT", "c": "AGGT"}), "give at least 4 to sample trees")
REFUSED = [(command, *case) for command in ("run", "score") for case in ALIGNMENTS]


@pytest.mark.parametrize(("command", "text", "words"), [*REFUSED, ("run", *THREE)])
def test_alignments(command, text, words, tmp_path, capsys):
    alignment, tree = tmp_path / "a.fasta", tmp_path / "t.nwk"
    alignment.write_text(text)
    tree.write_text(TREE)
    argv = ["phylogeny", command, "--alignment", str(alignment)]
    argv += ["--tree", str(tree)] if command == "score" else ["--out", str(tmp_path / "run")]
    assert words in refused(argv, capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(a,b,(x,y));", "x, y"),
        ("(a,b,(x,y));", "taxa without a tip: c, d"),
        ("(a,b,(c,c));", "c"),
        ("(a:0.1,b:0.1,(c:-0.2,d:0.1):0.1);", "-0.2"),
        ("#NEXUS\nbegin trees;\ntree one (a,b,(c,d));\nend;\n", "line 3"),
        ("(a,b,(c,d);", "t.nwk"),
    ],
)
def test_trees(text, words, tmp_path, capsys):
    (tmp_path / "a.fasta").write_text(fasta(ROWS))
    (tmp_path / "t.nwk").write_text(text)
    argv = ["phylogeny", "score", "--alignment", str(tmp_path / "a.fasta")]
    assert words in refused([*argv, "--tree", str(tmp_path / "t.nwk")], capsys)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target", "posteriori"], 'did you mean "posterior"'),
        (["--method", "mcmcmc"], 'did you mean "mcmc"'),
        (["--target", "parsimony", "--method", "mcmc"], "--method mcmc is for --target posterior"),
        (["--method", "search"], "--method search is for --target parsimony"),
        (["--gaps", "fifth-state"], "the likelihood takes gaps as missing"),
        (["--target", "parsimony", "--model", "K80"], "parsimony has none"),
        (["--model", "HKZ"], 'unknown substitution model "HKZ"'),
        (["--model", "GTR+G4"], "or take --method mcmc"),
        (["--outgroup", "Humen"], 'did you mean "Human"'),
        (["--outgroup", "Human", "--midpoint"], "give one"),
        (["--taxa", "Human", "Mouse"], "2 taxa have one unrooted tree"),
        (["--taxa", "Human", "Human", "Mouse", "Cow"], "names a taxon twice"),
        (["--taxa", "Human", "Cow", "Mouse", "Cta"], 'did you mean "Cat"'),
        (["--partition", "codon1"], 'no set of sites "codon1"'),
        (["--alignment", "absent.fasta"], "cannot read alignment absent.fasta"),
        (["--length-rate", "0"], "is 0: give it above zero"),
        (["--n-samples", "0"], "--n-samples is 0"),
        (["--within", "-1"], "--within is -1"),
        (["--credible", "1.5"], "--credible is 1.5"),
        (["--enumerate-up-to", "9"], "too many trees"),
        (["--objective", "fl-db"], "take tb"),
        (["--objective", "forward-kl"], "take tb"),
        (["--backward", "learned"], "--backward does not apply"),
        (["--network.width", "64"], "--network does not apply"),
        (["--ensemble.heads", "2"], "--ensemble.heads does not apply"),
        (["--temperature.final", "2"], "--temperature.final does not apply"),
        (["--objective", "tb", "--temperature.kind", "conditional"], "take annealed or fixed"),
        (["--aligment", "x"], 'did you mean "--alignment"'),
    ],
)
def test_options(flags, words, tmp_path, capsys):
    argv = ["phylogeny", "run", *flags, "--out", str(tmp_path / "run")]
    assert words in refused(argv, capsys)
    assert not (tmp_path / "run").exists()


def test_a_set_of_sites_that_the_file_declares_is_taken(tmp_path, capsys):
    rows = "\n".join(f"{name} {row}" for name, row in ROWS.items())
    text = f"#NEXUS\nbegin data; matrix\n{rows}\n;\nend;\nbegin sets; charset some = 2-6; end;\n"
    (tmp_path / "a.nex").write_text(text)
    argv = ["phylogeny", "run", "--alignment", str(tmp_path / "a.nex"), "--partition", "some"]
    argv += ["--preset", "smoke", "--target", "parsimony", "--method", "search"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    assert "4 taxa, 5 sites" in (tmp_path / "run" / "provenance.json").read_text()
