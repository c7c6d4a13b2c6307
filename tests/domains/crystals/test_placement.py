"""Atoms for objects of the three stages: the composition, group and lattice are those of the object."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.crystals.placement import orbits_of, placed
from domains.crystals.reachable import Limits
from domains.crystals.three_stages import ThreeStages
from domains.crystals.wyckoff import wyckoff
from tests.domains.crystals.crystal_cases import environment
from workbench.gflownet import rollout
from workbench.gflownet.moves import draw, uniform


class Uniform:
    def __init__(self, stages):
        self.stages = stages

    def sample(self, state, row, generator):
        return draw(uniform(self.stages.forward_mask(state), torch.float32), generator)


def test_atoms_are_those_of_the_object(generator):
    env = environment(most_atoms=8, fewest_kinds=2)
    stages = ThreeStages(
        env.orbits.elements, env.orbits.groups, Limits(8, 2), lambda s: torch.zeros(len(s.group)), 8
    )
    start = stages.initial_state(60)
    objects = rollout.forward(stages, Uniform(stages), start, generator).final
    final = placed(stages, objects, env, generator)
    assert bool(env.is_terminal(final).all())
    np.testing.assert_array_equal(env.parameters.counts(final.orbits), objects.count.numpy())
    crystals = env.crystals(final)
    assert crystals.group.tolist() == [stages.groups[i] for i in objects.group.tolist()]
    _, _, ions_a3 = env.parameters._ions(final.orbits)
    factor = crystals.volume_per_atom_a3 * crystals.n_atoms / ions_a3
    width = np.log(3.0) / stages.n_bins  # of a bin of the volume, in logarithms
    assert (np.abs(np.log(factor / stages.volume_factor(objects))) <= 0.5 * width + 1e-9).all()
    assert (crystals.closest_ratio() >= 0.7).mean() > 0.5


def test_fixed_sites_are_used_once_and_what_does_not_fit_is_refused():
    rng = np.random.default_rng(0)
    table = wyckoff()
    first = table.first_position[224]
    for _ in range(20):
        found = orbits_of(225, np.array([1, 1, 2]), rng)
        places = [place for _, place in found]
        assert len(set(places)) == len(places)
        assert [int(table.multiplicity[first + p]) for p in places] == [1, 1, 2]
    with pytest.raises(ValueError, match="cannot hold"):
        orbits_of(225, np.array([1, 1, 1]), rng)
