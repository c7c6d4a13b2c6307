"""Modified detailed balance, for environments that may stop at every state: no flow is learned.

    d_t = log R(s_t) + log P_F(s_{t+1} | s_t) + log P_F(stop | s_{t+1})
        - log R(s_{t+1}) - log P_B(s_t | s_{t+1}) - log P_F(stop | s_t)

over the transitions before the stop, R(s) being the reward of stopping at s: F(s) P_F(stop | s) = R(s)
has taken the place of the flow. log Z = log R(s_0) - log P_F(stop | s_0).

Deleu et al., "Bayesian structure learning with generative flow networks" (2022, arXiv 2202.13903).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.masked import given, mean
from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs(stop=True)


def residual(scores: Scores) -> Float[Tensor, "batch inner"]:
    """d of each transition but the last of its trajectory; 0 in the padding."""
    stopping = given(scores.log_stopped_reward, "log_stopped_reward") - given(
        scores.log_stop, "log_stop"
    )
    d = stopping[:, :-1] - stopping[:, 1:] + (scores.log_pf - scores.log_pb)[:, :-1]
    return d.masked_fill(~scores.valid[:, 1:], 0.0)


def loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean of d^2 over the transitions that do not stop."""
    return mean(residual(scores).square(), scores.valid[:, 1:])
