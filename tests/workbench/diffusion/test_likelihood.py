"""Log densities and importance weights of the probability flow against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from tests.workbench.diffusion.exact import (
    IsotropicGaussian,
    mixture_score,
    uneven_mixture,
)
from workbench.diffusion import likelihood
from workbench.diffusion.options import FlowConfig
from workbench.diffusion.schedule import GeometricSchedule

SCHEDULE = GeometricSchedule(0.05, 10.0)
EXACT = FlowConfig(n_steps=100, divergence="exact")


def samples(config, energy, schedule, length, n, generator):
    return likelihood.flow_samples(
        config, energy.score(schedule), energy, schedule, length, n, generator
    )


@pytest.mark.parametrize(
    ("event_shape", "mean_free"), [((3,), False), ((4, 3), False), ((4, 3), True)]
)
def test_weights_of_a_gaussian_are_constant_and_give_log_z(event_shape, mean_free, generator):
    """With the exact score and a prior of the right variance the flow is exact: every weight is Z.
    A wrong sign of the divergence, or a normaliser of the wrong dimension, moves log Z by units."""
    energy = IsotropicGaussian(1.7, event_shape, mean_free)
    drawn = samples(EXACT, energy, SCHEDULE, 1.7**0.5, 50, generator)
    log_z = 0.5 * energy.degrees_of_freedom * math.log(2 * math.pi * 1.7)
    assert torch.allclose(drawn.log_weights, torch.full_like(drawn.energy, log_z), atol=1e-5)
    assert drawn.log_partition().value == pytest.approx(log_z, abs=1e-5)
    if mean_free:
        assert float(drawn.x.mean(1).abs().max()) < 1e-12


def test_density_of_given_points_matches_a_mixture(generator):
    """The prior of one Gaussian is off by (spread / sigma_max)^2 or so: a wide schedule."""
    mixture, wide = uneven_mixture(), GeometricSchedule(0.05, 300.0)
    x = mixture.exact_samples(64, generator).double()
    log_q = likelihood.flow_log_density(
        FlowConfig(n_steps=200), mixture_score(mixture, wide), mixture, wide, 2.2, x, generator
    )
    assert float((log_q + mixture.energy(x)).abs().max()) < 2e-2
    assert float((log_q + mixture.energy(x)).mean().abs()) < 5e-3


def test_samples_of_a_mixture_have_nearly_equal_weights_and_log_z_zero(generator):
    mixture, wide = uneven_mixture(), GeometricSchedule(0.05, 300.0)
    drawn = likelihood.flow_samples(
        FlowConfig(n_steps=200), mixture_score(mixture, wide), mixture, wide, 2.2, 256, generator
    )
    assert drawn.ess_fraction() > 0.999
    assert abs(drawn.log_partition().value) < 5e-3
    share = mixture.weights[torch.cdist(drawn.x, mixture.means).argmin(1)].mean()
    assert abs(float(share) - float(mixture.weights.square().sum())) < 5 * 0.13 / 16


def test_forward_and_backward_flows_agree(generator):
    mixture = uneven_mixture()
    score = mixture_score(mixture, SCHEDULE)
    config = FlowConfig(n_steps=100)
    drawn = likelihood.flow_samples(config, score, mixture, SCHEDULE, 1.0, 16, generator)
    log_q = likelihood.flow_log_density(config, score, mixture, SCHEDULE, 1.0, drawn.x, generator)
    assert torch.allclose(-drawn.energy - drawn.log_weights, log_q, atol=1e-4)


def test_hutchinson_is_unbiased_for_the_log_density(generator):
    """The mean over random signs tends to the exact value; the Jacobian is not diagonal here."""
    mixture = uneven_mixture()
    score = mixture_score(mixture, SCHEDULE)
    x = torch.tensor([[0.3, 0.4]]).repeat(400, 1)

    def log_q(config, points):
        return likelihood.flow_log_density(config, score, mixture, SCHEDULE, 1.0, points, generator)

    exact = float(log_q(FlowConfig(n_steps=40, divergence="exact"), x[:1]))
    estimates = log_q(FlowConfig(n_steps=40, divergence="hutchinson", probes=1), x)
    error = float(estimates.std()) / 20
    assert error > 1e-3
    assert abs(float(estimates.mean()) - exact) < 5 * error
    several = log_q(FlowConfig(n_steps=40, divergence="hutchinson", probes=8), x[:100])
    assert float(several.std()) < 0.5 * float(estimates.std())


def test_the_divergence_is_exact_in_low_dimension_unless_told():
    plane, cluster = IsotropicGaussian(1.0, (2,)), IsotropicGaussian(1.0, (13, 3), True)
    assert likelihood.divergence_kind(FlowConfig(), plane) == "exact"
    assert likelihood.divergence_kind(FlowConfig(), cluster) == "hutchinson"
    assert likelihood.divergence_kind(EXACT, cluster) == "exact"


def test_chunks_do_not_change_what_is_returned(generator):
    energy = IsotropicGaussian(1.0, (2,))
    drawn = likelihood.flow_samples(
        EXACT, energy.score(SCHEDULE), energy, SCHEDULE, 1.0, 10, generator, chunk=4
    )
    assert drawn.x.shape == (10, 2) and drawn.log_weights.shape == (10,)


@pytest.mark.parametrize("n_steps", [3, 7, 20, 49, 60])
def test_no_time_outside_the_schedule_is_asked_for(n_steps, generator):
    """A noise level at t = -1e-17 is negative, and its root not a number."""
    energy, times = IsotropicGaussian(1.0, (2,)), []
    exact = energy.score(SCHEDULE)

    def score(x, t):
        times.append(float(t[0]))
        return exact(x, t)

    config = FlowConfig(n_steps=n_steps)
    likelihood.flow_samples(config, score, energy, SCHEDULE, 1.0, 2, generator)
    assert min(times) == 0.0 and max(times) == 1.0
    times.clear()
    x = torch.zeros((2, 2))
    likelihood.flow_log_density(config, score, energy, SCHEDULE, 1.0, x, generator)
    assert min(times) == 0.0 and max(times) == 1.0
