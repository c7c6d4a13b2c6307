"""Simulation of a bridge whose velocity and score are known exactly."""

from __future__ import annotations

import pytest
import torch

from tests.workbench.bridge.gaussians import GaussianDynamics, end, moment_errors
from workbench.bridge.simulation import ode, path_energy, sde
from workbench.errors import InputError

TIMES = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
N = 20_000  # mean error about sqrt(1 / N) = 0.7 %, covariance about 1 %: five of those below
MEAN, COVARIANCE = 0.035, 0.05


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_flow_forward_and_back(generator, method):
    model = GaussianDynamics(0.8)
    x = end(0, 500, generator).double()
    paths = ode(model, x, TIMES, method=method, tolerance=1e-6)
    back = ode(model, paths.x[-1], TIMES.flip(0), method=method, tolerance=1e-6)
    assert paths.x.shape == (3, 500, 2) and paths.log_mass is None
    torch.testing.assert_close(back.x[-1], x, atol=2e-3, rtol=0)


@pytest.mark.parametrize("diffusion", [0.3, 0.8, 1.5])
@pytest.mark.parametrize("backward", [False, True])
def test_any_diffusion_has_the_same_marginals(generator, diffusion, backward):
    model = GaussianDynamics(0.8)
    times = TIMES.flip(0) if backward else TIMES
    paths = sde(
        model, end(int(backward), N, generator).double(), times, diffusion, generator, steps=15
    )
    for t, x in zip(times.tolist(), paths.x, strict=True):
        mean, covariance = moment_errors(x, model.exact, t)
        assert mean < MEAN and covariance < COVARIANCE


def test_heun_beats_euler_on_coarse_steps(generator):
    model = GaussianDynamics(0.8)
    x = end(0, N, generator).double()
    error = {}
    for scheme in ("euler", "heun"):
        paths = sde(model, x, TIMES, 1.5, generator, steps=4, scheme=scheme)
        error[scheme] = moment_errors(paths.x[-1], model.exact, 1.0)[1]
    assert error["heun"] < 0.5 * error["euler"]


def test_diffusion_may_depend_on_time_and_draws_repeat(generator):
    model = GaussianDynamics(0.8)
    x = end(0, N, generator).double()
    first, again = (
        sde(model, x, TIMES, lambda t: 0.2 + t, torch.Generator().manual_seed(3), steps=15)
        for _ in range(2)
    )
    assert torch.equal(first.x, again.x)
    assert moment_errors(first.x[-1], model.exact, 1.0)[1] < COVARIANCE


class _Growing(GaussianDynamics):
    """Mass grows at rate 1 + t everywhere: log mass is t + t^2 / 2."""

    has_growth = True

    def growth(self, x, t):
        return torch.full((len(x),), 1.0 + t, dtype=x.dtype)


def test_mass_grows_along_both_equations(generator):
    model, x = _Growing(0.8), torch.zeros(7, 2, dtype=torch.float64)
    for paths in (ode(model, x, TIMES), sde(model, x, TIMES, 0.8, generator, steps=10)):
        wanted = (TIMES + TIMES.square() / 2)[:, None].expand(3, 7)
        torch.testing.assert_close(paths.log_mass, wanted, atol=1e-4, rtol=1e-4)


def test_path_energy_of_optimal_transport_is_its_cost(generator):
    model = GaussianDynamics(1e-9)
    energy = path_energy(model, end(0, N, generator).double(), 0.0, 1.0, steps=20)
    assert energy == pytest.approx(model.exact.transport_cost(), rel=0.03)


def test_times_must_be_in_order(generator):
    with pytest.raises(InputError, match="neither ascend nor descend"):
        ode(GaussianDynamics(0.5), torch.zeros(2, 2), torch.tensor([0.0, 1.0, 0.5]))
