"""The adversarially learned interpolant: its derivative, its ends, and a bent course that it finds."""

from __future__ import annotations

import pytest
import torch

from workbench.bridge import adversarial
from workbench.bridge.adversarial import AdversarialInterpolant
from workbench.bridge.options import AdversarialConfig, BridgeConfig
from workbench.bridge.problem import prepare


@pytest.mark.parametrize("n_waves", [0, 3])
def test_velocity_is_the_derivative_and_ends_are_kept(generator, n_waves):
    net = AdversarialInterpolant(2, 16, n_waves).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.5, generator=generator)
    x0, x1 = torch.randn(2, 40, 2, generator=generator, dtype=torch.float64)
    s = torch.linspace(0.05, 0.95, 40, dtype=torch.float64)
    position, velocity = net.path(x0, x1, s)
    torch.testing.assert_close(position, net(x0, x1, s).detach())
    step = 1e-6
    slope = (net(x0, x1, s + step) - net(x0, x1, s - step)).detach() / (2 * step)
    torch.testing.assert_close(velocity, slope, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(net.path(x0, x1, 0 * s)[0], x0)
    torch.testing.assert_close(net.path(x0, x1, 0 * s + 1)[0], x1)


def _bent_course(generator, n=200):
    """Cells that follow x0 + t d + 4 t (1 - t) k, seen at five times."""
    times = torch.linspace(0.0, 1.0, 5)
    d, k = torch.tensor([6.0, 0.0]), torch.tensor([0.0, 3.0])
    cells = [
        0.4 * torch.randn(n, 2, generator=generator) + t * d + 4 * t * (1 - t) * k for t in times
    ]
    return cells, times, k


@pytest.mark.parametrize(
    ("loss", "regulariser"),
    [("vanilla", "piecewise"), ("rpgan", "linear"), ("r3gan", "curvature")],
)
def test_a_bent_course_is_followed(generator, loss, regulariser):
    cells, times, k = _bent_course(generator)
    config = AdversarialConfig(
        loss=loss,
        regulariser=regulariser,
        weight={"linear": 0.01, "piecewise": 1.0, "curvature": 1e-5}[regulariser],
        pretrain_steps=150,
        steps=60,
        width=32,
        batch=128,
        learning_rate=1e-3,
    )
    problem = prepare(BridgeConfig(method="alicfm", adversarial=config), cells, times, generator)
    net = adversarial.train(config, problem, generator)
    x0, x1 = (problem.frame.position(cells[i]) for i in (0, -1))
    middle = problem.frame.data(net.path(x0, x1, torch.full((len(x0),), 0.5))[0])
    straight = 0.5 * (cells[0] + cells[-1])
    bend = (middle - straight).mean(0)
    assert float((bend - k).norm() / k.norm()) < 0.2


def test_the_game_alone_finds_the_bend(generator):
    # No regression beforehand: only the discriminator says where the snapshots are.
    cells, times, k = _bent_course(generator)
    config = AdversarialConfig(
        pretrain_steps=0, steps=300, width=32, batch=64, learning_rate=2e-3, weight=0.0
    )
    problem = prepare(BridgeConfig(method="alicfm", adversarial=config), cells, times, generator)
    net = adversarial.train(config, problem, generator)
    x0, x1 = (problem.frame.position(cells[i]) for i in (0, -1))
    middle = problem.frame.data(net.path(x0, x1, torch.full((len(x0),), 0.5))[0])
    bend = (middle - 0.5 * (cells[0] + cells[-1])).mean(0)
    assert float((bend - k).norm() / k.norm()) < 0.35
