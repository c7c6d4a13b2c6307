"""Samples from a learned score: the reverse stochastic differential equation of a VE schedule.

    x_{k+1} = x_k + dh s(x_k, t_k) + c sqrt(dh r) eps,   dh = h(t_k) - h(t_{k+1}),   x_0 ~ N(0, h(1) + l^2)
    r = (h(t_{k+1}) + d^2) / (h(t_k) + d^2)

on times uniform in [0, 1], from t = 1 to t = 0. With d the standard deviation of a Gaussian target every step
is its exact transition, whatever its size; d is set to the target's fine length, so that the stiffest
modes, which a coarse step heats most, are carried without error, and for the soft ones r is near 1 where
the noise still matters to them. iDEM (2024, arXiv 2402.06121) takes Euler-Maruyama steps, r = 1, which
d = infinity gives. `c`, the diffusion scale, is 1 for the model's own law; below 1 the samples are cooler than
the model, a bias that the published LJ runs carry (0.9 and 0.5). The prior's variance includes l^2, the
target's own scale, which the paper leaves out.
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
    fine_length: float,
    diffusion_scale: float = 1.0,
) -> Float[Tensor, "batch *event"]:
    """Carries prior draws `x` at t = 1 to t = 0 in `n_steps` steps; `fine_length` is d above."""
    times = torch.linspace(1.0, 0.0, n_steps + 1, dtype=torch.float64)
    variances = schedule.variance(times)
    for k in range(n_steps):
        before, after = float(variances[k]), float(variances[k + 1])
        drop, fine = before - after, fine_length**2
        spread = diffusion_scale * (drop * (after + fine) / (before + fine)) ** 0.5
        t = x.new_full((len(x),), float(times[k]))
        noise = normal_like_space(energy, len(x), generator, x.dtype)
        # A score that bounds each particle's force by itself may move the centre.
        x = project(energy, x + drop * score(x, t)) + spread * noise
    return x
