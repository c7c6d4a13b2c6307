"""Two Gaussians whose Schrödinger bridge is known, for the tests of training and simulation."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.bridge.frame import Frame
from workbench.bridge.gaussian import GaussianBridge

MEANS = torch.tensor([[0.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[1.0, 0.3], [0.3, 0.5]], [[0.6, -0.4], [-0.4, 1.5]]], dtype=torch.float64
)
FRAME = Frame(torch.zeros(2), 1.0, 0.0, 1.0)
TIMES = torch.tensor([0.0, 1.0])


def bridge(sigma: float) -> GaussianBridge:
    return GaussianBridge(MEANS[0], COVARIANCES[0], MEANS[1], COVARIANCES[1], sigma)


def end(k: int, n: int, generator: torch.Generator) -> Tensor:
    """`n` samples of one end."""
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return (MEANS[k] + noise @ torch.linalg.cholesky(COVARIANCES[k]).T).float()


def moment_errors(x: Tensor, exact: GaussianBridge, s: float) -> tuple[float, float]:
    """Error of the mean over the standard deviation (rms over coordinates), and relative Frobenius
    error of the covariance."""
    mean, covariance = exact.mean(s), exact.covariance(s)
    x = x.double()
    shift = (x.mean(0) - mean).norm() / covariance.trace().sqrt()
    return float(shift), float((torch.cov(x.T) - covariance).norm() / covariance.norm())


class GaussianDynamics:
    """The exact bridge in the form that simulation takes."""

    has_growth = False

    def __init__(self, sigma: float) -> None:
        self.exact = bridge(sigma)

    def velocity(self, x: Tensor, t: float) -> Tensor:
        return self.exact.velocity(x, min(t, 1 - 1e-6))

    def score(self, x: Tensor, t: float) -> Tensor:
        return self.exact.score(x, t)

    def growth(self, x: Tensor, t: float) -> Tensor:
        raise AssertionError("a Gaussian bridge does not grow")
