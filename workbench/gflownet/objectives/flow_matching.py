"""Flow matching: what flows into a state flows out of it.

    d(s') = log sum_{s parent of s'} F(s) P_F(s' | s) - log F(s'),    F(x) = R(x) at final objects

over the visited states but the first; L is the mean of d^2. The edge flow is F(s) P_F(s' | s), so one network
serves all objectives. There is no P_B in it. log Z = log F(s_0). All parents of all visited states are
evaluated, which makes it the slowest objective.

Bengio et al., "Flow network based generative models for non-iterative diverse candidate generation"
(2021, arXiv 2106.04399), without its smoothing constant.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.masked import given, mean
from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs(flow=True, inflow=True)


def residual(scores: Scores) -> Float[Tensor, "batch step"]:
    """d of the state after each transition; 0 in the padding."""
    flow = given(scores.log_flow, "log_flow")
    d = given(scores.log_inflow, "log_inflow") - flow[:, 1:]
    return d.masked_fill(~scores.valid, 0.0)


def loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean of d^2 over the states after transitions."""
    return mean(residual(scores).square(), scores.valid)
