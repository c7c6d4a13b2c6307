"""Samples from a learned score: the reverse stochastic differential equation of a VE schedule.

    x_{k+1} = x_k + dh s(x_k, t_k) + c sqrt(dh) eps,   dh = h(t_k) - h(t_{k+1}),   x_0 ~ N(0, h(1) + l^2)

Euler-Maruyama in the variance h on times uniform in [0, 1], from t = 1 to t = 0 (iDEM, 2024, arXiv 2402.06121).
`c`, the diffusion scale, is 1 for the model's own law; below 1 the samples are cooler than the model,
a bias that the published LJ runs carry (0.9 and 0.5). The prior's variance includes l^2, the target's own
scale, which the paper leaves out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.diffusion.schedule import GeometricSchedule
from workbench.problem import Energy, normal_like_space, project

Score = Callable[[Tensor, Tensor], Tensor]


def prior_samples(
    energy: Energy,
    schedule: GeometricSchedule,
    length: float,
    n: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "n *event"]:
    """Draws from N(0, h(1) + length^2) on the space of the energy."""
    deviation = (schedule.final_variance + length**2) ** 0.5
    return deviation * normal_like_space(energy, n, generator, dtype)


@torch.no_grad()
def reverse_sde(
    score: Score,
    energy: Energy,
    schedule: GeometricSchedule,
    x: Float[Tensor, "batch *event"],
    n_steps: int,
    generator: torch.Generator,
    diffusion_scale: float = 1.0,
) -> Float[Tensor, "batch *event"]:
    """Carries prior draws `x` at t = 1 to t = 0 in `n_steps` steps."""
    times = torch.linspace(1.0, 0.0, n_steps + 1, dtype=torch.float64)
    variances = schedule.variance(times)
    for k in range(n_steps):
        drop = float(variances[k] - variances[k + 1])
        t = x.new_full((len(x),), float(times[k]))
        noise = normal_like_space(energy, len(x), generator, x.dtype)
        # A score that bounds each particle's force by itself may move the centre.
        x = project(energy, x + drop * score(x, t)) + diffusion_scale * drop**0.5 * noise
    return x
