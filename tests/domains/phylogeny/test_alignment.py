"""Readers of alignments: every form of the formats, what is refused, what is warned of; patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.phylogeny.alignment import Alignment, read_alignment
from domains.phylogeny.characters import MASKS, decode, encode
from domains.phylogeny.patterns import Patterns
from workbench.errors import InputError

ROWS = {"Homo": "ACGTACGT-R", "Pan": "ACGAACGTNY", "Mus musculus": "AC?TACTTAK"}
EMBEDDED = Path(__file__).parents[3] / "domains/phylogeny/data/mammals-brca1.fasta"


def read(tmp_path: Path, text: str) -> Alignment:
    path = tmp_path / "alignment.txt"
    path.write_text(text)
    return read_alignment(path)


def rows(alignment: Alignment) -> dict[str, str]:
    return {
        name: decode(states) for name, states in zip(alignment.names, alignment.states, strict=True)
    }


WITHOUT_BLANKS = {name.replace(" ", "_"): row for name, row in ROWS.items()}
FORMS = {
    "FASTA": ">Homo some words\nACGTA\n\nCGT-R\n>Pan\nacgaacgtny\n>Mus_musculus\nAC?TA CTTAK\n",
    "PHYLIP, relaxed names": (
        "3 10\nHomo ACGTACGT-R\nPan\tACGAACGTNY\nMus_musculus   AC?TA CTTAK\n"
    ),
    "PHYLIP, relaxed names, interleaved": (
        "3 10\nHomo ACGTA\nPan ACGAA\nMus_musculus AC?TA\n\nCGT-R\nCGTNY\nCTTAK\n"
    ),
    "PHYLIP, relaxed names, sequential": (
        "3 10\nHomo ACG\nTACGT-R\nPan ACGAACGTNY\nMus_musculus\nAC?TACTTAK\n"
    ),
    "PHYLIP, strict names": "3 10\nHomo      ACGTACGT-R\nPan       ACGAACGTNY\nMus muscul AC?TACTTAK\n",
    "NEXUS": (
        "#NEXUS\n[a [nested] comment]\nBegin DATA;\n Dimensions ntax=3 nchar=10;\n"
        " Format datatype=DNA gap=- missing=?;\n Matrix\n  Homo ACGTACGT-R\n"
        "  Pan ACGAA [middle] CG\n TN{CT}\n  'Mus musculus' AC?TACTTA(GT)\n;\nEND;\n"
    ),
    "NEXUS, interleaved": (
        "#NEXUS\nbegin characters;\nformat datatype=dna interleave=yes gap=~ missing=x matchchar=.;\n"
        "matrix\nHomo ACGTA\nPan ...A.\n'Mus musculus' ..x..\n\nHomo CGT~R\nPan ...NY\n"
        "'Mus musculus' .T.AK\n;\nend;\n"
    ),
}


@pytest.mark.parametrize("file_format", FORMS)
def test_every_form_gives_the_same_alignment(tmp_path, file_format):
    alignment = read(tmp_path, FORMS[file_format])
    assert alignment.file_format == file_format
    expected = ROWS if "NEXUS" in file_format else WITHOUT_BLANKS
    if "strict" in file_format:
        expected = {name[:10]: row for name, row in ROWS.items()}
    assert rows(alignment) == expected
    assert alignment.warnings == ()


def test_interleaved_phylip_may_repeat_its_names(tmp_path):
    text = "3 8\nabc ACGT\nbcd ACGA\ncde ACGC\nabc AAAA\nbcd CCCC\ncde GGGG\n"
    assert rows(read(tmp_path, text)) == {"abc": "ACGTAAAA", "bcd": "ACGACCCC", "cde": "ACGCGGGG"}


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_bytes(b"\xef\xbb\xbf>a\r\nAC\r\n>b\r\nAG\r\n>c\r\nAT\r\n")
    assert rows(read_alignment(path)) == {"a": "AC", "b": "AG", "c": "AT"}


def test_a_dot_is_unknown_where_no_match_character_is_declared():
    assert encode(".", "x")[0] == encode("?", "x")[0] == 32


def test_codes_are_the_masks_of_their_bases():
    for letter, bases in {"R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
                          "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT"}.items():  # fmt: skip
        assert MASKS[letter] == sum(MASKS[base] for base in bases)
    assert encode("acgtu-", "x").tolist() == [1, 2, 4, 8, 8, 16]


SETS = """#NEXUS
begin data; dimensions nchar=9; format datatype=dna; matrix
a ACGTACGTA
b AAGTACGTC
c ACGTTCGTG
;
end;
begin assumptions;
  charset first = 1-.\\3;
  charset 'second one' = 2 5 8;
  charset rest = 3-9\\3;
  charset both = first rest;
  charpartition codon = one: first, two: 'second one';
end;
begin mrbayes; partition all3 = 3: first, 'second one', rest; end;
"""


def test_sets_of_sites_and_partitions(tmp_path):
    alignment = read(tmp_path, SETS)
    sets = {name: (sites + 1).tolist() for name, sites in alignment.site_sets.items()}
    assert sets["first"] == sets["one"] == [1, 4, 7]
    assert sets["second one"] == [2, 5, 8]
    assert sets["both"] == [1, 3, 4, 6, 7, 9]
    assert alignment.partitions["all3"] == ("first", "second one", "rest")
    assert alignment.partitions["codon"] == ("one", "two")
    assert rows(alignment.take_sites("FIRST")) == {"a": "ATG", "b": "ATG", "c": "ATG"}
    with pytest.raises(InputError, match=r'no set of sites "frist" \(did you mean "first"'):
        alignment.take_sites("frist")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3-9\\3", "3-10", r"line 11: sites 3-10 are not within 1-9"),
        (
            "first rest",
            "first rst",
            r'line 12: "rst" is no site and no charset \(did you mean "rest"',
        ),
        ("2 5 8", "2 4 8", r"line 15: site 4 is in two sets of partition"),
        ("'second one', rest", "'second one', none", r'line 15: "none" is no charset'),
    ],
)
def test_bad_sets_are_named_with_their_line(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, SETS.replace(old, new))


def test_names_used_twice_equal_and_empty_sequences_are_warned_of(tmp_path):
    alignment = read(tmp_path, ">a\nACGT\n>a\nACGA\n>b\nACGT\n>c\n--??\n")
    assert alignment.names == ("a", "a_2", "b", "c")
    assert [warning.split(":")[0] for warning in alignment.warnings] == [
        'two sequences are named "a"',
        "2 sequences are identical (a, b)",
        "c",
    ]


NEXUS_LINES = FORMS["NEXUS"].split("\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a\nACGT\n>b\nACG\n>c\nACGT\n", 'sequence "b" has 3 sites where others have 4'),
        (">a\nACGT\n>b\nACZT\n>c\nACGT\n", '"Z" at position 3 of sequence "b"'),
        (">a\nACGT\n>b\nACGT\n", "has 2 sequence"),
        (">a\n>b\n>c\n", "sequences are empty"),
        (">a\nA\n>\nA\n", "line 3: a header without a name"),
        ("what is this", "is no alignment"),
        (" \n", "is empty"),
        ("a\0b", "not a text file"),
        ("4 4\na ACGT\nb ACGT\nc ACGT\n", "promises 4 sequences of 4 sites, but it has 3 lines"),
        ("3 4\na ACGT\nb ACG\nc ACGT\n", 'sequence "b" has 3 sites where others have 4'),
        ("3 5\na ACGT\nb ACGT\nc ACGT\n", "promises 3 sequences of 5 sites, but they have 4"),
        ("3 4\na ACGT\nb ACJT\nc ACGT\n", '"J" at position 3 of sequence "b"'),
        ("\n".join(NEXUS_LINES[:-2]), "line 3: this block is not closed"),
        (FORMS["NEXUS"].replace("nested] ", ""), "line 2: this comment lacks its ]"),
        (FORMS["NEXUS"].replace("middle]", "middle]]"), r"line 8: \] without \["),
        (FORMS["NEXUS"].replace("Matrix", "Matrx"), "line 3: this block has no MATRIX"),
        (FORMS["NEXUS"].replace("=DNA", "=protein"), "line 5: datatype protein"),
        (FORMS["NEXUS"].replace("ntax=3", "ntax=4"), "line 6: the matrix has 3 .* ntax=4"),
        (FORMS["NEXUS"].replace("nchar=10", "nchar=ten"), "line 4: nchar=ten is not a number"),
        (FORMS["NEXUS"].replace("(GT)", "(GT"), r'line 10: "\(" without its partner'),
        (FORMS["NEXUS"].replace("(GT)", "(GJ)"), r'"\(GJ\)" of sequence "Mus musculus"'),
        (FORMS["NEXUS"].replace("DATA", "TAXA"), "no DATA or CHARACTERS block .its blocks: TAXA"),
        (FORMS["NEXUS"].replace("END;", "END"), 'line 12: "END" lacks its semicolon'),
        ("#NEXUS\ntree x;\n", 'line 2: "tree" outside of a block'),
    ],
)  # fmt: skip
def test_bad_alignments(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read alignment"):
        read_alignment(tmp_path / "none.fasta")


@given(
    n_taxa=st.integers(3, 6),
    n_sites=st.integers(1, 30),
    seed=st.integers(0, 10**6),
    letters=st.sampled_from(["AC", "ACGTRN-?"]),
)
@settings(max_examples=40, deadline=None)
def test_patterns_hold_every_column(n_taxa, n_sites, seed, letters):
    random = np.random.default_rng(seed)
    choices = encode(letters, "")
    states = torch.from_numpy(choices[random.integers(len(choices), size=(n_taxa, n_sites))])
    names = tuple(f"t{i}" for i in range(n_taxa))
    patterns = Patterns.from_alignment(Alignment(names, states))
    columns = sorted(map(tuple, states.T.tolist()))
    spread = patterns.states.T.repeat_interleave(patterns.weights.long(), 0)
    assert sorted(map(tuple, spread.tolist())) == columns
    assert patterns.states.shape[1] == len(set(columns))
    chosen = patterns.take(names[2:0:-1])
    direct = Patterns.from_alignment(Alignment(names[2:0:-1], states[[2, 1]]))
    assert dict(zip(map(tuple, chosen.states.T.tolist()), chosen.weights.tolist(), strict=True)) == dict(
        zip(map(tuple, direct.states.T.tolist()), direct.weights.tolist(), strict=True)
    )  # fmt: skip
    assert chosen.n_sites == n_sites


def test_taking_unknown_or_repeated_taxa():
    patterns = Patterns.from_alignment(Alignment(("Homo", "Pan"), torch.ones(2, 3).byte()))
    with pytest.raises(InputError, match=r'"Homoo" is not .* \(did you mean "Homo"'):
        patterns.take(["Homoo"])
    with pytest.raises(InputError, match=r"given twice \(Pan\)"):
        patterns.take(["Pan", "Pan"])


# Numbers of patterns: taxa, sites and distinct columns counted by independent code.
@pytest.mark.parametrize(
    ("name", "n_taxa", "n_sites", "n_patterns"),
    [("DS1", 27, 1949, 934), ("DS2", 29, 2520, 1253), ("DS4", 41, 1137, 769), ("DS8", 64, 1008, 407)],
)  # fmt: skip
def test_benchmark_alignments(reference_data, name, n_taxa, n_sites, n_patterns):
    patterns = Patterns.from_alignment(read_alignment(reference_data(f"phylogeny/{name}.fasta")))
    assert patterns.states.shape == (n_taxa, n_patterns)
    assert float(patterns.weights.sum()) == patterns.n_sites == n_sites


def test_the_embedded_alignment():
    alignment = read_alignment(EMBEDDED)
    assert alignment.states.shape == (16, 600)
    assert alignment.warnings == ()
