"""References that hold an adversarially learned interpolant G(x0, x1, s): the game alone has many solutions.

    linear      E |G - (1-s) x0 - s x1|^2
    piecewise   E |G - chain(s)|^2, the line through a chain of optimal transport plans
    curvature   E int |d^2 G / ds^2|^2 ds by central differences

Kviman, Tamogashev et al., Adversarially learned interpolants, 2025, arXiv 2510.01159.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

Interpolant = Callable[[Tensor, Tensor, Tensor], Tensor]
_STEP = 1e-2  # of s; in float32 smaller ones lose the difference


def distance_to_reference(
    interpolant: Interpolant,
    x0: Float[Tensor, "batch feature"],
    x1: Float[Tensor, "batch feature"],
    s: Float[Tensor, "batch"],
    reference: Float[Tensor, "batch feature"],
) -> Float[Tensor, ""]:
    """Mean squared distance, per feature."""
    return (interpolant(x0, x1, s) - reference).square().mean()


def curvature(
    interpolant: Interpolant,
    x0: Float[Tensor, "batch feature"],
    x1: Float[Tensor, "batch feature"],
    s: Float[Tensor, "batch"],
) -> Float[Tensor, ""]:
    """Mean squared second derivative, per feature."""
    s = s.clamp(_STEP, 1.0 - _STEP)
    before, here, after = (interpolant(x0, x1, s + shift) for shift in (-_STEP, 0.0, _STEP))
    return ((before - 2.0 * here + after) / _STEP**2).square().mean()
