"""The 230 space groups and their Wyckoff positions, from the embedded table (data/make_wyckoff.py).

Positions are numbered over all groups; those of group `number` (1 to 230) are
`first_position[number - 1]` to `first_position[number]`, letter a first. Atoms are those of the
primitive cell: in fractional coordinates of the conventional cell, atom k of a position lies at
matrix[k] (x, y, z) + offset[k] / 24, where `free` says which of x, y, z the position leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

N_GROUPS = 230
SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
LETTERS = "abcdefghijklmnopqrstuvwxyzA"

# Rows: primitive vectors in the conventional basis, by centring P A C I F R (obverse).
PRIMITIVE = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1 / 2, -1 / 2], [0, 1 / 2, 1 / 2]],
        [[1 / 2, 1 / 2, 0], [-1 / 2, 1 / 2, 0], [0, 0, 1]],
        [[-1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [1 / 2, 1 / 2, -1 / 2]],
        [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]],
        [[2 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, 1 / 3], [-1 / 3, -2 / 3, 1 / 3]],
    ]
)

# Pairs of groups that are each other's mirror image: a crystal of one is, reflected, one of the other.
MIRROR_PAIRS = (
    (76, 78),
    (91, 95),
    (92, 96),
    (144, 145),
    (151, 153),
    (152, 154),
    (169, 170),
    (171, 172),
    (178, 179),
    (180, 181),
    (212, 213),
)


@dataclass(frozen=True)
class Wyckoff:
    """The tables, read-only.

    symbol, system, centring   per group; `system` numbers `SYSTEMS`, `centring` rows of `PRIMITIVE`
    first_position             [231], where the positions of each group begin
    multiplicity, free         per position: atoms in the primitive cell, and [3] free coordinates
    first_atom                 where the maps of each position begin
    matrix, offset             per atom: [3, 3] and [3], the latter in 24ths
    permutations               per group: [alternative, position], see data/make_wyckoff.py
    """

    symbol: np.ndarray
    system: np.ndarray
    centring: np.ndarray
    first_position: np.ndarray
    multiplicity: np.ndarray
    free: np.ndarray
    first_atom: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray
    permutations: tuple[np.ndarray, ...]

    def positions(self, group: int) -> range:
        """Numbers of the positions of a group, 1 to 230."""
        return range(int(self.first_position[group - 1]), int(self.first_position[group]))

    def letter(self, position: int) -> str:
        """The Wyckoff letter of a position."""
        group = int(np.searchsorted(self.first_position, position, side="right"))
        return LETTERS[position - int(self.first_position[group - 1])]


@cache
def wyckoff() -> Wyckoff:
    """The tables, read once per process."""
    with np.load(Path(__file__).parent / "data" / "wyckoff.npz") as stored:
        tables = {name: stored[name] for name in stored.files}
    flat, starts = tables.pop("permutations"), tables.pop("first_permutation")
    first, permutations, begin = tables["first_position"], [], 0
    for group in range(N_GROUPS):
        n_positions = int(first[group + 1] - first[group])
        n_rows = int(starts[group + 1] - starts[group])
        end = begin + n_rows * n_positions
        permutations.append(flat[begin:end].reshape(n_rows, n_positions).astype(np.int64))
        begin = end
    first_atom = np.concatenate([[0], np.cumsum(tables["multiplicity"], dtype=np.int64)])
    return Wyckoff(first_atom=first_atom, permutations=tuple(permutations), **tables)
