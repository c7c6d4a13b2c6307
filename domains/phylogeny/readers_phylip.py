"""PHYLIP alignments: a line with the numbers of taxa and sites, then the sequences.

Four forms go by this name. Names end at the first blank (relaxed) or after ten characters, blanks
included (strict); a sequence stands in one piece, on one or more lines (sequential), or in blocks of
one line per taxon (interleaved). The file does not say which: the first form under which every
sequence has as many nucleotides as the first line says is taken, in the order of `FORMS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from domains.phylogeny.alignment import Alignment, assembled, check_lengths
from domains.phylogeny.characters import encode
from workbench.errors import InputError

STRICT_WIDTH = 10
Rows = tuple[list[str], list[str]]
Split = Callable[[str], tuple[str, str]]


def is_phylip(text: str) -> bool:
    return (
        re.match(r"\s*\d+\s+\d+\s*($|[a-zA-Z]?\s*$)", text.lstrip().split("\n", 1)[0]) is not None
    )


def read_phylip(text: str, source: str) -> Alignment:
    """Raises InputError as `read_alignment`, and where no form fits the numbers of the first line."""
    lines = [line for line in text.splitlines() if line.strip()]
    n_taxa, n_sites = (int(number) for number in lines[0].split()[:2])
    for layout, read in (("interleaved", _interleaved), ("sequential", _sequential)):
        for naming, split in (("relaxed", _relaxed), ("strict", _strict)):
            rows = read(lines[1:], n_taxa, n_sites, split)
            if rows is not None and _fits(rows, n_sites):
                one_line = "" if len(lines) - 1 == n_taxa else f", {layout}"
                return assembled(*rows, source, f"PHYLIP, {naming} names{one_line}")
    raise _why(lines[1:], n_taxa, n_sites, source)


def _relaxed(line: str) -> tuple[str, str]:
    name, _, rest = (
        line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
    )
    return name, "".join(rest.split())


def _strict(line: str) -> tuple[str, str]:
    return line[:STRICT_WIDTH].strip(), "".join(line[STRICT_WIDTH:].split())


def _interleaved(lines: list[str], n_taxa: int, n_sites: int, split: Split) -> Rows | None:
    """Blocks of `n_taxa` lines; later ones may repeat the names."""
    if n_taxa == 0 or len(lines) % n_taxa:
        return None
    names, sequences = (list(part) for part in zip(*map(split, lines[:n_taxa]), strict=True))
    for i, line in enumerate(lines[n_taxa:]):
        name, rest = split(line)
        repeated = name == names[i % n_taxa] and rest != ""
        sequences[i % n_taxa] += rest if repeated else "".join(line.split())
    return names, sequences


def _sequential(lines: list[str], n_taxa: int, n_sites: int, split: Split) -> Rows | None:
    """Each sequence goes on over as many lines as it needs; a name may stand on a line of its own."""
    names: list[str] = []
    sequences: list[str] = []
    for line in lines:
        if sequences and len(sequences[-1]) < n_sites:
            sequences[-1] += "".join(line.split())
            continue
        name, rest = split(line)
        names.append(name)
        sequences.append(rest)
    return (names, sequences) if len(names) == n_taxa else None


def _fits(rows: Rows, n_sites: int) -> bool:
    names, sequences = rows
    if not all(names) or any(len(sequence) != n_sites for sequence in sequences):
        return False
    try:
        for name, sequence in zip(names, sequences, strict=True):
            encode(sequence, name)
    except InputError:
        return False
    return True


def _why(lines: list[str], n_taxa: int, n_sites: int, source: str) -> InputError:
    """What is wrong, judged by the commonest form that has the right number of sequences."""
    promised = f"the first line promises {n_taxa} sequences of {n_sites} sites"
    rows = _interleaved(lines, n_taxa, n_sites, _relaxed)
    if rows is None:
        rows = _sequential(lines, n_taxa, n_sites, _relaxed)
    if rows is None:
        return InputError(f"{source}: {promised}, but it has {len(lines)} lines: check the numbers")
    try:
        check_lengths(*rows, source)
        for name, sequence in zip(*rows, strict=True):
            if len(sequence) == n_sites:
                encode(sequence, name)
    except InputError as error:
        return error
    return InputError(
        f"{source}: {promised}, but they have {len(rows[1][0])} sites: check the numbers"
    )
