"""Sub-trajectory balance: residuals of all pieces of a trajectory, weighted by their length.

    A_ij = log F(s_i) - log F(s_j) + sum_{t=i}^{j-1} (log P_F - log P_B),    log F(x) = log R(x)
    L    = mean over trajectories of sum_{i<j} lambda^(j-i) A_ij^2 / sum_{i<j} lambda^(j-i)

lambda -> 0 is detailed balance averaged within trajectories, lambda -> infinity trajectory balance.
With g_t = sum_{u<t} (log P_F - log P_B)_u - log F(s_t), A_ij = g_j - g_i: no loop over pieces.

Madan et al., "Learning GFlowNets from partial episodes" (2023, arXiv 2209.12782).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.masked import given
from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs(flow=True)


def residual(scores: Scores) -> Float[Tensor, "batch state state"]:
    """A_ij for i < j up to the end of each trajectory; 0 elsewhere."""
    flow = given(scores.log_flow, "log_flow")
    g = torch.nn.functional.pad((scores.log_pf - scores.log_pb).cumsum(1), (1, 0)) - flow
    return (g.unsqueeze(1) - g.unsqueeze(2)).masked_fill(~_pieces(scores), 0.0)


def loss(scores: Scores, decay: float = 0.9) -> Float[Tensor, ""]:
    """Weighted mean of A^2 within trajectories, then over them. `decay` is lambda, above 0."""
    pieces = _pieces(scores)
    place = torch.arange(pieces.shape[1], device=pieces.device)
    length = (place.unsqueeze(0) - place.unsqueeze(1)).clamp_min(1)
    log_weight = math.log(decay) * length.to(scores.log_pf.dtype)
    weight = log_weight.expand(pieces.shape).masked_fill(~pieces, -torch.inf)
    weight = weight.flatten(1).softmax(1)
    return (weight * residual(scores).square().flatten(1)).sum(1).mean()


def _pieces(scores: Scores) -> Tensor:
    """Which (i, j) are pieces of each trajectory: i < j <= n."""
    place = torch.arange(scores.valid.shape[1] + 1, device=scores.valid.device)
    ordered = place.unsqueeze(1) < place.unsqueeze(0)
    inside = place <= scores.valid.sum(1, keepdim=True)
    return ordered & inside.unsqueeze(1)
