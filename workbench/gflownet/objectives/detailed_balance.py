"""Detailed balance: one residual per transition and a learned flow through every state.

    d_t = log F(s_t) + log P_F(s_{t+1} | s_t) - log F(s_{t+1}) - log P_B(s_t | s_{t+1}),    log F(x) = log R(x)

L is the mean of d^2 over transitions, so long trajectories count for more. log Z = log F(s_0).

Bengio et al., "GFlowNet foundations" (2021, arXiv 2111.09266).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.masked import given, mean
from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs(flow=True)


def residual(scores: Scores) -> Float[Tensor, "batch step"]:
    """d of each transition; 0 in the padding."""
    flow = given(scores.log_flow, "log_flow")
    d = flow[:, :-1] - flow[:, 1:] + scores.log_pf - scores.log_pb
    return d.masked_fill(~scores.valid, 0.0)


def loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean of d^2 over the transitions that exist."""
    return mean(residual(scores).square(), scores.valid)
