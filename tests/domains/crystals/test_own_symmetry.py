"""The compiled test of symmetry against spglib, and what it does to the stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.crystals.equivalents import symmetry
from domains.crystals.own_symmetry import lattice_rotations
from domains.crystals.wyckoff import wyckoff
from tests.domains.crystals.crystal_cases import environment, random_walks

_ORDERS = {
    0: 2,
    1: 4,
    2: 8,
    3: 16,
    4: 24,
    5: 24,
    6: 48,
}  # of the system's lattices, but rhombohedral: 12


def test_lattices_have_the_symmetry_of_their_system():
    table = wyckoff()
    for system, centring in set(zip(table.system.tolist(), table.centring.tolist(), strict=True)):
        found = lattice_rotations(system, centring)
        assert len(found) == (12 if centring == 5 else _ORDERS[system])
        assert set(np.rint(np.linalg.det(found)).tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("most_atoms", [4, 8])
def test_it_agrees_with_spglib(most_atoms):
    """In all groups, on crystals with arbitrary numbers."""
    env = environment(groups=range(1, 231), most_atoms=most_atoms, fewest_kinds=2)
    orbits = random_walks(env, 150).final.orbits
    random = np.random.default_rng(0)
    values = torch.from_numpy(random.uniform(0.2, 0.8, (150, env.parameters.most)))
    crystals = env.parameters.crystals(orbits, values)
    found = env.orbits.has_own_symmetry(orbits).tolist()
    expected = [
        symmetry(crystals.lattice[i], crystals.cartesian[i], crystals.kind[i], 1e-3)
        == (int(crystals.group[i]), True)
        for i in range(150)
    ]
    assert found == expected
    assert 20 < sum(found) < 130


def test_what_has_more_symmetry_stops_only_where_it_cannot_grow():
    env = environment(groups=range(1, 231), fewest_kinds=2)
    orbits = random_walks(env, 300).final.orbits
    other = ~env.orbits.has_own_symmetry(orbits)
    assert int(other.sum()) > 20
    before = env.orbits.backward_step(
        orbits, torch.full((len(other),), env.orbits.n_backward_actions - 1)
    )
    mask = env.orbits.forward_mask(before)
    assert bool(mask[:, -1].all())
    assert not bool(mask[other, :-1].any())
