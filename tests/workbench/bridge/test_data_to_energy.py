"""The bridge from data to an energy: zero loss of the exact answer, Gaussian truth, a mixture in the plane."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tests.workbench.bridge.gaussians import COVARIANCES, MEANS, bridge, end, moment_errors
from workbench.bridge import data_to_energy
from workbench.bridge.couplings.entropic import entropic_plan
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
    _check(DataToEnergyConfig(sweeps=4), 0.09, generator)


class _Ring:
    """Eight equal Gaussians of deviation 0.3 on a ring of radius 3, as an `Energy`; its mean is one."""

    name, length_unit, known, mean_free = "ring", "1", KnownAnswers(), False
    event_shape, degrees_of_freedom = (2,), 2
    deviation = 0.3

    def __init__(self) -> None:
        angle = torch.arange(8) * math.pi / 4
        self.centres = 3.0 * torch.stack([angle.cos(), angle.sin()], dim=1)

    def energy(self, x):
        return self.energy_and_force(x)[0]

    def energy_and_force(self, x):
        away = x[:, None] - self.centres
        log_density = -away.square().sum(2) / (2 * self.deviation**2)
        share = torch.softmax(log_density, 1)[..., None]
        return -torch.logsumexp(log_density, 1), -(share * away).sum(1) / self.deviation**2

    def initial(self, n, generator):
        return torch.randn(n, 2, generator=generator)

    def sample(self, n, generator):
        mode = torch.randint(8, (n,), generator=generator)
        return self.centres[mode] + self.deviation * torch.randn(n, 2, generator=generator)

    def shares(self, x):
        return torch.bincount(torch.cdist(x, self.centres).argmin(1), minlength=8) / len(x)


RING = _Ring()


def test_the_buffer_holds_every_mode_whatever_the_paths_forget(generator):
    config = DataToEnergyConfig(n_steps=4, starts=32, width=8, layers=1, buffer_size=512)
    state = data_to_energy.init(config, torch.randn(500, 2, generator=generator), RING, generator)
    assert float(RING.shares(state.buffer).min()) > 0.05
    assert float(RING.energy(state.buffer).mean()) < 1.5
    first, second = state.buffer.clone().chunk(2)
    for _ in range(20):  # paths that all end in one mode
        data_to_energy._remember(state, RING.centres[:1].repeat(128, 1))
    assert torch.equal(state.buffer[:256], first)
    assert not torch.equal(state.buffer[256:], second)
    assert float(RING.shares(state.buffer).min()) > 0.02


@pytest.mark.slow
def test_a_ring_of_eight_keeps_its_modes_and_the_bridge_is_schroedingers(generator):
    """Ends against draws of the ring, and how far a path goes on average against the entropic plan."""
    config = DataToEnergyConfig(n_steps=16, sweeps=3)
    data = torch.randn(5000, 2, generator=generator)
    state = data_to_energy.train(config, data, RING, generator)
    start = torch.randn(2000, 2, generator=generator)
    paths = state.forward_average.module.sample(start, generator)
    true, other = RING.sample(2000, generator), RING.sample(2000, generator)
    shares = RING.shares(paths[-1])
    assert float((shares - 0.125).abs().max()) < 0.07
    assert float(RING.energy(paths[-1]).mean()) < 2.8
    floor = _w2(true, other)
    assert _w2(paths[-1], true) < 2.2 * floor
    plan = entropic_plan(start, true, 2.0 * config.sigma**2, generator=generator)
    together = float((paths[0] * paths[-1]).sum(1).mean())
    exact = float(plan.mass @ (start[plan.source] * true[plan.target]).sum(1).double())
    assert together == pytest.approx(exact, rel=0.2)
    back = state.backward_average.module.sample(true, generator)[0]
    assert float((torch.cov(back.T) - torch.eye(2)).abs().max()) < 0.2


def _w2(x, y):
    import ot

    return float(ot.emd2([], [], torch.cdist(x.double(), y.double()).square().numpy()) ** 0.5)


def test_spaces_must_agree(generator):
    with pytest.raises(InputError, match="same size"):
        data_to_energy.init(DataToEnergyConfig(), torch.zeros(10, 3), TARGET, generator)
    with pytest.raises(InputError, match="2 or more"):
        DataToEnergyConfig(paths=1)
