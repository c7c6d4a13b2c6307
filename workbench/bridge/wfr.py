"""The Wasserstein-Fisher-Rao path between two weighted points: moving and growing at once.

Least action int int 1/2 (|u|^2 + delta^2 g^2) rho under d_t rho + div(rho u) = g rho. For m0 at x0 to m1 at x1,
D = |x1 - x0| < pi delta, s in [0, 1]:

    tau = tan(D / 2 delta),  S = sqrt(m0 m1) cos(D / 2 delta),  w = 2 delta tau S
    A = m0 + m1 - 2 S,  B = m0 - S,  m(s) = A s^2 - 2 B s + m0
    x(s) = x0 + e 2 delta [ atan(2 delta (A s - B) / w) + atan(2 delta B / w) ],  e = (x1 - x0) / D
    u = (w / m) e,  g = m' / m,  action = 2 delta^2 ( m0 + m1 - 2 S )

Beyond pi delta nothing is carried. delta -> infinity at equal masses is the straight line. Chizat et al.,
An interpolating distance between optimal transport and Fisher-Rao metrics, 2018, arXiv 1506.06430; flow
matching on it: WFR-FM, 2026, arXiv 2601.06810.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class DiracPath:
    """position, velocity [batch, feature] (velocity per unit of s); mass [batch]; growth [batch] =
    d log mass / ds."""

    position: Float[Tensor, "batch feature"]
    velocity: Float[Tensor, "batch feature"]
    mass: Float[Tensor, "batch"]
    growth: Float[Tensor, "batch"]


def dirac_path(
    x0: Float[Tensor, "batch feature"],
    x1: Float[Tensor, "batch feature"],
    m0: Float[Tensor, "batch"],
    m1: Float[Tensor, "batch"],
    delta: float,
    s: Float[Tensor, "batch"],
) -> DiracPath:
    """The path at s; every distance must be below pi delta."""
    step = x1 - x0
    distance = step.norm(dim=1)
    angle = distance / (2.0 * delta)
    # A and B as squares and products: m0 + m1 - 2 S loses all digits at small distances.
    both, gap = (m0 * m1).sqrt(), m0.sqrt() - m1.sqrt()
    turned = 2.0 * both * (0.5 * angle).sin().square()
    a, b = gap.square() + 2.0 * turned, m0.sqrt() * gap + turned
    mass = (a * s - 2.0 * b) * s + m0
    growth = 2.0 * (a * s - b) / mass
    rate = 2.0 * delta * both * angle.sin()  # w = 2 delta tau S, finite where tau is not
    # The sum of both arc tangents as one.
    numerator = 2.0 * delta * a * s * rate
    denominator = rate.square() - (2.0 * delta) ** 2 * b * (a * s - b)
    moved = 2.0 * delta * torch.atan2(numerator, denominator)
    near = distance < 1e-6 * delta
    share = torch.where(near, _share_at_one_place(m0, m1, s), moved / distance.clamp_min(1e-30))
    per_length = torch.where(near, both / mass, rate / mass / distance.clamp_min(1e-30))
    return DiracPath(x0 + share[:, None] * step, per_length[:, None] * step, mass, growth)


def action(
    distance: Float[Tensor, "batch"],
    m0: Float[Tensor, "batch"],
    m1: Float[Tensor, "batch"],
    delta: float,
) -> Float[Tensor, "batch"]:
    """Least action between two weighted points; beyond pi delta that of fading alone."""
    angle = (distance / (2.0 * delta)).clamp(max=math.pi / 2.0)
    return 2.0 * delta**2 * (m0 + m1 - 2.0 * (m0 * m1).sqrt() * angle.cos())


def _share_at_one_place(m0: Tensor, m1: Tensor, s: Tensor) -> Tensor:
    """Limit of |x(s) - x0| / D for D -> 0: s sqrt(m1) / ((1-s) sqrt(m0) + s sqrt(m1))."""
    right = s * m1.sqrt()
    return right / ((1.0 - s) * m0.sqrt() + right)
