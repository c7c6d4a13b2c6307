"""The embedded table of space groups against spglib."""

from __future__ import annotations

import numpy as np
import pytest

from domains.crystals import _geometry_kernels as kernels
from domains.crystals.parameters import N_SHAPE
from domains.crystals.wyckoff import MIRROR_PAIRS, PRIMITIVE, wyckoff

spglib = pytest.importorskip("spglib")


def crystal(group: int, places: list[int], rng: np.random.Generator):
    """Lattice and fractional coordinates of the primitive cell with generic orbits at `places`."""
    table = wyckoff()
    cell = np.empty((3, 3))
    u = rng.uniform(0.2, 0.8, 5)
    kernels.conventional_cell(table.system[group - 1], table.centring[group - 1], u, cell)
    lattice = PRIMITIVE[table.centring[group - 1]] @ cell
    points, kinds = [], []
    for kind, place in enumerate(places):
        xyz = rng.uniform(0, 1, 3) * table.free[place]
        atoms = slice(table.first_atom[place], table.first_atom[place + 1])
        points.append(table.matrix[atoms] @ xyz + table.offset[atoms] / 24)
        kinds += [kind] * len(points[-1])
    cartesian = np.concatenate(points) @ cell
    return lattice, cartesian @ np.linalg.inv(lattice), kinds


@pytest.mark.parametrize("group", range(1, 231))
def test_two_general_orbits_have_exactly_the_symmetry_of_their_group(group):
    general = wyckoff().positions(group)[-1]
    found = spglib.get_symmetry_dataset(
        crystal(group, [general, general], np.random.default_rng(group)), symprec=1e-5
    )
    assert found.number == group
    assert len(found.rotations) == wyckoff().multiplicity[general]  # the cell is primitive


def test_sites_beside_a_general_orbit_keep_group_and_letter():
    table, rng = wyckoff(), np.random.default_rng(0)
    for group in (2, 12, 47, 62, 123, 136, 166, 186, 216, 221, 225, 227):
        places = table.positions(group)
        for place in places:
            cell = crystal(group, [places[-1], place], rng)
            found = spglib.get_symmetry_dataset(cell, symprec=1e-5)
            assert found.number == group
            orbit = set(found.crystallographic_orbits[-int(table.multiplicity[place]) :])
            assert len(orbit) == 1
            stabiliser = table.multiplicity[places[-1]] / table.multiplicity[place]
            n_conventional = abs(round(1 / np.linalg.det(PRIMITIVE[table.centring[group - 1]])))
            assert len(found.std_types) % n_conventional == 0
            assert stabiliser == int(stabiliser)


def test_permutations_begin_with_none_and_keep_multiplicities_and_freedom():
    table = wyckoff()
    for group in range(1, 231):
        places = np.array(table.positions(group))
        rows = table.permutations[group - 1]
        assert (rows == np.arange(len(places))).all(1).any()
        assert (table.multiplicity[places][rows] == table.multiplicity[places]).all()
        assert (table.free[places].sum(1)[rows] == table.free[places].sum(1)).all()


def test_letters_systems_and_mirror_pairs():
    table = wyckoff()
    assert table.letter(table.positions(225)[0]) == "a"
    assert table.letter(table.positions(47)[-1]) == "A"
    assert [str(table.symbol[g - 1]) for g in (1, 221, 225, 227)] == [
        "P1",
        "Pm-3m",
        "Fm-3m",
        "Fd-3m",
    ]
    assert len(N_SHAPE) == 7
    for first, second in MIRROR_PAIRS:
        assert len(table.positions(first)) == len(table.positions(second))
        assert spglib.get_spacegroup_type_from_symmetry is not None
