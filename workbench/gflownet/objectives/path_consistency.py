"""Soft reinforcement learning with the corrected reward: path consistency and soft Q-learning.

    r(s, s') = log P_B(s | s'),  plus log R(x) on the last transition;   entropy weight 1, no discount
    V(s) = log sum_a exp Q(s, a),  pi = exp(Q - V):   then V = log F, pi = P_F, V(s_0) = log Z

    path consistency:   d_i = V(s_i) - V(s_j) + sum_{t=i}^{j-1} (log pi - r)_t,    j = min(i + k, n), V(x) = 0
    soft Q-learning:    Q(s, a) -> r(s, s') + V(s'),    V(s') held fixed

Without the correction the law would be R(x) times the number of ways to build x. k = 1 is detailed
balance and k = n trajectory balance. The network's log-flow is V, and Q = V + log pi.

Nachum et al. (2017, arXiv 1702.08892); Tiapkin et al. (2024, arXiv 2310.12934); Deleu et al. (2024,
arXiv 2402.10309). The second paper's soft DQN takes V(s') from a slow copy of the network, here it is the
present one without its gradient.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.masked import given, mean
from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs(flow=True)


def corrected_reward(scores: Scores) -> Float[Tensor, "batch step"]:
    """r of each transition; 0 in the padding."""
    n = scores.valid.sum(1, keepdim=True)
    last = torch.arange(scores.valid.shape[1], device=n.device) == n - 1
    return scores.log_pb + last * scores.log_reward.unsqueeze(1)


def residual(scores: Scores, length: int) -> Float[Tensor, "batch step"]:
    """d of the piece of `length` transitions (less at the end) that starts at each step."""
    n = scores.valid.sum(1, keepdim=True)
    place = torch.arange(scores.valid.shape[1] + 1, device=n.device)
    value = given(scores.log_flow, "log_flow").masked_fill(place >= n, 0.0)
    gained = (scores.log_pf - corrected_reward(scores)).cumsum(1)
    g = torch.nn.functional.pad(gained, (1, 0)) - value
    end = torch.minimum(place[:-1] + length, n)
    return (g.gather(1, end) - g[:, :-1]).masked_fill(~scores.valid, 0.0)


def loss(scores: Scores, length: int = 5) -> Float[Tensor, ""]:
    """Mean of d^2 over starting steps."""
    return mean(residual(scores, length).square(), scores.valid)


def soft_q_loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean over transitions of (Q - target)^2."""
    value = given(scores.log_flow, "log_flow")
    q = value[:, :-1] + scores.log_pf
    target = (scores.log_pb + value[:, 1:]).detach()
    return mean((q - target).square(), scores.valid)
