"""The samples in the formats of the field: CIF, extended XYZ, and a table of distinct structures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pymatgen.core import Structure

from domains.crystals.structures import extended_xyz, space_group, structures, write_cif
from pipelines.crystals.evaluation import Comparison
from pipelines.crystals.training import Drawn
from workbench.runs.files import write_text
from workbench.runs.folder import RunFolder

_COLUMNS = (
    "cif",
    "formula",
    "space_group",
    "n_atoms",
    "formation_energy_ev_per_atom",
    "log_probability",
    "count",
    "prototype",
)


def cif_name(row: int, cell: Structure) -> str:
    """File name of a sample."""
    return f"{row:05d}-{cell.composition.reduced_formula}.cif"


def write_cifs(folder: Path, cells: Sequence[Structure]) -> list[Path]:
    """One file per sample, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.cif"):
        old.unlink()
    paths = [folder / cif_name(row, cell) for row, cell in enumerate(cells)]
    for path, cell in zip(paths, cells, strict=True):
        write_cif(cell, path)
    return paths


def write_extended_xyz(
    path: Path,
    drawn: Drawn,
    cells: Sequence[Structure],
    energies_ev_per_atom: Float[np.ndarray, "crystal"],
) -> None:
    """All samples as frames, with energies and log-probabilities."""
    frames = [
        extended_xyz(
            cell,
            {
                "formation_energy_ev_per_atom": f"{energies_ev_per_atom[i]:.6f}",
                "log_probability": f"{drawn.log_probability[i]:.6f}",
                "space_group": int(drawn.crystals.group[i]),
            },
        )
        for i, cell in enumerate(cells)
    ]
    write_text(path, "".join(frames))


def write_samples(c: Comparison, folder: RunFolder) -> None:
    """crystals.csv with a row per distinct structure, lowest first; all samples as crystals.extxyz; the
    relaxed ones as CIF and in relaxed.csv."""
    judged = c.judged
    write_extended_xyz(
        folder.samples / "crystals.extxyz", judged.drawn, judged.cells, judged.energies_ev_per_atom
    )
    rows = [_row(c, int(row)) for row in judged.representatives]
    _write_csv(folder.samples / "crystals.csv", _COLUMNS, rows)
    if c.relaxed is not None:
        _write_relaxed(c, folder)


def _row(c: Comparison, row: int) -> list[object]:
    judged, cell = c.judged, c.judged.cells[row]
    count = int((judged.group_of == judged.group_of[row]).sum())
    return [
        f"cif/{cif_name(row, cell)}",
        cell.composition.reduced_formula,
        int(judged.drawn.crystals.group[row]),
        len(cell),
        f"{judged.energies_ev_per_atom[row]:.6f}",
        f"{judged.drawn.log_probability[row]:.6f}",
        count,
        judged.prototype[row],
    ]


def _write_relaxed(c: Comparison, folder: RunFolder) -> None:
    assert c.relaxed is not None
    after = c.relaxed
    cells = structures(after.found.crystals)
    names = [path.name for path in write_cifs(folder.samples / "relaxed", cells)]
    rows: list[list[object]] = []
    for i, before in enumerate(after.before_ev_per_atom):
        rows.append(
            [
                f"relaxed/{names[i]}",
                cells[i].composition.reduced_formula,
                space_group(cells[i]),
                len(cells[i]),
                f"{after.found.energy_ev_per_atom[i]:.6f}",
                f"{before:.6f}",
                bool(after.kept[i]),
            ]
        )
    header = (
        *("cif", "formula", "space_group", "n_atoms", "formation_energy_ev_per_atom"),
        *("formation_energy_before_ev_per_atom", "keeps_prototype"),
    )
    _write_csv(folder.samples / "relaxed.csv", header, rows)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
