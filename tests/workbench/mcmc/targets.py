"""Small energies with closed forces and exact answers, for the tests of every sampler."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from workbench.problem import KnownAnswers, centred


class Target:
    """The members of `Energy` that do not differ between the targets here."""

    name = "target"
    mean_free = False
    length_unit = "1"
    known = KnownAnswers()
    event_shape: tuple[int, ...]

    @property
    def degrees_of_freedom(self) -> int:
        n = math.prod(self.event_shape)
        return n - self.event_shape[1] if self.mean_free else n

    def energy(self, x: Tensor) -> Tensor:
        return self.energy_and_force(x)[0]

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("each target has its own")

    def initial(self, n: int, generator: torch.Generator) -> Tensor:
        x = 2 * torch.randn((n, *self.event_shape), generator=generator, dtype=torch.float64)
        return centred(x) if self.mean_free else x


class Gaussian(Target):
    """u = (x - mean) precision (x - mean) / 2; log Z = (d log 2 pi + log det covariance) / 2."""

    def __init__(self, covariance: Tensor, mean: Tensor | float = 0.0) -> None:
        self.covariance, self.mean = covariance, mean
        self.precision = torch.linalg.inv(covariance)
        self.event_shape = (len(covariance),)
        self.log_partition = 0.5 * float(
            len(covariance) * math.log(2 * math.pi) + torch.logdet(covariance)
        )

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        force = -(x - self.mean) @ self.precision.to(x.dtype)
        return -0.5 * ((x - self.mean) * force).sum(1), force


def correlated_gaussian() -> Gaussian:
    return Gaussian(torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.5, 0.3], [0.0, 0.3, 0.25]]).double())


class DoubleWell(Target):
    """u = 3 (x^2 - 1)^2 + x / 2 in one dimension; answers by quadrature."""

    event_shape = (1,)

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = x * x - 1
        return (3 * inner * inner + 0.5 * x)[:, 0], -(12 * inner * x + 0.5)

    def exact(self, beta: float = 1.0) -> tuple[float, float, float]:
        """Mean of x, mean of u and log Z of exp(-beta u)."""
        x = torch.linspace(-4, 4, 8001, dtype=torch.float64)[:, None]
        u = self.energy(x)
        weight = torch.exp(-beta * u)
        total = weight.sum()
        mean_x, mean_u = (weight * x[:, 0]).sum() / total, (weight * u).sum() / total
        return float(mean_x), float(mean_u), math.log(float(total) * 8 / 8000)


class HarmonicParticles(Target):
    """Five particles in the plane, springs along a chain and to the centre; mean-free.

    u = x L x / 2 with L = chain Laplacian + 1: on the mean-free space each Cartesian component has
    covariance pinv(P L P), P the projection on centred vectors.
    """

    mean_free = True
    event_shape = (5, 2)

    def __init__(self) -> None:
        n = self.event_shape[0]
        step = torch.diff(torch.eye(n, dtype=torch.float64), dim=0)
        projection = torch.eye(n, dtype=torch.float64) - 1 / n
        self.stiffness = 4 * step.T @ step + projection
        self.covariance = torch.linalg.pinv(self.stiffness)

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        force = -self.stiffness.to(x.dtype) @ x
        return -0.5 * (x * force).sum((1, 2)), force


class TwoWells(Target):
    """An equal mixture of two normals of unit width at -4 and +4 in two dimensions; log Z = 0."""

    event_shape = (2,)
    centres = torch.tensor([[-4.0, 0.0], [4.0, 0.0]], dtype=torch.float64)

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        away = x[:, None] - self.centres.to(x.dtype)
        log_terms = -0.5 * away.square().sum(-1)
        share = torch.softmax(log_terms, dim=1)
        u = -torch.logsumexp(log_terms, dim=1) + math.log(2) + math.log(2 * math.pi)
        return u, -(share[..., None] * away).sum(1)


class Cliff(Target):
    """A standard normal that is not defined for x > 1: a proposal there must be refused."""

    event_shape = (1,)

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        outside = (x > 1).any(1)
        u = (0.5 * x.square().sum(1)).masked_fill(outside, torch.nan)
        return u, (-x).masked_fill(outside[:, None], torch.inf)
