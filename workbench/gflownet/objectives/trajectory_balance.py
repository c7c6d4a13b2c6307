"""Trajectory balance: one residual for a whole trajectory and a learned log Z.

    d = log Z + sum_t log P_F(s_{t+1} | s_t) - sum_t log P_B(s_t | s_{t+1}) - log R(x),    L = mean d^2

d = 0 for all trajectories makes P_F draw x in proportion to R(x), for any P_B.

Malkin et al., "Trajectory balance: improved credit assignment in GFlowNets" (2022, arXiv 2201.13259).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs()


def residual(scores: Scores) -> Float[Tensor, "batch"]:
    """d of each trajectory."""
    return scores.log_partition + scores.log_ratio() - scores.log_reward


def loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean of d^2."""
    return residual(scores).square().mean()
