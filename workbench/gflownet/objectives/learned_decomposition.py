"""LED: forward-looking balance with partial rewards that are learned from final ones.

    psi_t      learned share of log R of transition t, so that sum_t psi_t ~ log R(x)
    L_psi    = mean ( sum_t z_t psi_t / C - log R / n )^2,    z_t ~ Bernoulli(1 - drop), C = sum_t z_t
    psi*_t   = psi_t + (log R - sum_t psi_t) / n              error spread over the trajectory, no gradient
    d_t      = log F~(s_t) + log P_F - log F~(s_{t+1}) - log P_B - psi*_t,    log F~(x) = 0
    L_policy = w mean_t d_t^2 + mean (sum_t d_t)^2

psi* depends on the whole trajectory, so where objects can be built in several ways all d_t vanish together
only for an exact psi, and the local term alone leads to a wrong law. The full-trajectory term
sum_t d_t = log F~(s_0) + sum log P_F - sum log P_B - log R does not contain psi: it is trajectory balance and
vanishes exactly at the reward's law. The local weight w therefore has to go to zero in training; the
paper has only the local term.

Jang et al., "Learning energy decompositions for partial inference of GFlowNets" (2024, arXiv 2310.03301).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.gflownet.objectives import detailed_balance, forward_looking
from workbench.gflownet.objectives.masked import given, mean
from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs(flow=True, potential=True)


def decomposition_loss(scores: Scores, kept: Bool[Tensor, "batch step"]) -> Float[Tensor, ""]:
    """L_psi. `kept` holds z; a trajectory of which nothing is kept keeps its last transition."""
    potential = given(scores.potential, "potential")
    n = scores.valid.sum(1)
    kept = kept & scores.valid
    last = torch.arange(kept.shape[1], device=kept.device) == (n - 1).unsqueeze(1)
    kept = kept | (last & ~kept.any(1, keepdim=True))
    mean_kept = (potential * kept).sum(1) / kept.sum(1)
    return (mean_kept - scores.log_reward / n).square().mean()


def corrected(scores: Scores) -> Float[Tensor, "batch step"]:
    """psi*: sums to log R over each trajectory; without a graph, 0 in the padding."""
    potential = given(scores.potential, "potential").detach() * scores.valid
    error = (scores.log_reward - potential.sum(1)) / scores.valid.sum(1)
    return (potential + error.unsqueeze(1)) * scores.valid


def residual(scores: Scores) -> Float[Tensor, "batch step"]:
    """d of each transition; 0 in the padding."""
    partial = torch.nn.functional.pad(corrected(scores).cumsum(1), (1, 0))
    looking = forward_looking.with_partial_rewards(replace(scores, log_partial=partial))
    return detailed_balance.residual(looking)


def loss(scores: Scores, local_weight: float = 1.0) -> Float[Tensor, ""]:
    """L_policy; `local_weight` is w."""
    d = residual(scores)
    return local_weight * mean(d.square(), scores.valid) + d.sum(1).square().mean()
