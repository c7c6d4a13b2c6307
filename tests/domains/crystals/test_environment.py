"""Hybrid trajectories: their inverses, what parameters mean, and the crystals they make."""

from __future__ import annotations

import numpy as np
import torch

from domains.crystals.equivalents import symmetry
from domains.crystals.parameters import CLOSEST, COORDINATE, SHAPE, VOLUME, VOLUME_FACTORS
from tests.domains.crystals.crystal_cases import environment, random_crystals, random_walks
from workbench.gflownet import scoring, states


def same(first, second):
    return bool((states.row_keys(first) == states.row_keys(second)).all())


def test_every_move_is_undone_and_redone():
    env = environment()
    walks = random_walks(env, 64)
    after = scoring.after(walks)
    undo = env.undoing(walks.visited, walks.actions)
    assert same(env.backward_step(after, undo), walks.visited)
    assert same(env.step(walks.visited, env.redoing(after, undo)), after)
    assert torch.equal(env.redoing(after, undo), walks.actions)
    assert bool(env.is_terminal(walks.final).all())
    assert same(env.step(walks.final, walks.actions[:64]), walks.final)
    start = env.initial_state(64)
    assert same(env.backward_step(start, undo[:64]), start)


def test_parameters_are_shape_then_volume_then_coordinates():
    env = environment()
    final = random_walks(env, 64).final
    count = env.parameters.count(final.orbits)
    for row in range(64):
        one = states.select(final.orbits, torch.tensor([row]))
        kinds = []
        for number in range(int(count[row])):
            kind, axis, slot = env.parameters.meaning(one, torch.tensor([number]))
            kinds.append(int(kind))
            if int(kind) == COORDINATE:
                place = env.parameters.places(one)[0, slot]
                assert int(axis) < env.parameters.n_free[place]
        assert kinds == sorted(kinds)
        assert kinds.count(VOLUME) == 1
        assert kinds.count(SHAPE) == env.parameters.n_shape[int(one.group[0])]


def test_volumes_are_those_asked_for_and_charges_cancel():
    env = environment()
    crystals, final = random_crystals(env, 64)
    volume = torch.from_numpy(env.parameters.n_shape)[final.orbits.group].unsqueeze(1)
    final.values.scatter_(1, volume, 1.0)
    large = env.crystals(final).volume_per_atom_a3
    final.values.scatter_(1, volume, 0.0)
    small = env.crystals(final).volume_per_atom_a3
    np.testing.assert_allclose(large / small, VOLUME_FACTORS[1] / VOLUME_FACTORS[0])
    assert (crystals.charge.sum(1) == 0).all()
    assert (np.linalg.det(crystals.lattice) != 0).all()


def test_crystals_have_at_least_the_symmetry_of_their_group():
    """Groups of another number have more operations, or the cell is no longer primitive."""
    env = environment(most_atoms=8)
    crystals, final = random_crystals(env, 60)
    env_orders = env.parameters
    apart = crystals.closest_ratio() > 0.05
    for row in apart.nonzero()[0]:
        found, primitive = symmetry(
            crystals.lattice[row], crystals.cartesian[row], crystals.kind[row], 1e-4
        )
        assert found > 0
        if found != crystals.group[row] and primitive:
            assert int(env_orders.count(final.orbits)[row]) >= 1
            assert _order(found) > _order(int(crystals.group[row]))


def _order(group: int) -> int:
    """Operations of the point group: atoms of the general position in the primitive cell."""
    from domains.crystals.wyckoff import wyckoff

    return int(wyckoff().multiplicity[wyckoff().positions(group)[-1]])


def test_a_bin_is_forbidden_only_where_every_number_in_it_brings_atoms_too_close():
    """Crystals that differ in one number alone, drawn from forbidden bins: none keeps its atoms apart."""
    env = environment(most_atoms=8)
    walks = random_walks(env, 300)
    rows = walks.visited.orbits.stopped.nonzero().squeeze(1)
    before = states.select(walks.visited, rows)
    allowed = env.allowed_bins(before)
    assert bool(allowed.any(1).all())
    forbidden = (~allowed).nonzero()
    assert len(forbidden) > 1000
    picked = forbidden[:: len(forbidden) // 500]
    random = torch.Generator().manual_seed(1)
    final = states.select(walks.final, walks.row[rows][picked[:, 0]])
    inside = torch.rand(len(picked), generator=random, dtype=torch.float64)
    values = (picked[:, 1] + inside) / env.n_bins
    at = before.n_set[picked[:, 0]].unsqueeze(1)
    moved = final.values.scatter(1, at, values.unsqueeze(1))
    ratio = env.parameters.crystals(final.orbits, moved).closest_ratio()
    assert (ratio < CLOSEST).all()


def test_masks_keep_most_random_crystals_apart():
    """Against numbers drawn without masks, on the same orbits."""
    env = environment(most_atoms=8)
    crystals, final = random_crystals(env, 400)
    random = torch.Generator().manual_seed(1)
    free = torch.rand(final.values.shape, generator=random, dtype=torch.float64)
    without = env.parameters.crystals(final.orbits, free).closest_ratio() >= CLOSEST
    assert (crystals.closest_ratio() >= CLOSEST).mean() > without.mean() + 0.1
