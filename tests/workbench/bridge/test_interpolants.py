"""Interpolants: ends, derivatives, and the velocity and score of the Brownian bridge."""

from __future__ import annotations

import pytest
import torch
from scipy.interpolate import CubicSpline

from workbench.bridge.interpolants import brownian_bridge, straight
from workbench.bridge.spline import second_derivatives, spline


def test_straight_line_with_smoothing(generator):
    x0, x1, noise = torch.randn(3, 6, 2, generator=generator)
    s = torch.linspace(0, 1, 6)
    x, u = straight(x0, x1, s, 0.3, noise)
    torch.testing.assert_close(x, (1 - s[:, None]) * x0 + s[:, None] * x1 + 0.3 * noise)
    torch.testing.assert_close(u, x1 - x0)


def test_bridge_velocity_is_the_derivative_at_fixed_noise(generator):
    x0, x1, noise = torch.randn(3, 50, 2, generator=generator, dtype=torch.float64)
    s = torch.linspace(0.05, 0.95, 50, dtype=torch.float64)
    sigma = torch.full((50,), 0.7, dtype=torch.float64)
    x, u, deviation = brownian_bridge(x0, x1, s, sigma, noise)
    ahead, behind = (brownian_bridge(x0, x1, s + h, sigma, noise)[0] for h in (1e-6, -1e-6))
    torch.testing.assert_close((ahead - behind) / 2e-6, u, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(deviation, 0.7 * (s * (1 - s)).sqrt())
    mean = torch.lerp(x0, x1, s[:, None])
    slope = ((1 - 2 * s) / (2 * s * (1 - s)))[:, None]
    torch.testing.assert_close(u, slope * (x - mean) + x1 - x0)  # the form of the papers


@pytest.mark.parametrize("n", [2, 3, 6])
def test_spline_agrees_with_scipy(generator, n):
    times = torch.rand(n, generator=generator, dtype=torch.float64).cumsum(0) + 1.0
    chain = torch.randn(4, n, 2, generator=generator, dtype=torch.float64)
    reference = CubicSpline(times.numpy(), chain.numpy(), axis=1, bc_type="natural")
    bends = second_derivatives(chain, times)
    s = torch.tensor([0.0, 0.3, 0.8, 1.0], dtype=torch.float64)
    for k in range(n - 1):
        gap = times[k + 1] - times[k]
        ends = chain[:, k], chain[:, k + 1], bends[:, k], bends[:, k + 1]
        x, u = spline(*ends, gap.expand(4), s)
        at = (times[k] + s * gap).numpy()
        for i in range(4):
            assert x[i].numpy() == pytest.approx(reference(at[i])[i], abs=1e-10)
            assert u[i].numpy() == pytest.approx(reference(at[i], 1)[i] * float(gap), abs=1e-10)
