"""The reverse equation with exact scores must return the exact density."""

from __future__ import annotations

import torch

from tests.workbench.diffusion.exact import IsotropicGaussian, uneven_mixture
from workbench.diffusion.generation import prior_samples, reverse_sde
from workbench.diffusion.schedule import GeometricSchedule

SCHEDULE = GeometricSchedule(0.02, 20.0)
N = 20_000


def generate(energy, score, length, generator, n=N, n_steps=400, fine=1.0, scale=1.0):
    x = prior_samples(energy, SCHEDULE, length, n, generator, torch.float64)
    return reverse_sde(score, energy, SCHEDULE, x, n_steps, generator, fine, scale)


def test_a_gaussian_of_the_fine_length_is_exact_in_four_steps(generator):
    energy = IsotropicGaussian(0.09, (2,))
    x = generate(energy, energy.score(SCHEDULE), 0.3, generator, n_steps=4, fine=0.3)
    assert abs(float(x.square().mean()) / 0.09 - 1.0) < 5 * (2 / (2 * N)) ** 0.5


def test_prior_has_the_variance_of_noise_and_target_on_the_mean_free_space(generator):
    energy = IsotropicGaussian(1.0, (4, 3), mean_free=True)
    x = prior_samples(energy, SCHEDULE, 2.0, 5000, generator, torch.float64)
    assert float(x.mean(1).abs().max()) < 1e-12
    variance = x.flatten(1).square().sum(1).mean() / energy.degrees_of_freedom
    expected = SCHEDULE.final_variance + 4.0
    assert abs(float(variance) - expected) < 5 * expected * (2 / (5000 * 9)) ** 0.5


def test_exact_score_gives_mode_weights_and_moments_of_a_mixture(generator):
    mixture = uneven_mixture()

    def score(x, t):
        return mixture.noised_log_density_and_score(x, float(SCHEDULE.variance(t[0].double())))[1]

    x = generate(mixture, score, 2.5, generator)
    mode = torch.cdist(x, mixture.means).argmin(1)
    for k, weight in enumerate(mixture.weights):
        share = (mode == k).double().mean()
        assert abs(float(share - weight)) < 5 * float(weight * (1 - weight) / N) ** 0.5
        # Each mode is 5 of its standard deviations and more from the border to the next.
        inside = x[mode == k] - mixture.means[k]
        s = float(mixture.standard_deviations[k])
        assert float(inside.mean(0).abs().max()) < 5 * s / len(inside) ** 0.5
        spread = float(inside.square().mean()) ** 0.5
        assert abs(spread / s - 1.0) < 5 / (4 * len(inside)) ** 0.5 + 0.005  # Euler steps


def test_diffusion_scale_below_one_cools(generator):
    """A linear equation: noise of half the size gives a variance between a quarter and all of it."""
    energy = IsotropicGaussian(1.0, (2,))
    score = energy.score(SCHEDULE)
    full = generate(energy, score, 1.0, generator, n=4000, n_steps=200)
    cold = generate(energy, score, 1.0, generator, n=4000, n_steps=200, scale=0.5)
    assert abs(float(full.var()) - 1.0) < 5 * (2 / 8000) ** 0.5 + 0.01
    assert abs(float(cold.var()) - 0.25) < 0.05


def test_keeps_a_mean_free_system_centred(generator):
    energy = IsotropicGaussian(0.5, (5, 3), mean_free=True)
    exact = energy.score(SCHEDULE)
    x = generate(energy, lambda x, t: exact(x, t) + 1.0, 0.7, generator, n=500, n_steps=100)
    assert float(x.mean(1).abs().max()) < 1e-10
    assert abs(float(x.flatten(1).square().sum(1).mean()) - 6.0) < 5 * (2 * 0.25 * 12 / 500) ** 0.5
