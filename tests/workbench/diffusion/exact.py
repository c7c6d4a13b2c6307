"""Densities whose noised scores are closed forms, shared by the tests of the diffusion samplers."""

from __future__ import annotations

import torch
from torch import Tensor

from domains.synthetic.gaussian_mixture import GaussianMixture
from workbench.diffusion.generation import Score
from workbench.diffusion.schedule import GeometricSchedule
from workbench.problem import KnownAnswers, centred


class IsotropicGaussian:
    """N(0, s2) on R^event, or on the mean-free subspace of [particle, space]; unnormalised, u(0) = 0."""

    name, length_unit, known = "gaussian", "1", KnownAnswers()

    def __init__(self, s2: float, event_shape: tuple[int, ...], mean_free: bool = False) -> None:
        self.s2, self.event_shape, self.mean_free = s2, event_shape, mean_free
        removed = event_shape[-1] if mean_free else 0
        self.degrees_of_freedom = int(torch.tensor(event_shape).prod()) - removed

    def energy(self, x: Tensor) -> Tensor:
        return self.energy_and_force(x)[0]

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = centred(x) if self.mean_free else x
        return 0.5 * x.flatten(1).square().sum(1) / self.s2, -x / self.s2

    def initial(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn((n, *self.event_shape), generator=generator)

    def score(self, schedule: GeometricSchedule) -> Score:
        """The exact score of the noised density."""

        def at(x: Tensor, t: Tensor) -> Tensor:
            variance = schedule.variance(t).view(-1, *[1] * (x.dim() - 1))
            return -(centred(x) if self.mean_free else x) / (self.s2 + variance)

        return at


def uneven_mixture() -> GaussianMixture:
    """Three modes in the plane with unequal weights and widths, off the axes."""
    means = torch.tensor([[-3.0, 1.0], [2.0, 2.5], [1.0, -2.0]])
    widths, weights = torch.tensor([0.5, 0.8, 0.35]), torch.tensor([0.2, 0.5, 0.3])
    return GaussianMixture(means, widths, weights)


def mixture_log_density(mixture: GaussianMixture, x: Tensor, variance: Tensor) -> Tensor:
    """log p_h(x) [batch] in operations that autograd can follow twice; variance [batch]."""
    total = mixture.standard_deviations**2 + variance[:, None]
    squared = (x[:, None] - mixture.means).square().sum(-1)
    dim = x.shape[1]
    terms = -0.5 * squared / total - 0.5 * dim * (2 * torch.pi * total).log()
    return torch.logsumexp(terms + mixture.weights.log(), dim=1)


def mixture_score(mixture: GaussianMixture, schedule: GeometricSchedule) -> Score:
    """The exact noised score of the mixture as a differentiable function, in float64."""

    def at(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_(True)
            log_density = mixture_log_density(mixture, y, schedule.variance(t)).sum()
            return torch.autograd.grad(log_density, y, create_graph=x.requires_grad)[0]

    return at
