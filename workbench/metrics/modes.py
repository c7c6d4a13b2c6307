"""Mode coverage against known modes: how many were found, and with what weights.

A mode counts as found when at least a quarter of its expected share of the samples lies within the
mode's radius of its centre. For the weights every sample goes to its nearest centre, however far:

    mode_weight_tvd = 1/2 sum_k |share_k - w_k|
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.errors import InputError
from workbench.metrics.distances import finite, normalised
from workbench.problem import KnownAnswers

FOUND_SHARE = 0.25


@dataclass(frozen=True)
class ModeStatistics:
    """modes_found of n_modes; mode_weight_tvd in [0, 1]; per mode: whether it was found, the share
    of samples within its radius, and the share nearest to it."""

    modes_found: int
    n_modes: int
    mode_weight_tvd: float
    found: Bool[Tensor, "mode"]
    share_within_radius: Float[Tensor, "mode"]
    share_nearest: Float[Tensor, "mode"]


def mode_statistics(
    x: Float[Tensor, "sample *event"],
    weights: Float[Tensor, "sample"] | None,
    known: KnownAnswers,
) -> ModeStatistics:
    """Coverage of the known modes by weighted samples (`None` = equal weights).

    Raises `InputError` where the target's modes are not known.
    """
    centres, expected, radius = known.mode_centres, known.mode_weights, known.mode_radius
    if centres is None or expected is None or radius is None:
        raise InputError("The modes of this target are not known: leave mode coverage out.")
    share = normalised(weights, len(x))
    centres, expected = centres.double().cpu().flatten(1), expected.double().cpu()
    points = finite(x, "coordinates").flatten(1)
    distances = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    within = (share[:, None] * (distances <= radius)).sum(0)
    nearest = torch.bincount(distances.argmin(1), weights=share, minlength=len(centres))
    found = within >= FOUND_SHARE * expected
    return ModeStatistics(
        modes_found=int(found.sum()),
        n_modes=len(centres),
        mode_weight_tvd=0.5 * float((nearest - expected).abs().sum()),
        found=found,
        share_within_radius=within,
        share_nearest=nearest,
    )
