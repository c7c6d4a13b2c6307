"""Forward-looking balance: flows are learned relative to a partial reward that is known on the way.

    log F(s) = log F~(s) + log r(s),    r(x) = R(x), so log F~(x) = 0 at the final object

put into detailed balance (FL-DB) or sub-trajectory balance (FL-SubTB). The network's log-flow is log F~,
and log Z = log F~(s_0) + log r(s_0). F~ is pinned at final objects here: where it is left free, zero
loss does not fix the law.

Pan et al., "Better training of GFlowNets with local credit and incomplete trajectories" (2023,
arXiv 2302.01687).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives import detailed_balance, sub_trajectory_balance
from workbench.gflownet.objectives.masked import given
from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs(flow=True, partial=True)


def with_partial_rewards(scores: Scores) -> Scores:
    """The same scores with log F = log F~ + log r."""
    flow = given(scores.log_flow, "log_flow")
    partial = given(scores.log_partial, "log_partial")
    inner = torch.nn.functional.pad(scores.valid, (0, 1))
    return replace(scores, log_flow=flow + partial.masked_fill(~inner, 0.0))


def detailed_balance_loss(scores: Scores) -> Float[Tensor, ""]:
    """FL-DB."""
    return detailed_balance.loss(with_partial_rewards(scores))


def sub_trajectory_balance_loss(scores: Scores, decay: float = 0.9) -> Float[Tensor, ""]:
    """FL-SubTB(lambda)."""
    return sub_trajectory_balance.loss(with_partial_rewards(scores), decay)
