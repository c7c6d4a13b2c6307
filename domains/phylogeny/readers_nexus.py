"""NEXUS alignments: the DATA or CHARACTERS block, and the sets of sites that go with it.

Read are the matrix (interleaved or not, with its own signs for gap, missing and match, and ambiguous
characters as {AC} or (AC)), and of the SETS and ASSUMPTIONS blocks `charset` and `charpartition`
(also MrBayes' `partition`).
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from domains.phylogeny.alignment import Alignment, assembled
from domains.phylogeny.characters import LETTERS, MASKS
from domains.phylogeny.nexus import Block, Command, read_blocks, unquoted
from domains.phylogeny.site_sets import read_partitions, read_site_sets
from workbench.errors import InputError

_NAME = re.compile(r"\s*('(?:[^'\n]|'')*'|\S+)")


def read_nexus(text: str, source: str) -> Alignment:
    """Raises InputError as `read_alignment`; what cannot be read is named with its line."""
    blocks = read_blocks(text, source)
    data = next((block for block in blocks if block.name in ("data", "characters")), None)
    if data is None:
        found = ", ".join(block.name.upper() for block in blocks) or "none"
        raise InputError(f"{source} has no DATA or CHARACTERS block (its blocks: {found})")
    alignment = _read_data(data, source)
    site_sets = read_site_sets(blocks, alignment.n_sites, source)
    partitions = read_partitions(blocks, site_sets, alignment.n_sites, source)
    return replace(alignment, site_sets=site_sets, partitions=partitions)


def _read_data(block: Block, source: str) -> Alignment:
    matrix = block.find("matrix")
    if matrix is None:
        raise InputError(f"{source}, line {block.line}: this block has no MATRIX: add one")
    form = block.find("format")
    options = form.options() if form else {}
    kind = options.get("datatype", "dna").lower()
    if kind not in ("dna", "rna", "nucleotide"):
        line = form.line if form else block.line
        raise InputError(
            f"{source}, line {line}: datatype {kind}: only DNA, RNA, NUCLEOTIDE are read"
        )
    sizes = block.find("dimensions")
    n_sites = _number(sizes, "nchar", source)
    interleaved = options.get("interleave", "no").lower() != "no"
    names, sequences = _rows(matrix, interleaved, n_sites, source)
    n_taxa = _number(sizes, "ntax", source)
    if n_taxa is not None and n_taxa != len(names):
        raise InputError(
            f"{source}, line {matrix.line}: the matrix has {len(names)} sequences where DIMENSIONS "
            f"says ntax={n_taxa}: correct one of them"
        )
    plain = _plain_letters(names, sequences, options, matrix, source)
    alignment = assembled(names, plain, source, "NEXUS, interleaved" if interleaved else "NEXUS")
    if n_sites is not None and n_sites != alignment.n_sites:
        raise InputError(
            f"{source}, line {matrix.line}: the sequences have {alignment.n_sites} sites where "
            f"DIMENSIONS says nchar={n_sites}: correct one of them"
        )
    return alignment


def _number(sizes: Command | None, key: str, source: str) -> int | None:
    value = sizes.options().get(key) if sizes else None
    if value is None or sizes is None:
        return None
    if not value.isdigit():
        raise InputError(f"{source}, line {sizes.line}: {key}={value} is not a number: correct it")
    return int(value)


def _rows(
    matrix: Command, interleaved: bool, n_sites: int | None, source: str
) -> tuple[list[str], list[list[str]]]:
    """Names and sequences, each a list of characters or of ambiguous groups such as {AC}."""
    rows: dict[str, list[str]] = {}
    names: list[str] = []
    current = ""
    for offset, line in enumerate(matrix.text.split("\n")):
        if not line.strip():
            continue
        going_on = n_sites is not None and current and len(rows[current]) < n_sites
        if going_on and not interleaved:
            rows[current] += _characters(line, matrix.line + offset, source)
            continue
        match = _NAME.match(line)
        name = unquoted(match.group(1)) if match else ""
        sites = _characters(line[match.end() if match else 0 :], matrix.line + offset, source)
        if interleaved and name in rows:
            rows[name] += sites
            continue
        # Two sequences of one name are told apart by the order; `assembled` warns of them.
        current = name if name not in rows else f"{name}\n{len(rows)}"
        rows[current] = sites
        names.append(name)
    return names, list(rows.values())


def _characters(text: str, line: int, source: str) -> list[str]:
    found = re.findall(r"\{[^{}]*\}|\([^()]*\)|\S", text)
    stray = next((sign for sign in found if sign in "{}()"), None)
    if stray:
        raise InputError(f'{source}, line {line}: "{stray}" without its partner: write {{AC}}')
    return found


def _plain_letters(
    names: list[str],
    sequences: list[list[str]],
    options: dict[str, str],
    matrix: Command,
    source: str,
) -> list[str]:
    """The rows with the file's own signs replaced by the usual ones."""
    gap, missing = options.get("gap", "-"), options.get("missing", "?")
    match_sign = options.get("matchchar")
    first = sequences[0] if sequences else []
    plain = []
    for name, sequence in zip(names, sequences, strict=True):
        letters = []
        for at, sign in enumerate(sequence):
            if sign == match_sign and sequence is not first and at < len(first):
                sign = first[at]
            if sign == gap:
                sign = "-"
            elif sign == missing:
                sign = "?"
            elif len(sign) > 1:
                sign = _ambiguous(sign, name, matrix, source)
            letters.append(sign)
        plain.append("".join(letters))
    return plain


def _ambiguous(group: str, name: str, matrix: Command, source: str) -> str:
    masks = [MASKS.get(letter.upper(), 0) for letter in group[1:-1] if letter not in ", "]
    mask = int(np.bitwise_or.reduce(masks)) if masks else 0
    if 0 in masks or mask not in LETTERS:
        raise InputError(
            f'{source}, line {matrix.line}: "{group}" of sequence "{name}" is no set of bases: write '
            "{AC}"
        )
    return LETTERS[mask]
