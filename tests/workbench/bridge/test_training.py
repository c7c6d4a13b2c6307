"""Training of every method against closed forms; units, penalties and resumption."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from tests.workbench.bridge.gaussians import (
    COVARIANCES,
    FRAME,
    MEANS,
    TIMES,
    bridge,
    end,
    moment_errors,
)
from workbench.bridge import training
from workbench.bridge.options import AdversarialConfig, BridgeConfig, CouplingConfig
from workbench.bridge.options import UnbalancedConfig as Unbalanced
from workbench.bridge.simulation import ode, path_energy, sde
from workbench.errors import InputError
from workbench.runs.folder import RunFolder
from workbench.training.interrupts import Interrupted

GRID = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])


def _bures_w2(x, mean, covariance) -> float:
    import ot

    found = x.double().mean(0).numpy(), mean.numpy()
    spread = torch.cov(x.double().T).numpy(), covariance.numpy()
    return float(ot.gaussian.bures_wasserstein_distance(*found, *spread))


def _check_bridge(sigma, n_cells, steps, tolerance, generator, batch=256, n_paths=4000):
    cells = [end(k, n_cells, generator) for k in (0, 1)]
    config = BridgeConfig(method="sf2m", sigma=sigma, steps=steps, batch=batch, learning_rate=3e-3)
    model = training.train(config, cells, TIMES, generator, frame=FRAME)
    exact = bridge(sigma)
    start = end(0, n_paths, generator)
    paths = sde(model, start, GRID, model.sigma, generator, steps=10)
    for t, x in zip(GRID.tolist()[1:], paths.x[1:], strict=True):
        mean, covariance = moment_errors(x, exact, t)
        assert mean < tolerance and covariance < tolerance, (sigma, t, mean, covariance)
    return model, exact, start


def test_sf2m_of_gaussians(generator):
    # 1,000 cells an end: their covariances themselves are off by about 5 %, so 12 % is asked here
    # and 5 % in the slow test on 10,000.
    model, exact, _ = _check_bridge(1.0, 1000, 300, 0.12, generator)
    x = exact.mean(0.5) + torch.randn(2000, 2, generator=generator).double()
    score = exact.score(x, 0.5)
    error = (model.score(x.float(), 0.5) - score).norm() / score.norm()
    assert float(error) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_sf2m_of_gaussians_within_five_percent(generator, sigma):
    # 10,000 cells an end know their own means to about 1 %.
    model, exact, start = _check_bridge(sigma, 10_000, 4000, 0.05, generator, 512, 20_000)
    for t, x in zip((0.25, 0.5, 0.75), ode(model, start, GRID).x[1:4], strict=True):
        assert max(moment_errors(x, exact, t)) < 0.05
    back = sde(model, end(1, 20_000, generator), GRID.flip(0), 0.5 * sigma, generator, steps=25)
    for t, x in zip((0.75, 0.5, 0.25), back.x[1:4], strict=True):
        assert max(moment_errors(x, exact, t)) < 0.05


def _check_transport(n_cells, steps, energy, at_end, generator, n_paths=4000):
    cells = [end(k, n_cells, generator) for k in (0, 1)]
    config = BridgeConfig(method="otcfm", sigma=0.0, steps=steps, learning_rate=3e-3)
    model = training.train(config, cells, TIMES, generator, frame=FRAME)
    squared = bridge(0.0).transport_cost()
    start = end(0, n_paths, generator)
    assert path_energy(model, start, 0.0, 1.0, steps=10) == pytest.approx(squared, rel=energy)
    moved = ode(model, start, TIMES).x[-1]
    assert _bures_w2(moved, MEANS[1], COVARIANCES[1]) < at_end * squared**0.5


def test_otcfm_of_gaussians(generator):
    _check_transport(600, 300, 0.08, 0.06, generator)


@pytest.mark.slow
def test_otcfm_energy_within_three_percent_and_end_within_four(generator):
    _check_transport(10_000, 2000, 0.03, 0.04, generator, 20_000)


@pytest.mark.slow
def test_linear_sde_recovered_within_its_errors(generator):
    """Snapshots of dX = -K X dt + sigma dW with K symmetric: among all drifts with these marginals its
    is the gradient one, which the bridge finds as the snapshots get dense. Four data sets give the error."""
    rate, sigma = torch.tensor([[1.0, 0.4], [0.4, 0.6]], dtype=torch.float64), 0.7
    times = torch.linspace(0.0, 1.6, 9)
    values, vectors = torch.linalg.eigh(rate)
    found = []
    for _ in range(4):
        cells = []
        for t in times.double():
            decay = (vectors * (-values * t).exp()) @ vectors.T
            noise = sigma**2 * (1 - (-2 * values * t).exp()) / (2 * values)
            x = torch.randn(3000, 2, generator=generator, dtype=torch.float64) * 1.2 + 2.0
            kick = torch.randn(3000, 2, generator=generator, dtype=torch.float64) * noise.sqrt()
            cells.append((x @ decay + kick @ vectors.T).float())
        frame = dataclasses.replace(FRAME, interval=float(times[1]))
        relative = sigma * float(times[1]) ** 0.5
        config = BridgeConfig(method="sf2m", sigma=relative, steps=1500, learning_rate=3e-3)
        model = training.train(config, cells, times, generator, frame=frame)
        assert model.sigma == pytest.approx(sigma)
        fits = []
        for t, x in zip(times.tolist()[2:7], cells[2:7], strict=True):
            drift = model.drift(x, t + 0.1, sigma).detach().double()
            at = torch.cat([x.double(), torch.ones(len(x), 1)], dim=1)
            fits.append(torch.linalg.lstsq(at, drift).solution[:2])
        found.append(-torch.stack(fits).mean(0))
    stack = torch.stack(found)
    error = stack.std(0) / 2.0
    assert float(error.max()) < 0.15
    assert bool(((stack.mean(0) - rate).abs() < 3 * error + 0.05).all())


SMALL = AdversarialConfig(pretrain_steps=20, steps=20, batch=64)


def _course(generator, n=60):
    times = torch.tensor([0.0, 1.0, 3.0])
    cells = [torch.randn(n, 3, generator=generator) + 2.0 * t for t in times.tolist()]
    return cells, times


@pytest.mark.parametrize(
    "method", ["icfm", "otcfm", "sbcfm", "sf2m", "spline", "alicfm", "unbalanced"]
)
def test_every_method_carries_the_cells_along(generator, method):
    cells, times = _course(generator, 150)
    config = BridgeConfig(
        method=method,
        sigma=0.2,
        steps=150,
        batch=128,
        learning_rate=5e-3,
        adversarial=SMALL,
        unbalanced=Unbalanced(length=10.0),
    )
    model = training.train(config, cells, times, generator)
    paths = ode(model, cells[0], times)
    assert len(model.plans) == 2
    for x, wanted in zip(paths.x[1:], cells[1:], strict=True):
        assert float((x.mean(0) - wanted.mean(0)).abs().max()) < 0.5


def test_another_time_unit_is_the_same_training(generator):
    cells, days = _course(generator)
    config = BridgeConfig(method="sf2m", steps=15, batch=32)

    def train(times):
        return training.train(config, cells, times, torch.Generator().manual_seed(1))

    in_days, in_hours = train(days), train(24 * days)
    x = cells[1]
    torch.testing.assert_close(in_days.velocity(x, 0.5), 24 * in_hours.velocity(x, 12.0))
    torch.testing.assert_close(in_days.score(x, 0.5), in_hours.score(x, 12.0))
    assert in_days.sigma == pytest.approx(24**0.5 * in_hours.sigma)


def test_both_score_scalings_learn_the_same_score(generator):
    cells = [end(k, 300, generator) for k in (0, 1)]
    scores, x = [], end(0, 500, generator)
    for scaling in ("plain", "drift"):
        config = BridgeConfig(
            method="sf2m", sigma=1.0, steps=300, learning_rate=3e-3, score_scaling=scaling
        )
        model = training.train(config, cells, TIMES, torch.Generator().manual_seed(1), frame=FRAME)
        scores.append(model.score(x, 0.4).detach())
    assert float((scores[0] - scores[1]).norm() / scores[0].norm()) < 0.2


def test_growth_of_two_populations(generator):
    # One cluster doubles, the other halves, and nobody moves: growth is known everywhere.
    x = torch.randn(120, 2, generator=generator) * 0.2
    x[60:] += 6.0
    weights = [torch.ones(120), torch.cat([torch.full((60,), 2.0), torch.full((60,), 0.5)])]
    config = BridgeConfig(
        method="unbalanced",
        sigma=0.0,
        steps=400,
        learning_rate=5e-3,
        unbalanced=Unbalanced(length=1.0, mass_source="given"),
        coupling=CouplingConfig(tolerance=1e-3),
    )
    model = training.train(config, [x, x], TIMES, generator, weights=weights, masses=[1.0, 1.25])
    grown = ode(model, x, TIMES).log_mass[-1].exp()
    assert float(grown[:60].mean()) == pytest.approx(2.0, rel=0.1)
    assert float(grown[60:].mean()) == pytest.approx(0.5, rel=0.1)
    assert model.note is None


class _Shrinking(nn.Module):
    """A linear velocity whose weights are pulled to zero by a penalty and a proximal step."""

    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.n_proximal = 0

    def forward(self, x, t):
        return self.weight * torch.ones_like(x)

    def penalty(self):
        return 100.0 * self.weight.abs().sum()

    def proximal(self, learning_rate):
        self.n_proximal += 1


def test_a_network_of_ones_own_with_its_penalty(generator):
    cells, times = _course(generator)
    config = BridgeConfig(steps=30, batch=16, learning_rate=0.1)
    problem = training.prepare(config, cells, times, generator)
    state = training.init(config, problem, generator, velocity=_Shrinking)
    for _ in range(30):
        state, info = training.step(config, problem, state)
    assert state.networks.velocity.n_proximal == 30
    assert info["penalty"] < 200.0 and float(state.networks.velocity.weight.detach().max()) < 0.5


def test_stopped_and_resumed_is_the_same(generator, tmp_path, monkeypatch):
    cells, times = _course(generator)
    config = BridgeConfig(method="alicfm", steps=12, batch=16, adversarial=SMALL)

    def train(folder):
        return training.train(config, cells, times, torch.Generator().manual_seed(2), folder=folder)

    whole = train(None)
    original, calls = training.step, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 7:
            import signal

            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    folder = RunFolder.create(tmp_path / "run", {}, "toy")
    monkeypatch.setattr(training, "step", stopping)
    with pytest.raises(Interrupted):
        train(folder)
    resumed = train(folder)
    for a, b in zip(whole.networks.parameters(), resumed.networks.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_cannot_be_trained(generator):
    cells, times = _course(generator)
    with pytest.raises(InputError, match="at least three"):
        config = BridgeConfig(method="alicfm", adversarial=SMALL)
        training.train(config, cells[:2], times[:2], generator)
    with pytest.raises(InputError, match="sigma is 0"):
        BridgeConfig(method="sf2m", sigma=0.0)
    plans = training.prepare(BridgeConfig(), cells, times, generator).plans
    with pytest.raises(InputError, match="do not fit"):
        training.train(BridgeConfig(), [c[:50] for c in cells], times, generator, plans=plans)
