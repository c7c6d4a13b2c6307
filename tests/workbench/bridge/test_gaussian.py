"""The closed-form Gaussian bridge against Sinkhorn on a grid, Bures and its own equations."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from tests.workbench.bridge.gaussians import COVARIANCES, bridge
from workbench.bridge.gaussian import GaussianBridge


def test_one_dimension_against_the_scalar_formula():
    a, b, sigma = 0.7, 2.0, 1.3
    one = torch.ones(1, 1)
    exact = GaussianBridge(torch.zeros(1), a * one, torch.ones(1), b * one, sigma)
    c = 0.5 * ((sigma**4 + 4 * a * b) ** 0.5 - sigma**2)
    assert float(exact.coupling) == pytest.approx(c)


def test_coupling_satisfies_the_entropic_optimality():
    # The joint precision of the ends must couple them by exactly -I / sigma^2.
    exact = bridge(0.9)
    c = exact.coupling
    joint = torch.cat([torch.cat([COVARIANCES[0], c], 1), torch.cat([c.T, COVARIANCES[1]], 1)], 0)
    cross = torch.linalg.inv(joint)[:2, 2:]
    torch.testing.assert_close(cross, -torch.eye(2).double() / 0.9**2)


def test_no_noise_is_optimal_transport():
    exact = bridge(0.0)
    cost = ot.gaussian.bures_wasserstein_distance(
        *(m.numpy() for m in (exact.mean0, exact.mean1)), *(s.numpy() for s in COVARIANCES)
    )
    assert exact.transport_cost() == pytest.approx(float(np.asarray(cost)) ** 2)


def test_velocity_and_drift_move_the_moments():
    # dV/ds = J V + V J^T for the flow, and + sigma^2 I for the drift, J the Jacobian.
    exact, s, h = bridge(0.8), 0.37, 1e-5
    change = (exact.covariance(s + h) - exact.covariance(s - h)) / (2 * h)
    zero = torch.zeros(1, 2, dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    for field, noise in ((exact.velocity, 0.0), (exact.drift, 0.8**2)):
        jacobian = (field(eye, s) - field(zero, s)).T
        v = exact.covariance(s)
        torch.testing.assert_close(jacobian @ v + v @ jacobian.T + noise * eye, change)
        at_mean = field(exact.mean(s)[None], s)[0]
        torch.testing.assert_close(at_mean, exact.mean1 - exact.mean0)
