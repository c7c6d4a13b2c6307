"""Trajectory general mellowmax: sampling laws that are peakier than the reward's, without collapse.

    v(s) = (1/omega) log sum_a d(a)^q exp(omega Q(s, a)),    d = softmax(alpha Q(s, .))
    Q(s, a) = v(s'),  v(x) = log R(x),    pi(a | s) = softmax((alpha q + omega) Q(s, .))

trained as one policy with d = softmax(kappa log pi), kappa = alpha / (alpha q + omega), by

    z = (1/omega) sum_t (log pi - q log d - log P_B)_t - log R(x),    L = mean (z - mean_group z)^2

z = -v(s_0) for every trajectory at the optimum. q = 0, omega = 1 is the log-variance objective, whose law
is R; q = 1 is soft mellowmax. On a tree (P_B = 1) the law for q > 0 is the one solved bottom-up from the
equations above; it is not proportional to R. Where objects can be built in several ways only q = 0 has a
known law, R^omega.

Jiralerspong et al., "Trajectory general mellowmax" (2025, arXiv 2506.17007).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives.log_variance import centred_in_group
from workbench.gflownet.objectives.masked import given
from workbench.gflownet.trajectories import Needs, Scores


def needs(q: float, alpha: float, omega: float) -> Needs:
    """What has to be scored: log d, through its exponent kappa."""
    return Needs(prior_exponent=alpha / (alpha * q + omega))


def residual(scores: Scores, q: float, omega: float) -> Float[Tensor, "batch"]:
    """z - mean z of each trajectory."""
    log_prior = given(scores.log_prior, "log_prior").sum(1)
    regularised = (scores.log_ratio() - q * log_prior) / omega
    return centred_in_group(regularised - scores.log_reward, scores.group)


def loss(scores: Scores, q: float, omega: float) -> Float[Tensor, ""]:
    """Mean of the squared residuals."""
    return residual(scores, q, omega).square().mean()
