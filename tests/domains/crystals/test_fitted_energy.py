"""The fitted energy and the fingerprint: invariances, learning, resuming."""

from __future__ import annotations

import numpy as np
import torch

from domains.crystals.crystals import Crystals, join
from domains.crystals.fingerprint import fingerprints, neighbour_list
from domains.crystals.fitted_energy import FitConfig, FittedEnergy
from domains.crystals.ionic import IonicEnergy
from domains.crystals.structures import from_structures, structures
from tests.domains.crystals.crystal_cases import environment, random_crystals


def allowed_crystals(n: int) -> Crystals:
    crystals, _ = random_crystals(environment(groups=(99, 129, 186, 221, 225), most_atoms=4), 4 * n)
    return crystals.select((crystals.closest_ratio() > 0.7).nonzero()[0][:n])


def other_cells(crystals: Crystals) -> Crystals:
    """The same crystals twice along an axis, shifted, with their atoms in another order."""
    cells = [cell * (1, 2, 1) for cell in structures(crystals)]
    for cell in cells:
        cell.translate_sites(list(range(len(cell))), [0.123, 0.05, 0.3])
        cell.sort(key=lambda site: site.frac_coords[1])
    return from_structures(crystals.elements, cells, crystals.group.tolist())


def test_fingerprints_are_those_of_the_crystal_and_not_of_its_cell():
    crystals = allowed_crystals(6)
    moved = fingerprints(other_cells(crystals))
    keys = fingerprints(crystals)
    assert sum(a == b for a, b in zip(keys, moved, strict=True)) >= len(keys) - 1  # rounding
    assert len(set(keys)) == len(keys)
    larger = crystals.scaled(np.full(len(crystals), 1.01))
    assert not set(fingerprints(larger)) & set(keys)


def test_neighbours_are_those_of_pymatgen():
    crystals = allowed_crystals(3)
    for i, cell in enumerate(structures(crystals)):
        _, _, length, vector = neighbour_list(crystals.select([i]), 5.0)
        expected = cell.get_neighbor_list(5.0)[3]
        np.testing.assert_allclose(np.sort(length), np.sort(expected), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(vector, axis=1), length)


def test_energy_is_the_same_in_every_cell_and_learns(generator):
    crystals = allowed_crystals(60)
    labels = IonicEnergy().formation_energy_ev_per_atom(crystals)
    energy = FittedEnergy(crystals.elements, FitConfig(batch=32), generator, 0.5)
    energy.add(crystals.select(range(30)), labels[:30])
    energy.add(crystals.select(range(30, len(crystals))), labels[30:])
    before = energy.error_ev_per_atom(crystals, labels)
    energy.fit(60)
    assert energy.error_ev_per_atom(crystals, labels) < 0.5 * before
    few = crystals.select(range(4))
    np.testing.assert_allclose(
        energy.formation_energy_ev_per_atom(other_cells(few)),
        energy.formation_energy_ev_per_atom(few),
        atol=1e-4,
    )


def test_what_is_stored_gives_the_same_energy_back():
    crystals = allowed_crystals(10)
    labels = IonicEnergy().formation_energy_ev_per_atom(crystals)

    def fresh() -> FittedEnergy:
        return FittedEnergy(crystals.elements, FitConfig(), torch.Generator().manual_seed(1), 0.5)

    first = fresh()
    first.add(crystals, labels)
    first.fit(5)
    second = fresh()
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(
        first.formation_energy_ev_per_atom(crystals), second.formation_energy_ev_per_atom(crystals)
    )
    np.testing.assert_array_equal(first.labels, second.labels)


def test_joined_batches_keep_their_atoms():
    crystals = allowed_crystals(6)
    parts = [crystals.select([0, 1]), crystals.select(range(2, 6))]
    joined = join(parts)
    np.testing.assert_array_equal(joined.kind, crystals.kind)
    np.testing.assert_array_equal(joined.cartesian, crystals.cartesian)
