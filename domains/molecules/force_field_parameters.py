"""A molecular force field as plain arrays: what the kernels and the torch path evaluate.

    E = sum_bonds k/2 (r - r0)^2 + sum_angles k/2 (theta - theta0)^2
      + sum_torsions [ c0 + sum_n A_n cos(n phi) + B_n sin(n phi) ] + sum_maps E(phi, psi)
      + sum_pairs [ q/r + c12/r^12 - c6/r^6 ] + generalised-Born solvation

Periodic and Ryckaert-Bellemans torsions both are Fourier series, and torsions on the same four
atoms are one series. Units kJ/mol, nm, rad, elementary charges; atoms are counted from zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

PROBE_NM = 0.14


@dataclass(frozen=True)
class BornModel:
    """One OBC force; see `_force_field_born_kernels` for the symbols.

    atoms      [atom, 4]: charge, offset radius o, scaled radius s, radius
    constants  alpha, beta, gamma of the Born radii
    coulomb    1/(4 pi eps0) in kJ/mol nm, as the force has it
    surface    energy of the surface term per area of the atoms, kJ/mol/nm^2; 0 = no such term
    complete   the term for engulfed atoms is present (`GBSAOBCForce`)
    """

    atoms: Float[ndarray, "atom 4"]
    constants: tuple[float, float, float]
    coulomb: float
    solute_dielectric: float
    solvent_dielectric: float
    surface: float
    complete: bool

    @property
    def strength(self) -> float:
        """K = coulomb (1/solute - 1/solvent dielectric), kJ/mol nm."""
        return self.coulomb * (1 / self.solute_dielectric - 1 / self.solvent_dielectric)

    @property
    def surface_terms(self) -> Float[ndarray, "atom"]:
        """S of S / B^6, kJ/mol nm^6: 4 pi surface (radius + probe)^2 radius^6, probe 0.14 nm."""
        radius = self.atoms[:, 3]
        return 4 * np.pi * self.surface * (radius + PROBE_NM) ** 2 * radius**6


@dataclass(frozen=True)
class ForceFieldParameters:
    """Every term that has a kernel.

    bond_parameters     (r0, k); k in kJ/mol/nm^2
    angle_parameters    (theta0, k); k in kJ/mol/rad^2
    torsion_orders      highest multiple n of each torsion
    torsion_parameters  (c0, A_1, B_1, A_2, B_2, ...)
    map_atoms           the four atoms of phi, then those of psi
    map_which           surface of each map term; surface m has `map_sizes[m]`^2 cells, from
                        `map_starts[m]` on in `map_coefficients [cell, 16]`, powers of phi slowest
    pair_atoms          i < j, sorted; pairs without interaction are absent
    pair_parameters     (q_i q_j / (4 pi eps0), c12, c6)
    """

    n_atoms: int
    bond_atoms: Int[ndarray, "bond 2"] = field(default_factory=partial(np.zeros, (0, 2), int))
    bond_parameters: Float[ndarray, "bond 2"] = field(default_factory=partial(np.zeros, (0, 2)))
    angle_atoms: Int[ndarray, "angle 3"] = field(default_factory=partial(np.zeros, (0, 3), int))
    angle_parameters: Float[ndarray, "angle 2"] = field(default_factory=partial(np.zeros, (0, 2)))
    torsion_atoms: Int[ndarray, "torsion 4"] = field(default_factory=partial(np.zeros, (0, 4), int))
    torsion_orders: Int[ndarray, "torsion"] = field(default_factory=partial(np.zeros, (0,), int))
    torsion_parameters: Float[ndarray, "torsion coefficient"] = field(
        default_factory=partial(np.zeros, (0, 1))
    )
    map_atoms: Int[ndarray, "map 8"] = field(default_factory=partial(np.zeros, (0, 8), int))
    map_which: Int[ndarray, "map"] = field(default_factory=partial(np.zeros, (0,), int))
    map_sizes: Int[ndarray, "surface"] = field(default_factory=partial(np.zeros, (0,), int))
    map_starts: Int[ndarray, "surface"] = field(default_factory=partial(np.zeros, (0,), int))
    map_coefficients: Float[ndarray, "cell 16"] = field(default_factory=partial(np.zeros, (0, 16)))
    pair_atoms: Int[ndarray, "pair 2"] = field(default_factory=partial(np.zeros, (0, 2), int))
    pair_parameters: Float[ndarray, "pair 3"] = field(default_factory=partial(np.zeros, (0, 3)))
    born: BornModel | None = None

    @cached_property
    def pair_starts(self) -> Int[ndarray, "atom_and_one"]:
        """Where the pairs of each first atom begin in `pair_atoms`."""
        return np.searchsorted(self.pair_atoms[:, 0], np.arange(self.n_atoms + 1)).astype(np.int64)


def merge(parts: Sequence[ForceFieldParameters]) -> ForceFieldParameters:
    """The sum of several force fields on the same atoms; at most one may have a Born model."""

    def joined(name: str) -> ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    widest = max(part.torsion_parameters.shape[1] for part in parts)
    series = [
        np.pad(p.torsion_parameters, ((0, 0), (0, widest - p.torsion_parameters.shape[1])))
        for p in parts
    ]
    surfaces = np.cumsum([0] + [len(p.map_sizes) for p in parts])
    cells = np.cumsum([0] + [len(p.map_coefficients) for p in parts])
    pair_atoms, pair_parameters = joined("pair_atoms"), joined("pair_parameters")
    order = np.lexsort((pair_atoms[:, 1], pair_atoms[:, 0]))
    return ForceFieldParameters(
        n_atoms=parts[0].n_atoms,
        bond_atoms=joined("bond_atoms"),
        bond_parameters=joined("bond_parameters"),
        angle_atoms=joined("angle_atoms"),
        angle_parameters=joined("angle_parameters"),
        torsion_atoms=joined("torsion_atoms"),
        torsion_orders=joined("torsion_orders"),
        torsion_parameters=np.concatenate(series),
        map_atoms=joined("map_atoms"),
        map_which=np.concatenate([p.map_which + k for p, k in zip(parts, surfaces, strict=False)]),
        map_sizes=joined("map_sizes"),
        map_starts=np.concatenate([p.map_starts + k for p, k in zip(parts, cells, strict=False)]),
        map_coefficients=joined("map_coefficients"),
        pair_atoms=pair_atoms[order],
        pair_parameters=pair_parameters[order],
        born=next((p.born for p in parts if p.born is not None), None),
    )


Tables = tuple[tuple[ndarray, ...], ...]


def tables(parameters: ForceFieldParameters, dtype: type[np.floating[Any]]) -> Tables:
    """The arrays in the order and precision that `_force_field_batch_kernels.evaluate` takes
    them."""

    def real(values: ndarray) -> ndarray:
        return np.ascontiguousarray(values, dtype=dtype)

    p = parameters
    return (
        (p.bond_atoms, real(p.bond_parameters)),
        (p.angle_atoms, real(p.angle_parameters)),
        (p.torsion_atoms, p.torsion_orders, real(p.torsion_parameters)),
        (p.map_atoms, p.map_which, p.map_sizes, p.map_starts, real(p.map_coefficients)),
        (p.pair_starts, np.ascontiguousarray(p.pair_atoms[:, 1]), real(p.pair_parameters)),
        _born_table(p.born, dtype),
    )


def _born_table(born: BornModel | None, dtype: type[np.floating[Any]]) -> tuple[ndarray, ndarray]:
    if born is None:
        return np.zeros((0, 5), dtype), np.zeros(5, dtype)
    atoms = np.column_stack([born.atoms, born.surface_terms])
    constants = (*born.constants, born.strength, float(born.complete))
    return np.ascontiguousarray(atoms, dtype=dtype), np.array(constants, dtype)
