"""The seams: what counts as an energy, the mean-free space, and the counter of evaluations."""

from __future__ import annotations

import copy

import pytest
import torch

from domains.molecules import DoubleWell, LennardJones
from domains.synthetic import NAMES, named
from workbench.problem import (
    CountedEnergy,
    Energy,
    ExactSampler,
    centred,
    normal_like_space,
    project,
)


@pytest.mark.parametrize("energy", [LennardJones(4), DoubleWell(4), *map(named, NAMES)])
def test_every_system_is_an_energy_counted_or_not(energy):
    assert isinstance(energy, Energy)
    assert isinstance(CountedEnergy(energy), Energy)


def test_exact_samplers_are_told_apart():
    assert isinstance(named("gmm40"), ExactSampler)
    assert not isinstance(LennardJones(4), ExactSampler)


def test_counts_configurations_of_both_calls():
    energy = CountedEnergy(LennardJones(4))
    x = torch.randn(7, 4, 3)
    assert torch.equal(energy.energy(x), energy.wrapped.energy(x))
    energy.energy_and_force(x[:3])
    assert (energy.n_energy, energy.n_force) == (10, 3)
    assert energy.event_shape == (4, 3) and energy.name == "lj4"


def test_counts_survive_a_checkpoint_and_are_shared_by_copies():
    energy = CountedEnergy(LennardJones(4))
    energy.energy(torch.randn(7, 4, 3))
    other = CountedEnergy(LennardJones(4))
    other.load_state_dict(energy.state_dict())
    assert (other.n_energy, other.n_force) == (7, 0)
    assert copy.deepcopy(energy) is energy


def test_projection_centres_only_what_is_mean_free(generator):
    x = torch.randn((5, 4, 3), generator=generator, dtype=torch.float64)
    assert float(project(LennardJones(4), x).mean(1).abs().max()) < 1e-15
    assert torch.equal(centred(centred(x)), centred(x)) or torch.allclose(
        centred(centred(x)), centred(x), atol=1e-15
    )
    flat = torch.randn((5, 2), generator=generator)
    assert project(named("gmm40"), flat) is flat


def test_normal_draws_live_on_the_space(generator):
    cluster = normal_like_space(LennardJones(4), 4000, generator, torch.float64)
    assert float(cluster.mean(1).abs().max()) < 1e-14
    squared = cluster.flatten(1).square().sum(1)
    assert abs(float(squared.mean()) - 9) < 5 * (2 * 9 / 4000) ** 0.5
    assert normal_like_space(named("gmm40"), 3, generator).dtype == torch.float32
