"""Reverse KL: variational inference on trajectories, with a baseline against the noise of its gradient.

    s = sum_t log P_F - sum_t log P_B - log R(x),    KL(P_F || R P_B / Z) = E[s] + log Z
    surrogate = mean( log P_F (s - b) - log P_B ),   s and b without gradient

Trajectories have to come from P_F itself, without exploration and not from a replay. The gradient by P_F
is half that of trajectory balance on the same trajectories when b = -log Z.

Malkin et al., "GFlowNets and variational inference" (2022, arXiv 2210.00580).
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.log_variance import centred_in_group
from workbench.gflownet.trajectories import Needs, Scores

Baseline = Literal["none", "mean", "log-partition"]

NEEDS = Needs()


def loss(scores: Scores, baseline: Baseline = "mean") -> Float[Tensor, ""]:
    """The surrogate whose gradient is that of the KL. Its value means nothing.

    baseline   "mean" of s over the group, "log-partition": minus log Z as learned elsewhere, or "none"
    """
    s = (scores.log_ratio() - scores.log_reward).detach()
    if baseline == "mean":
        s = centred_in_group(s, scores.group)
    elif baseline == "log-partition":
        s = s + scores.log_partition.detach()
    return (scores.log_pf.sum(1) * s - scores.log_pb.sum(1)).mean()
