"""The closed-form Wasserstein-Fisher-Rao path between two weighted points."""

from __future__ import annotations

import math

import pytest
import torch

from workbench.bridge.wfr import action, dirac_path


def _path(distance, m0, m1, delta, n):
    s = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    x0 = torch.zeros(n, 2, dtype=torch.float64)
    x1 = x0 + distance * torch.tensor([0.6, 0.8], dtype=torch.float64)
    path = dirac_path(
        x0, x1, torch.full((n,), m0).double(), torch.full((n,), m1).double(), delta, s
    )
    return path, s, x1


@pytest.mark.parametrize(
    ("distance", "m0", "m1", "delta"),
    [(1.5, 0.6, 1.7, 1.0), (2.9, 1.0, 1.0, 1.0), (0.3, 2.0, 0.1, 5.0), (1e-4, 1.0, 1.0, 3.0)],
)
def test_ends_derivatives_and_action(distance, m0, m1, delta):
    path, s, x1 = _path(distance, m0, m1, delta, 20_001)
    assert path.mass[[0, -1]].tolist() == pytest.approx([m0, m1])
    torch.testing.assert_close(path.position[-1], x1[-1])
    assert float(path.position[0].abs().max()) == 0.0
    step = float(s[1])
    moved = (path.position[2:] - path.position[:-2]) / (2 * step)
    grown = (path.mass[2:].log() - path.mass[:-2].log()) / (2 * step)
    torch.testing.assert_close(moved, path.velocity[1:-1], atol=1e-6 * distance, rtol=1e-5)
    torch.testing.assert_close(grown, path.growth[1:-1], atol=1e-6, rtol=1e-5)
    cost = 0.5 * (path.velocity.square().sum(1) + delta**2 * path.growth.square()) * path.mass
    least = action(x1[:1].norm(dim=1), path.mass[:1], path.mass[-1:], delta)
    assert float(torch.trapezoid(cost, s)) == pytest.approx(float(least), rel=1e-5)


def test_far_reach_is_the_straight_line_in_single_precision():
    s = torch.linspace(0.01, 0.99, 9)
    x0, x1 = torch.zeros(9, 3), torch.tensor([[1.0, -2.0, 0.5]]).expand(9, 3)
    path = dirac_path(x0, x1, torch.ones(9), torch.ones(9), 1e3, s)
    torch.testing.assert_close(path.position, s[:, None] * x1, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(path.velocity, x1, atol=1e-4, rtol=1e-4)
    assert float(path.growth.abs().max()) < 1e-4


def test_growth_in_place():
    path, s, _ = _path(0.0, 1.0, 2.0, 1.0, 11)
    a = math.sqrt(2.0) - 1.0
    torch.testing.assert_close(path.mass, (1 + a * s).square())
    torch.testing.assert_close(path.growth, 2 * a / (1 + a * s))
    assert float(path.velocity.abs().max()) == 0.0
