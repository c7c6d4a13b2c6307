"""Score matching along Brownian bridges, the second half of [SF]2M, in both scalings.

With x_t = mean + sd e, sd = sigma sqrt(s (1-s)), the score given the ends is -e / sd.

    plain   the network gives the score:             L = E |sd s(x, t) + e|^2
    drift   it gives s' = sigma^2 / 2 times the score:  L = E |lambda s'(x, t) + e|^2,
            lambda = 2 sd / sigma^2 = 2 sqrt(s (1-s)) / sigma

Both have the same minimiser up to the factor sigma^2 / 2; `BridgeModel.score` always gives the plain score.
Here sigma is per square root of the time unit that velocities are measured in (`sigma_rate`), and sd is
that of the position. Tong et al., Simulation-free Schrödinger bridges via score and flow matching, 2024,
arXiv 2307.03672. Nothing is added to sigma and lambda is not taken at t mod 1: s stays away from the ends.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def plain_score_matching(
    score: Float[Tensor, "batch feature"],
    noise: Float[Tensor, "batch feature"],
    deviation: Float[Tensor, "batch"],
) -> Float[Tensor, ""]:
    """deviation = sd; `score` in 1/length."""
    return (deviation[:, None] * score + noise).square().mean()


def drift_score_matching(
    scaled_score: Float[Tensor, "batch feature"],
    noise: Float[Tensor, "batch feature"],
    deviation: Float[Tensor, "batch"],
    sigma_rate: float,
) -> Float[Tensor, ""]:
    """`scaled_score` = sigma_rate^2 / 2 times the score: a velocity."""
    return ((2.0 / sigma_rate**2) * deviation[:, None] * scaled_score + noise).square().mean()
