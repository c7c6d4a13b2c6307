"""The unlearned interpolation of a plan: McCann's displacement interpolation between two snapshots.

    (i, j) ~ pi,    x = (1 - s) x_i + s y_j

What every learned trajectory is to be compared with: no network, no training, the full plan.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.bridge.couplings.plan import Plan
from workbench.errors import InputError


def midpoint(
    plan: Plan,
    x0: Float[Tensor, "source feature"],
    x1: Float[Tensor, "target feature"],
    fraction: float,
    n: int,
    generator: torch.Generator,
) -> Float[Tensor, "n feature"]:
    """`n` cells at `fraction` = (t - t0) / (t1 - t0) of the interval, drawn from the plan."""
    if not 0 <= fraction <= 1:
        raise InputError(f"fraction {fraction} lies outside the interval: give one from 0 to 1")
    source, target = plan.sample(n, generator)
    return torch.lerp(x0[source], x1[target], fraction)
