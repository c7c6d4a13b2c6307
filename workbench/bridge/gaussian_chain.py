"""Discrete chains with Gaussian kernels whose drift and variance are networks, in either direction of time.

    forward    x_{k+1} | x_k ~ N( x_k + a(x_k, t_k) dt,        sigma^2 dt exp h(x_k, t_k) )
    backward   x_k | x_{k+1} ~ N( x_{k+1} + b(x_{k+1}, t_{k+1}) dt,  the same )

on K equal steps of [0, 1]; one class for both, stepping up or down. h = 0 and a = 0 is the reference.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.bridge.networks import Field

_LARGEST_LOG_FACTOR = 2.0


class GaussianChain(nn.Module):
    """One direction of a bridge; an untrained one is the reference."""

    def __init__(
        self,
        dim: int,
        sigma: float,
        n_steps: int,
        width: int,
        n_layers: int,
        learn_variance: bool,
        backward: bool,
    ) -> None:
        super().__init__()
        self.dim, self.sigma, self.n_steps = dim, sigma, n_steps
        self.learn_variance, self.backward = learn_variance, backward
        n_out = dim + (1 if learn_variance else 0)
        self.field = Field(dim, n_out, width, n_layers, n_waves=3)

    def kernel(
        self, x: Float[Tensor, "batch feature"], t: Float[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch"]]:
        """Mean and log variance of the next point; t is the time of `x`. The factor on the variance
        stays within exp(+-2) by a smooth bound."""
        out = self.field(x, t)
        step = 1.0 / self.n_steps
        log_variance = out.new_full((len(x),), math.log(self.sigma**2 * step))
        if self.learn_variance:
            bound = _LARGEST_LOG_FACTOR
            log_variance = log_variance + bound * torch.tanh(out[:, -1] / bound)
        return x + step * out[:, : self.dim], log_variance

    @torch.no_grad()
    def sample(
        self, start: Float[Tensor, "batch feature"], generator: torch.Generator
    ) -> Float[Tensor, "time batch feature"]:
        """Paths from `start`, always in ascending time: a backward chain starts at the last point."""
        path = [start]
        for k in range(self.n_steps):
            t = 1.0 - k / self.n_steps if self.backward else k / self.n_steps
            mean, log_variance = self.kernel(path[-1], start.new_full((len(start),), t))
            noise = torch.randn(start.shape, generator=generator, device=generator.device)
            path.append(mean + (0.5 * log_variance).exp()[:, None] * noise.to(start))
        return torch.stack(path[::-1] if self.backward else path)

    def log_prob(self, path: Float[Tensor, "time batch feature"]) -> Float[Tensor, "batch"]:
        """log density of the steps of each path, given its start in the direction of the chain."""
        times = torch.arange(self.n_steps + 1, device=path.device).to(path.dtype) / self.n_steps
        here, there = (path[1:], path[:-1]) if self.backward else (path[:-1], path[1:])
        at = times[1:] if self.backward else times[:-1]
        n_batch = path.shape[1]
        mean, log_variance = self.kernel(here.flatten(0, 1), at.repeat_interleave(n_batch))
        squared = (there.flatten(0, 1) - mean).square().sum(1)
        scaled = squared * (-log_variance).exp()
        log_density = -0.5 * (scaled + self.dim * (log_variance + math.log(2.0 * math.pi)))
        return log_density.view(self.n_steps, n_batch).sum(0)
