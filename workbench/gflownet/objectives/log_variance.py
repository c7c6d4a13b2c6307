"""Log-variance (VarGrad): trajectory balance without a learned log Z.

    z = log R(x) + sum_t log P_B - sum_t log P_F,    L = mean (z - mean_group z)^2

z estimates log Z from one trajectory; when all trajectories of a group agree, P_F draws in proportion
to R. The group mean takes no gradient of its own: residuals about it sum to zero. Trajectories of one
group share their condition; a group of one contributes nothing.

Richter et al., "VarGrad" (2020, arXiv 2010.10436); Zhang et al., "Robust scheduling with GFlowNets"
(2023, arXiv 2302.05446).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs()


def centred_in_group(
    values: Float[Tensor, "batch"], group: Int[Tensor, "batch"]
) -> Float[Tensor, "batch"]:
    """`values` minus the mean of their group."""
    labels, place = torch.unique(group, return_inverse=True)
    total = values.new_zeros(len(labels)).index_add(0, place, values)
    return values - (total / torch.bincount(place, minlength=len(labels)))[place]


def residual(scores: Scores) -> Float[Tensor, "batch"]:
    """z - mean z of each trajectory."""
    return centred_in_group(scores.log_reward - scores.log_ratio(), scores.group)


def loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean of the squared residuals: the variance of z within groups."""
    return residual(scores).square().mean()
