"""The bridge from data to an energy: zero loss of the exact answer, Gaussian truth, a mixture in the plane."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tests.workbench.bridge.gaussians import COVARIANCES, MEANS, bridge, end, moment_errors
from workbench.bridge import data_to_energy
from workbench.bridge.gaussian_chain import GaussianChain
from workbench.bridge.objectives.conditional_variance import conditional_variance
from workbench.bridge.options import DataToEnergyConfig
from workbench.errors import InputError
from workbench.problem import KnownAnswers


class _Gaussian:
    """N(mean, covariance), unnormalised, as an `Energy`."""

    name, length_unit, known, mean_free = "gaussian", "1", KnownAnswers(), False
    event_shape, degrees_of_freedom = (2,), 2

    def __init__(self, mean, covariance) -> None:
        self.mean, self.precision = mean.float(), torch.linalg.inv(covariance).float()

    def energy(self, x):
        return self.energy_and_force(x)[0]

    def energy_and_force(self, x):
        away = x - self.mean.to(x.dtype)
        force = -away @ self.precision.to(x.dtype)
        return -0.5 * (force * away).sum(1), force

    def initial(self, n, generator):
        return torch.randn(n, 2, generator=generator)


TARGET = _Gaussian(MEANS[1], COVARIANCES[1])


def test_chain_densities_are_those_of_its_draws(generator):
    for backward in (False, True):
        chain = GaussianChain(2, 0.7, 4, 8, 1, True, backward)
        torch.nn.init.normal_(chain.field.layers[-1].weight, 0.0, 0.3, generator=generator)
        start = torch.randn(6, 2, generator=generator)
        path = chain.sample(start, generator)
        assert torch.equal(path[-1 if backward else 0], start)
        total = torch.zeros(6)
        for k in range(4):
            here, there = (path[k + 1], path[k]) if backward else (path[k], path[k + 1])
            mean, log_variance = chain.kernel(here, torch.full((6,), (k + backward) / 4))
            for d in range(2):
                law = torch.distributions.Normal(mean[:, d], (0.5 * log_variance).exp())
                total = total + law.log_prob(there[:, d])
        torch.testing.assert_close(chain.log_prob(path), total)


def test_untrained_chains_are_the_reference(generator):
    chain = GaussianChain(2, 0.7, 10, 8, 2, True, backward=False)
    path = chain.sample(torch.zeros(20_000, 2), generator)
    variance = path[5].var(0)
    assert float((variance - 0.49 * 0.5).abs().max()) < 5 * 0.245 * math.sqrt(2 / 20_000)


class _Exact(torch.nn.Module):
    """Drift and log-variance factor of one kernel N(gain x + shift, variance) per step, in closed form."""

    def __init__(self, gains, variances, sigma, n_steps, at):
        super().__init__()
        self.gains, self.n_steps, self.at = gains, n_steps, at
        self.logs = [math.log(v / (sigma**2 / n_steps)) for v in variances]

    def forward(self, x, t):
        k = (t * self.n_steps).round().long() - self.at
        gain = torch.tensor(self.gains)[k][:, None]
        log = torch.tensor(self.logs)[k]
        raw = 2.0 * torch.atanh(log / 2.0)  # the smooth bound of `kernel`, undone
        return torch.cat([(gain - 1.0) * x * self.n_steps, raw[:, None]], dim=1)


def test_loss_is_zero_at_the_exact_bridge(generator):
    # One dimension, ends N(0, a) and N(0, b): the discrete bridge has Gaussian kernels on any grid.
    a, b, sigma, n = 0.6, 1.5, 0.9, 5
    c = 0.5 * (math.sqrt(sigma**4 + 4 * a * b) - sigma**2)

    def cov(s, t):  # of x_s and x_t, s <= t
        ends = (1 - s) * (1 - t) * a + s * t * b + ((1 - s) * t + s * (1 - t)) * c
        return ends + sigma**2 * s * (1 - t)

    at = [k / n for k in range(n + 1)]
    pairs = list(itertools.pairwise(at))
    up = [cov(s, t) / cov(s, s) for s, t in pairs]
    down = [cov(s, t) / cov(t, t) for s, t in pairs]
    up_var = [cov(t, t) - cov(s, t) ** 2 / cov(s, s) for s, t in pairs]
    down_var = [cov(s, s) - cov(s, t) ** 2 / cov(t, t) for s, t in pairs]
    forward = GaussianChain(1, sigma, n, 4, 1, True, backward=False)
    backward = GaussianChain(1, sigma, n, 4, 1, True, backward=True)
    forward.field = _Exact(up, up_var, sigma, n, 0)  # type: ignore[assignment]
    backward.field = _Exact(down, down_var, sigma, n, 1)  # type: ignore[assignment]
    start = torch.randn(7, 1, generator=generator).repeat(4, 1)
    path = forward.sample(start, generator)
    scores = forward.log_prob(path), backward.log_prob(path), 0.5 * path[-1, :, 0] ** 2 / b
    assert float(conditional_variance(*(s.view(4, 7).T for s in scores))) < 1e-8


def _check(config, tolerance, generator):
    data = end(0, 5000, generator)
    state = data_to_energy.train(config, data, TARGET, generator)
    start = end(0, 5000, generator)
    paths = state.forward_average.module.sample(start, generator)
    exact = bridge(config.sigma)
    for k in (config.n_steps // 2, config.n_steps):
        found = moment_errors(paths[k], exact, k / config.n_steps)
        assert max(found) < tolerance, (k, found)
    first, last = (x.double() - x.double().mean(0) for x in (paths[0], paths[-1]))
    coupling = first.T @ last / len(start)
    assert float((coupling - exact.coupling).norm() / exact.coupling.norm()) < tolerance


def test_gaussian_to_gaussian_energy(generator):
    config = DataToEnergyConfig(
        n_steps=6, sweeps=3, backward_steps=50, forward_steps=100, starts=32, width=32, layers=2
    )
    _check(config, 0.25, generator)


@pytest.mark.slow
def test_gaussian_to_gaussian_energy_converges(generator):
    _check(DataToEnergyConfig(sweeps=8), 0.06, generator)


def test_spaces_must_agree(generator):
    with pytest.raises(InputError, match="same size"):
        data_to_energy.init(DataToEnergyConfig(), torch.zeros(10, 3), TARGET, generator)
    with pytest.raises(InputError, match="2 or more"):
        DataToEnergyConfig(paths=1)
