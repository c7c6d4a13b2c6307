"""Paths between two points of a pair: what a position in between is, and how it moves.

s in [0, 1] is the share of the interval that has passed; velocities are per unit of s.

    straight          x = (1-s) x0 + s x1 + sigma e                 u = x1 - x0
    Brownian bridge   x = (1-s) x0 + s x1 + sigma sqrt(s (1-s)) e
                      u = x1 - x0 + (1-2s) / (2 s (1-s)) (x - mean)

e is standard normal and sigma the standard deviation of the reference after the whole interval. The
bridge's u is the velocity that moves its marginals; its score given the ends is -e / (sigma sqrt(s (1-s))).
Tong et al., Improving and generalizing flow-based generative models with minibatch optimal transport,
2024, arXiv 2302.00482; Simulation-free Schrödinger bridges via score and flow matching, 2024,
arXiv 2307.03672.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

EDGE = 1e-3
"""Bridge targets diverge at both ends of an interval: s is kept this far away from them."""


def straight(
    x0: Float[Tensor, "batch feature"],
    x1: Float[Tensor, "batch feature"],
    s: Float[Tensor, "batch"],
    sigma: float,
    noise: Float[Tensor, "batch feature"],
) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch feature"]]:
    """Position and velocity on the line, with constant smoothing `sigma` of the position."""
    step = x1 - x0
    x = torch.addcmul(x0, s[:, None], step)
    return (torch.add(x, noise, alpha=sigma) if sigma else x), step


def brownian_bridge(
    x0: Float[Tensor, "batch feature"],
    x1: Float[Tensor, "batch feature"],
    s: Float[Tensor, "batch"],
    sigma: Float[Tensor, "batch"],
    noise: Float[Tensor, "batch feature"],
) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch feature"], Float[Tensor, "batch"]]:
    """Position, velocity and the standard deviation sigma sqrt(s (1-s)) of the position."""
    step = x1 - x0
    root = (s * (1.0 - s)).sqrt()
    x = torch.addcmul(torch.addcmul(x0, s[:, None], step), (sigma * root)[:, None], noise)
    slope = sigma * (1.0 - 2.0 * s) / (2.0 * root)
    return x, torch.addcmul(step, slope[:, None], noise), sigma * root
