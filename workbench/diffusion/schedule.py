"""The variance-exploding (VE) noise schedule with geometric noise levels.

    x_t = x_0 + sqrt(h(t)) eps,   h(t) = sigma_min^2 (r^{2t} - 1),   r = sigma_max / sigma_min
    dh/dt = g(t)^2 = 2 ln(r) sigma_min^2 r^{2t}

t = 0 is data, t = 1 noise; h is a variance (Song et al., Score-based generative modeling through
stochastic differential equations, 2021, arXiv 2011.13456; iDEM, 2024, arXiv 2402.06121).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.errors import InputError


@dataclass(frozen=True)
class GeometricSchedule:
    """Noise standard deviations from `sigma_min` to `sigma_max`, in the length unit of the energy."""

    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise InputError(
                f"noise levels must satisfy 0 < sigma_min < sigma_max, not {self.sigma_min} and "
                f"{self.sigma_max}"
            )

    @property
    def log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def variance(self, t: Tensor) -> Tensor:
        """h(t), the variance of the noise; zero at t = 0."""
        return self.sigma_min**2 * torch.expm1(2.0 * self.log_ratio * t)

    def rate(self, t: Tensor) -> Tensor:
        """g(t)^2 = dh/dt."""
        return 2.0 * self.log_ratio * self.sigma_min**2 * torch.exp(2.0 * self.log_ratio * t)

    @property
    def final_variance(self) -> float:
        return self.sigma_max**2 - self.sigma_min**2
