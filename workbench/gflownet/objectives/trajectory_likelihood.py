"""Trajectory-likelihood maximisation (TLM): a backward policy that follows the forward one.

    L_B = - mean over transitions of log P_B(s_t | s_{t+1}),    trajectories drawn by P_F

in alternation with a policy objective in which log P_B takes no gradient. At the joint optimum P_B is the
posterior of the path under P_F. P_B needs a floor where replayed paths may be unlikely under it
(`CategoricalPolicy.backward_floor`).

Gritsaev et al., "Optimizing backward policies in GFlowNets via trajectory likelihood maximization" (2024,
arXiv 2410.15474). Differs: mean and not sum over transitions, and the present P_B in the policy's
objective instead of a slow copy (averaging factor 0.25 there).
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.masked import mean
from workbench.gflownet.trajectories import Scores


def loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean of -log P_B over transitions."""
    return -mean(scores.log_pb, scores.valid)


def with_fixed_backward(scores: Scores) -> Scores:
    """The same scores, with no gradient through log P_B: what the policy's objective sees."""
    return replace(scores, log_pb=scores.log_pb.detach())
