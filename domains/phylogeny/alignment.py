"""Alignments of nucleotide sequences, read from FASTA, PHYLIP or NEXUS.

The format is seen in the file: NEXUS begins with #NEXUS, FASTA with >, PHYLIP with two numbers. What
a reader finds odd but usable (two sequences of one name, equal sequences) is kept in
`Alignment.warnings` for the caller to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from domains.phylogeny.characters import GAP, UNKNOWN, encode
from workbench.errors import InputError, nearest

SMALLEST = 3
N_NAMED = 5  # a message lists this many names at most


@dataclass(frozen=True)
class Alignment:
    """Aligned sequences.

    names          of the taxa, all different
    states         [taxon, site] bit masks of `domains.phylogeny.characters`
    file_format    what the file was read as, in words
    site_sets      named sets of sites (from 0) that the file declares
    partitions     named lists of site sets
    warnings       one sentence each
    """

    names: tuple[str, ...]
    states: UInt8[Tensor, "taxon site"]
    file_format: str = ""
    site_sets: Mapping[str, Int64[np.ndarray, "site"]] = field(default_factory=dict)
    partitions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def n_sites(self) -> int:
        return self.states.shape[1]

    def take_sites(self, name: str) -> Alignment:
        """The sites of one of `site_sets` (names are compared without case). Sets of sites and
        partitions, which count all sites, are left behind.

        Raises InputError for an unknown name.
        """
        by_name = {known.lower(): sites for known, sites in self.site_sets.items()}
        if name.lower() not in by_name:
            listed = ", ".join(self.site_sets) or "none"
            hint = nearest(name, self.site_sets)
            raise InputError(f'no set of sites "{name}"{hint}: the alignment declares {listed}')
        chosen = torch.from_numpy(by_name[name.lower()])
        return replace(self, states=self.states[:, chosen], site_sets={}, partitions={})


def read_alignment(path: Path) -> Alignment:
    """The alignment in a FASTA, PHYLIP or NEXUS file.

    Raises InputError for a file that cannot be read, of another format, with fewer than 3 taxa, with
    sequences of unequal length or with characters that are no nucleotides.
    """
    from domains.phylogeny.nexus import is_nexus
    from domains.phylogeny.readers_fasta import read_fasta
    from domains.phylogeny.readers_nexus import read_nexus
    from domains.phylogeny.readers_phylip import is_phylip, read_phylip

    text = read_text(path, "alignment")
    if is_nexus(text):
        return read_nexus(text, path.name)
    if text.lstrip().startswith(">"):
        return read_fasta(text, path.name)
    if is_phylip(text):
        return read_phylip(text, path.name)
    raise InputError(
        f"{path} is no alignment: FASTA begins with >, NEXUS with #NEXUS, PHYLIP with two numbers"
    )


def read_text(path: Path, what: str) -> str:
    """The text of a file, line ends as newlines, without a byte order mark.

    Raises InputError where it is missing, empty or not text.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "\0" in text:
        raise InputError(f"{what} {path} is not a text file: give FASTA, PHYLIP, NEXUS or Newick")
    if not text.strip():
        raise InputError(f"{what} {path} is empty: check how it was made")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def assembled(
    names: Sequence[str], sequences: Sequence[str], source: str, file_format: str
) -> Alignment:
    """An alignment from its rows, checked. Raises InputError, see `read_alignment`."""
    if len(names) < SMALLEST:
        raise InputError(
            f"{source} has {len(names)} sequence(s): a tree needs {SMALLEST} taxa or more"
        )
    check_lengths(names, sequences, source)
    unique, warnings = _made_unique(names)
    rows = [encode(sequence, name) for name, sequence in zip(unique, sequences, strict=True)]
    states = torch.from_numpy(np.stack(rows))
    warnings += _equal_sequences(unique, states) + _empty_sequences(unique, states)
    return Alignment(tuple(unique), states, file_format, warnings=tuple(warnings))


def check_lengths(names: Sequence[str], sequences: Sequence[str], source: str) -> None:
    """Raises InputError, naming the first sequence that differs from the commonest length."""
    lengths = [len(sequence) for sequence in sequences]
    usual = max(set(lengths), key=lambda length: (lengths.count(length), -lengths.index(length)))
    if usual == 0:
        raise InputError(f"{source}: the sequences are empty: check the file")
    for name, length in zip(names, lengths, strict=True):
        if length != usual:
            raise InputError(
                f'{source}: sequence "{name}" has {length} sites where others have {usual}: align '
                "the sequences first"
            )


def _made_unique(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names with _2, _3, ... behind those that were there already, and a warning for each."""
    unique: list[str] = []
    warnings: list[str] = []
    taken = set(names)
    for name in names:
        new, count = name, 2
        if name in unique:
            while new in taken:
                new, count = f"{name}_{count}", count + 1
            taken.add(new)
            warnings.append(f'two sequences are named "{name}": the later one is called "{new}"')
        unique.append(new)
    return unique, warnings


def _equal_sequences(names: Sequence[str], states: Tensor) -> list[str]:
    groups: dict[bytes, list[str]] = {}
    for name, row in zip(names, states.numpy(), strict=True):
        groups.setdefault(row.tobytes(), []).append(name)
    return [
        f"{len(group)} sequences are identical ({_listed(group)}): the data cannot resolve them"
        for group in groups.values()
        if len(group) > 1
    ]


def _empty_sequences(names: Sequence[str], states: Tensor) -> list[str]:
    empty = torch.isin(states, torch.tensor([GAP, UNKNOWN], dtype=torch.uint8)).all(1)
    found = [name for name, is_empty in zip(names, empty.tolist(), strict=True) if is_empty]
    return [f"{_listed(found)}: gaps and unknown bases only, placed by chance"] if found else []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
