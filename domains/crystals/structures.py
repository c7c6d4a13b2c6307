"""Crystals as pymatgen structures, CIF and extended XYZ files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser, CifWriter

from domains.crystals.crystals import Crystals
from domains.crystals.elements import Elements
from domains.crystals.equivalents import symmetry
from domains.crystals.parameters import ions
from workbench.errors import InputError

SYMPREC_A = 0.01


def structures(crystals: Crystals) -> list[Structure]:
    """One pymatgen structure per crystal, in its primitive cell."""
    found = []
    for i in range(len(crystals)):
        n = int(crystals.n_atoms[i])
        symbols = [crystals.elements.symbols[kind] for kind in crystals.kind[i, :n]]
        lattice = Lattice(crystals.lattice[i])
        atoms = crystals.cartesian[i, :n]
        found.append(
            Structure(lattice, symbols, atoms, coords_are_cartesian=True, to_unit_cell=True)
        )
    return found


def from_structures(
    elements: Elements, given: Sequence[Structure], groups: Sequence[int]
) -> Crystals:
    """Crystals of structures whose composition is neutral and made of `elements`."""
    width = max(len(structure) for structure in given)
    shape = (len(given), width)
    lattice, cartesian = np.zeros((len(given), 3, 3)), np.zeros((*shape, 3))
    kind, charge, radius = np.full(shape, -1), np.zeros(shape), np.zeros(shape)
    for i, structure in enumerate(given):
        n = len(structure)
        kinds = np.array([elements.index(site.specie.symbol) for site in structure])
        counts = np.bincount(kinds, minlength=len(elements))
        charges, radii, _ = ions(elements, counts)
        lattice[i], cartesian[i, :n] = structure.lattice.matrix, structure.cart_coords
        kind[i, :n], charge[i, :n], radius[i, :n] = kinds, charges[kinds], radii[kinds]
    return Crystals(elements, lattice, cartesian, kind, charge, radius, np.array(groups))


def write_cif(structure: Structure, path: Path) -> None:
    """With the space group found at `SYMPREC_A`, on symmetric positions; without symmetry where none can
    be found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text = str(CifWriter(structure, symprec=SYMPREC_A, refine_struct=True))
        except (
            ValueError,
            TypeError,
        ):  # spglib finds no symmetry: atoms nearly on top of each other
            text = str(CifWriter(structure))
    path.write_text(text, encoding="utf-8")


def read_cif(path: Path) -> Structure:
    """The first structure of a CIF file. Raises InputError where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return CifParser(path, occupancy_tolerance=1.001).parse_structures(primitive=True)[0]
    except Exception as error:  # the parser raises whatever its parts raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} cannot be read as a CIF file ({reason[:80]}): remove or repair it"
        ) from error


def extended_xyz(structure: Structure, properties: Mapping[str, float | int | str]) -> str:
    """One frame of an extended XYZ file."""
    cell = " ".join(f"{x:.8f}" for x in structure.lattice.matrix.ravel())
    values = " ".join(f"{name}={value}" for name, value in properties.items())
    head = f'Lattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T" {values}'
    atoms = [f"{site.specie.symbol} {site.x:.8f} {site.y:.8f} {site.z:.8f}" for site in structure]
    return "\n".join([str(len(structure)), head, *atoms]) + "\n"


def space_group(structure: Structure, tolerance_a: float = SYMPREC_A) -> int:
    """Number found by spglib, 0 where it finds none."""
    numbers = np.array([site.specie.Z for site in structure])
    return symmetry(structure.lattice.matrix, structure.cart_coords, numbers, tolerance_a)[0]
