"""Write wyckoff.npz: the Wyckoff positions of all 230 space groups as integer affine maps.

    python domains/crystals/data/make_wyckoff.py

Needs pyxtal (MIT), whose tables restate the International Tables for Crystallography, volume A, and the
equivalent descriptions listed by the Bilbao server's WYCKSETS. Standard settings: monoclinic with
unique axis b, the second origin where there are two, hexagonal axes for rhombohedral lattices.

Per group        symbol, system (0 triclinic ... 6 cubic), centring (index into CENTRINGS)
Per position     multiplicity in the primitive cell, which of x, y, z are free, and for each atom of the
                 primitive orbit a map: fractional conventional coordinates = matrix (x, y, z) + offset / 24
Per alternative  a permutation of the positions that leaves the set of crystals unchanged
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pyxtal.symmetry import Group

CENTRINGS = "PACIFR"
_SYSTEMS = {
    "triclinic": 0,
    "monoclinic": 1,
    "orthorhombic": 2,
    "tetragonal": 3,
    "trigonal": 4,
    "hexagonal": 5,
    "cubic": 6,
}


def _primitive_maps(position, translations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps of one orbit, one for each set of atoms that differ by a centring translation."""
    matrices, offsets = [], []
    seen: set[tuple[int, ...]] = set()
    for op in position.ops:
        matrix = np.rint(op.affine_matrix[:3, :3]).astype(int)
        offset = np.rint(op.affine_matrix[:3, 3] * 24).astype(int) % 24
        copies = {(*matrix.ravel(), *((offset + t) % 24)) for t in translations}
        if not copies & seen:
            seen |= copies
            matrices.append(matrix)
            offsets.append(offset)
    assert len(matrices) * len(translations) == len(position.ops)
    return np.array(matrices), np.array(offsets)


def _permutations(group: Group) -> np.ndarray:
    letters = [position.letter for position in reversed(group.Wyckoff_positions)]
    rows = [row.split() for row in group.get_alternatives()["Transformed WP"]]
    return np.unique([[letters.index(letter) for letter in row] for row in rows], axis=0)


def build() -> dict[str, np.ndarray]:
    """All tables, ragged ones as flat arrays with their starts."""
    symbols, systems, centrings = [], [], []
    positions, free, matrices, offsets = [0], [], [], []
    multiplicity, permutations, n_permutations = [], [], [0]
    for number in range(1, 231):
        group = Group(number)
        general = group[0]
        identity = [op for op in general.ops if np.allclose(op.rotation_matrix, np.eye(3))]
        translations = np.rint([op.translation_vector * 24 for op in identity]).astype(int) % 24
        symbols.append(group.symbol)
        systems.append(_SYSTEMS[group.lattice_type])
        centrings.append(CENTRINGS.index(group.symbol[0]))
        for position in reversed(group.Wyckoff_positions):
            matrix, offset = _primitive_maps(position, translations)
            used = np.abs(matrix).sum((0, 1)) > 0
            assert used.sum() == position.get_dof(), (number, position.letter)
            multiplicity.append(len(matrix))
            free.append(used)
            matrices.append(matrix)
            offsets.append(offset)
        positions.append(len(multiplicity))
        rows = _permutations(group)
        permutations.append(rows.ravel())
        n_permutations.append(n_permutations[-1] + len(rows))
    return {
        "symbol": np.array(symbols),
        "system": np.array(systems, dtype=np.int8),
        "centring": np.array(centrings, dtype=np.int8),
        "first_position": np.array(positions, dtype=np.int32),
        "multiplicity": np.array(multiplicity, dtype=np.int16),
        "free": np.array(free, dtype=np.bool_),
        "matrix": np.concatenate(matrices).astype(np.int8),
        "offset": np.concatenate(offsets).astype(np.int8),
        "permutations": np.concatenate(permutations).astype(np.int8),
        "first_permutation": np.array(n_permutations, dtype=np.int32),
    }


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("wyckoff.npz"), **build())  # type: ignore[arg-type]
