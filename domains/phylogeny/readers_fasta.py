"""FASTA alignments: `>name description`, then the sequence on one or more lines."""

from __future__ import annotations

from domains.phylogeny.alignment import Alignment, assembled
from workbench.errors import InputError


def read_fasta(text: str, source: str) -> Alignment:
    """The name is the first word of the header; blanks in sequences are dropped.

    Raises InputError as `read_alignment`, and with the line number for a header without a name.
    """
    names: list[str] = []
    parts: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(">"):
            words = line[1:].split()
            if not words:
                raise InputError(f"{source}, line {number}: a header without a name: write >name")
            names.append(words[0])
            parts.append([])
        elif parts and not line.startswith(";"):
            parts[-1].append("".join(line.split()))
    return assembled(names, ["".join(lines) for lines in parts], source, "FASTA")
