"""Conditional flow matching: I-CFM, OT-CFM, SB-CFM and spline flow matching share this loss.

    L = E w |v(x_t, t) - u_t|^2

with (x_t, u_t) of the interpolant and the pair from the coupling; the minimiser is E[u_t | x_t = x] for
any weight w > 0 that depends on t alone. I-CFM: independent pairs on straight lines; OT-CFM: optimal
pairs on straight lines; SB-CFM: entropic pairs on Brownian bridges. Tong et al., 2024, arXiv 2302.00482.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def flow_matching(
    velocity: Float[Tensor, "batch feature"],
    target: Float[Tensor, "batch feature"],
    weight: Float[Tensor, "batch"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over rows and coordinates of the squared error, weighted per row."""
    if weight is None:
        return (velocity - target).square().mean()
    return ((velocity - target).square().mean(1) * weight).mean()


def bridge_weight(
    s: Float[Tensor, "batch"], sigma: Float[Tensor, "batch"]
) -> Float[Tensor, "batch"]:
    """1 / (1 + sigma^2 (1-2s)^2 / (4 s (1-s))): the inverse variance of the Brownian bridge's velocity,
    in units where that of x1 - x0 is one. The published loss has weight one; its minimiser is the same
    and its gradients are dominated by the ends of the interval."""
    return 1.0 / (1.0 + (sigma * (1.0 - 2.0 * s)).square() / (4.0 * s * (1.0 - s)))
