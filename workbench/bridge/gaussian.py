"""The Schrödinger bridge between two Gaussians in closed form: truth for tests and checks.

Reference sigma dW over s in [0, 1], ends N(m0, A) and N(m1, B). With A^(1/2) B A^(1/2) and

    D = (4 A^(1/2) B A^(1/2) + sigma^4)^(1/2),    C = 1/2 (A^(1/2) D A^(-1/2) - sigma^2)

the ends have covariance C (E[x0 x1^T] - m0 m1^T), and the law at s is Gaussian with

    m(s) = (1-s) m0 + s m1
    V(s) = (1-s)^2 A + s^2 B + s (1-s) (C + C^T + sigma^2)

Since x_s = (1-s) x0 + s x1 + noise, conditional means give the velocity and the drift. Bunne et al., The
Schrödinger bridge between Gaussian measures has a closed form, 2023, arXiv 2202.05722. sigma = 0 is optimal
transport.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class GaussianBridge:
    """Means [feature] and covariances [feature, feature] of both ends; all in float64."""

    def __init__(
        self,
        mean0: Float[Tensor, "feature"],
        covariance0: Float[Tensor, "feature feature"],
        mean1: Float[Tensor, "feature"],
        covariance1: Float[Tensor, "feature feature"],
        sigma: float,
    ) -> None:
        self.mean0, self.covariance0 = mean0.double(), covariance0.double()
        self.mean1, self.covariance1 = mean1.double(), covariance1.double()
        self.sigma = sigma
        root = _root(self.covariance0)
        eye = torch.eye(len(mean0), dtype=torch.float64)
        d = _root(4.0 * root @ self.covariance1 @ root + sigma**4 * eye)
        self.coupling = 0.5 * (root @ d @ torch.linalg.inv(root) - sigma**2 * eye)
        """Covariance of x0 (rows) and x1 (columns)."""

    def mean(self, s: float) -> Float[Tensor, "feature"]:
        return (1.0 - s) * self.mean0 + s * self.mean1

    def covariance(self, s: float) -> Float[Tensor, "feature feature"]:
        c = self.coupling
        both = c + c.T + self.sigma**2 * torch.eye(len(c), dtype=torch.float64)
        return (1.0 - s) ** 2 * self.covariance0 + s**2 * self.covariance1 + s * (1.0 - s) * both

    def score(self, x: Float[Tensor, "batch feature"], s: float) -> Float[Tensor, "batch feature"]:
        """grad log p_s."""
        return -torch.linalg.solve(self.covariance(s), (x.double() - self.mean(s)).T).T

    def drift(self, x: Float[Tensor, "batch feature"], s: float) -> Float[Tensor, "batch feature"]:
        """Forward drift (E[x1 | x_s = x] - x) / (1 - s), s below one."""
        end = (1.0 - s) * self.coupling + s * self.covariance1  # covariance of x_s and x1
        gain = torch.linalg.solve(self.covariance(s), end).T
        centred = x.double() - self.mean(s)
        return (self.mean1 + centred @ gain.T - x.double()) / (1.0 - s)

    def velocity(
        self, x: Float[Tensor, "batch feature"], s: float
    ) -> Float[Tensor, "batch feature"]:
        """Velocity of the flow with the same marginals, s below one."""
        return self.drift(x, s) - 0.5 * self.sigma**2 * self.score(x, s)

    def transport_cost(self) -> float:
        """E |x1 - x0|^2 under the coupling; W2^2 where sigma is zero."""
        spread = self.covariance0.trace() + self.covariance1.trace() - 2.0 * self.coupling.trace()
        return float((self.mean1 - self.mean0).square().sum() + spread)


def _root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a positive matrix."""
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.T))
    return (vectors * values.clamp_min(0.0).sqrt()) @ vectors.T
