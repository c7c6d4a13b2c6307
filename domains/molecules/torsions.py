"""Torsions, distances and other geometric variables of molecules, by name or by atom index.

A coordinate is written

    phi  psi  omega  chi1            where the molecule has one such torsion
    phi2  psi2  omega2  chi12        of the residue at that place, counted from 1 with the caps
    torsion(4,6,8,14)                of four atoms, counted from 0
    distance(1,5)                    of two atoms, counted from 0

Torsions follow IUPAC-IUB, "Abbreviations and symbols for the description of the conformation of
polypeptide chains" (1970): radians in [-pi, pi], zero when eclipsed (cis), positive clockwise.
    phi = C(i-1) N CA C     psi = N CA C N(i+1)     omega = CA C N(i+1) CA(i+1)     chi1 = N CA CB
    *G
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError, nearest

_GAMMA = ("CG", "CG1", "SG", "OG", "OG1")


@dataclass(frozen=True)
class Coordinate:
    """A torsion (four atoms, radians) or a distance (two atoms, nm); atoms counted from 0."""

    name: str
    atoms: tuple[int, ...]

    @property
    def is_torsion(self) -> bool:
        return len(self.atoms) == 4

    @property
    def unit(self) -> str:
        return "rad" if self.is_torsion else "nm"

    def values(self, x_nm: Float[Tensor, "sample atom 3"]) -> Float[Tensor, "sample"]:
        """The coordinate of each sample, in radians or nm."""
        if self.is_torsion:
            return torsion(x_nm[:, self.atoms])
        return torch.linalg.vector_norm(x_nm[:, self.atoms[0]] - x_nm[:, self.atoms[1]], dim=-1)


def torsion(x: Float[Tensor, "*batch 4 3"]) -> Float[Tensor, "*batch"]:
    """Dihedral angle of four points, in radians; arbitrary where three in a row lie on a line."""
    first, axis, last = torch.diff(x, dim=-2).unbind(-2)
    before = torch.linalg.cross(first, axis)
    after = torch.linalg.cross(axis, last)
    sine = (first * after).sum(-1) * torch.linalg.vector_norm(axis, dim=-1)
    return torch.atan2(sine, (before * after).sum(-1))


def radius_of_gyration(
    x: Float[Tensor, "sample particle space"],
    masses: Float[Tensor, "particle"] | None = None,
) -> Float[Tensor, "sample"]:
    """Root of the (mass-weighted) mean squared distance from the centre, in the unit of `x`."""
    share = torch.ones(x.shape[1]) if masses is None else masses
    share = (share / share.sum()).to(x)[:, None]
    offset = x - (share * x).sum(1, keepdim=True)
    return (share * offset.square()).sum((1, 2)).sqrt()


def named_torsions(topology: Any) -> dict[str, tuple[int, int, int, int]]:
    """Every backbone torsion and chi1 of an OpenMM `Topology`, as "phi2", "psi2", ... -> atoms.

    The number is the residue's place in the topology counted from 1. Residues are neighbours where
    their C and N are bonded (or, in a topology without bonds, follow each other in one chain).
    """
    residues = list(topology.residues())
    atoms = [{atom.name: atom.index for atom in residue.atoms()} for residue in residues]
    follows = _peptide_bonds(topology, residues, atoms)
    found: dict[str, tuple[int, int, int, int]] = {}
    for i, here in enumerate(atoms):
        place = i + 1
        before = atoms[i - 1] if i > 0 and follows[i - 1] else {}
        after = atoms[i + 1] if follows[i] else {}
        if {"N", "CA", "C"} <= here.keys():
            if "C" in before:
                found[f"phi{place}"] = (before["C"], here["N"], here["CA"], here["C"])
            if "N" in after:
                found[f"psi{place}"] = (here["N"], here["CA"], here["C"], after["N"])
            gamma = _first(here, *_GAMMA)
            if gamma is not None and "CB" in here:
                found[f"chi1{place}"] = (here["N"], here["CA"], here["CB"], gamma)
        if after:
            start, end = _first(here, "CA", "CH3"), _first(after, "CA", "CH3", "C")
            if start is not None and end is not None:
                found[f"omega{place}"] = (start, here["C"], after["N"], end)
    return found


def chirality_centres(topology: Any) -> Int[Tensor, "centre 4"]:
    """Atoms CA, N, C, CB of every amino acid with a side chain, counted from 0."""
    atoms = [{atom.name: atom.index for atom in r.atoms()} for r in topology.residues()]
    names = ("CA", "N", "C", "CB")
    rows = [[residue[name] for name in names] for residue in atoms if residue.keys() >= set(names)]
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 4)


def chirality_sign(
    x: Float[Tensor, "sample atom 3"], centres: Int[Tensor, "centre 4"]
) -> Float[Tensor, "sample centre"]:
    """+1 for an L amino acid, -1 for a D one: the sign of (N-CA) . (C-CA) x (CB-CA)."""
    alpha, nitrogen, carbon, beta = (x[:, centres[:, i]] for i in range(4))
    normal = torch.linalg.cross(carbon - alpha, beta - alpha)
    return torch.sign(((nitrogen - alpha) * normal).sum(-1))


def parse_coordinate(
    text: str, n_atoms: int, torsions: Mapping[str, tuple[int, int, int, int]]
) -> Coordinate:
    """The coordinate that `text` names; `torsions` as given by `named_torsions`.

    Raises `InputError` for an unknown name (with the nearest), an ambiguous one (with the choices),
    or atoms that are not there.
    """
    text = text.strip()
    call = re.fullmatch(r"(\w+)\s*\(([^()]*)\)", text)
    if call:
        return Coordinate(text, _atoms(text, call[1], call[2], n_atoms))
    if text in torsions:
        return Coordinate(text, torsions[text])
    same = [name for name in torsions if _kind(name) == text]
    if len(same) == 1:
        return Coordinate(text, torsions[same[0]])
    if same:
        raise InputError(
            f'"{text}" could be any of {", ".join(same)}: give the residue, counted from 1 '
            "with the caps."
        )
    known = sorted({*torsions, *(_kind(name) for name in torsions)})
    raise InputError(
        f'"{text}" is not a coordinate of this molecule{nearest(text, known)}: take one of '
        f"{', '.join(known) or 'none named'}, torsion(i,j,k,l) or distance(i,j) with atoms from 0."
    )


def _atoms(text: str, kind: str, listed: str, n_atoms: int) -> tuple[int, ...]:
    expected = {"torsion": 4, "distance": 2}
    if kind not in expected:
        raise InputError(
            f'"{text}" is not a coordinate{nearest(kind, expected)}: write torsion(i,j,k,l) or '
            "distance(i,j) with atoms from 0."
        )
    words = [word.strip() for word in listed.split(",")]
    if not all(word.isdecimal() for word in words):
        raise InputError(f'"{text}" must list atom numbers from 0 to {n_atoms - 1}.')
    atoms = tuple(int(word) for word in words)
    if len(atoms) != expected[kind] or len(set(atoms)) != len(atoms) or max(atoms) >= n_atoms:
        raise InputError(
            f'"{text}" must name {expected[kind]} different atoms from 0 to {n_atoms - 1}.'
        )
    return atoms


def _kind(name: str) -> str:
    """The torsion's name without its residue: "phi2" -> "phi", "chi12" -> "chi1"."""
    return "chi1" if name.startswith("chi1") else name.rstrip("0123456789")


def _first(atoms: Mapping[str, int], *names: str) -> int | None:
    return next((atoms[name] for name in names if name in atoms), None)


def _peptide_bonds(topology: Any, residues: list[Any], atoms: list[dict[str, int]]) -> list[bool]:
    """[residue] whether the residue's C is bonded to the N of the next."""
    bonds = {frozenset((bond[0].index, bond[1].index)) for bond in topology.bonds()}
    linked = []
    for i, here in enumerate(atoms):
        after = atoms[i + 1] if i + 1 < len(atoms) else {}
        neighbours = "C" in here and "N" in after
        if neighbours and bonds:
            neighbours = frozenset((here["C"], after["N"])) in bonds
        elif neighbours:
            neighbours = residues[i].chain == residues[i + 1].chain
        linked.append(neighbours)
    return linked
