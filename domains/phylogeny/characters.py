"""Nucleotide characters as bit masks.

    A 1, C 2, G 4, T and U 8, gap "-" 16, unknown "?" 32

IUPAC codes are the masks of their bases (R = A or G = 5; N and X = 15). The likelihood takes gap and
unknown as missing (15). Parsimony has three readings of them, see `domains.phylogeny.parsimony`.
Codes: A. Cornish-Bowden, "Nomenclature for incompletely specified bases in nucleic acid sequences",
Nucleic Acids Res. 13, 3021 (1985).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from workbench.errors import InputError

GAP, UNKNOWN, ANY_BASE = 16, 32, 15
MASKS = {
    "A": 1, "C": 2, "G": 4, "T": 8, "U": 8,
    "M": 3, "R": 5, "W": 9, "S": 6, "Y": 10, "K": 12,
    "V": 7, "H": 11, "D": 13, "B": 14, "N": 15, "X": 15,
    "-": GAP, "?": UNKNOWN, ".": UNKNOWN,
}  # fmt: skip
LETTERS = {1: "A", 2: "C", 4: "G", 8: "T", 3: "M", 5: "R", 9: "W", 6: "S", 10: "Y", 12: "K",
           7: "V", 11: "H", 13: "D", 14: "B", 15: "N", GAP: "-", UNKNOWN: "?"}  # fmt: skip
_TABLE = np.zeros(256, np.uint8)
for _letter, _mask in MASKS.items():
    _TABLE[ord(_letter)] = _TABLE[ord(_letter.lower())] = _mask


def encode(sequence: str, name: str) -> UInt8[np.ndarray, "site"]:
    """The masks of one sequence. Raises InputError that names the character, the sequence and the
    position (from 1)."""
    raw = np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)
    masks = _TABLE[raw]
    unknown = np.flatnonzero(masks == 0)
    if len(unknown):
        at = int(unknown[0])
        raise InputError(
            f'"{sequence[at]}" at position {at + 1} of sequence "{name}" is no nucleotide: use '
            "A C G T U, IUPAC codes, - or ?"
        )
    return masks


def decode(masks: UInt8[Tensor, "site"]) -> str:
    """The sequence of masks, in capitals."""
    return "".join(LETTERS[mask] for mask in masks.tolist())
