"""How near a sampler of objects is to R / Z, and what true samples would score in its place.

Total variation  TV(p, q) = 1/2 sum_x |p - q|
Jensen-Shannon   JS(p, q) = KL(p || m)/2 + KL(q || m)/2,  m = (p + q)/2, in nats
Floor of TV      M true samples have an expected empirical TV of sum_x E|n_x/M - q_x| / 2, where
                 n_x is binomial and its mean deviation is 2 v C(M,v) q^v (1-q)^(M-v+1) / M with
                 v = floor(M q) + 1 (de Moivre, 1730)
Bounds           log w = log R + log P_B(tau|x) - log P_F(tau): its mean over P_F is the ELBO, its mean
                 over true objects and P_B the EUBO, and log mean w over P_F estimates log Z
log p(x)         log mean P_F(tau) / P_B(tau|x) over tau ~ P_B(.|x); biased low, grow M until stable
Correlation      of log p with log R, and the slope: a wrong temperature has correlation 1 too

Sources: Malkin et al., "GFlowNets and variational inference" (2023, arXiv 2210.00580) for the bounds;
Blessing et al. (2024, arXiv 2406.07423) for the EUBO as what shows missing modes.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.problem import Estimate


def total_variation(p: Float[Tensor, "object"], q: Float[Tensor, "object"]) -> float:
    """Half the sum of absolute differences of two laws; probabilities, not their logarithms."""
    return 0.5 * float((p - q).abs().sum())


def jensen_shannon(p: Float[Tensor, "object"], q: Float[Tensor, "object"]) -> float:
    """Jensen-Shannon divergence in nats, between 0 and log 2."""
    middle = 0.5 * (p + q)

    def to_middle(x: Tensor) -> Tensor:
        return torch.special.xlogy(x, x / torch.where(middle > 0, middle, 1.0)).sum()

    return 0.5 * float(to_middle(p) + to_middle(q))


def empirical_law(number: Int[Tensor, "sample"], n_objects: int) -> Float[Tensor, "object"]:
    """Shares of the samples, given the number of the object that each is."""
    return torch.bincount(number, minlength=n_objects).double() / len(number)


def total_variation_floor(law: Float[Tensor, "object"], n: int) -> float:
    """Expected total variation between `n` true samples and their own law. Exact.

    Raises InputError for n below one."""
    if n < 1:
        raise InputError(f"the floor of {n} samples cannot be had: take at least one")
    q = law.double()[(law > 0) & (law < 1)]
    above = torch.floor(n * q) + 1
    whole = torch.tensor(float(n), dtype=torch.float64)
    log_choose = torch.lgamma(whole + 1) - torch.lgamma(above + 1) - torch.lgamma(whole - above + 1)
    log_deviation = log_choose + above * q.log() + (n - above + 1) * torch.log1p(-q)
    return 0.5 * float((2 * above * log_deviation.exp() / n).sum())


def mean_log_weight(log_weights: Float[Tensor, "sample"]) -> Estimate:
    """ELBO (weights of P_F's trajectories) or EUBO (of backward ones from true objects)."""
    values = log_weights.double()
    stderr = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Estimate(float(values.mean()), stderr)


def importance_log_partition(log_weights: Float[Tensor, "sample"]) -> Estimate:
    """log of the mean weight of trajectories of P_F, with its error to first order. Biased low by
    about half the relative variance of the weights over n."""
    values = log_weights.double()
    top = values.max()
    shares = (values - top).exp()
    stderr = math.nan
    if len(values) > 1:
        stderr = float(shares.std() / shares.mean() / math.sqrt(len(values)))
    return Estimate(float(top + shares.mean().log()), stderr)


def importance_log_probability(
    log_pf: Float[Tensor, "draw object"], log_pb: Float[Tensor, "draw object"]
) -> Float[Tensor, "object"]:
    """log p(x) of objects from backward trajectories: sums of log P_F and log P_B of each."""
    return torch.logsumexp((log_pf - log_pb).double(), 0) - math.log(len(log_pf))


def correlation_and_slope(
    log_p: Float[Tensor, "object"], log_reward: Float[Tensor, "object"]
) -> tuple[float, float]:
    """Pearson correlation of log p with log R, and the slope of log p on log R; both 1 at the truth.

    NaN where either is constant or not finite."""
    x, y = log_reward.double(), log_p.double()
    x, y = x - x.mean(), y - y.mean()
    covariance, variance = float((x * y).sum()), float((x * x).sum())
    if not variance > 0:
        return math.nan, math.nan
    spread = float((y * y).sum())
    correlation = covariance / math.sqrt(variance * spread) if spread > 0 else math.nan
    return correlation, covariance / variance


def modes_found(mode: Int[Tensor, "sample"], n_modes: int) -> int:
    """How many modes the samples are in; `mode` is -1 for a sample in none."""
    inside = mode[mode >= 0]
    return int((torch.bincount(inside, minlength=n_modes) > 0).sum())


def expected_modes(mode_probability: Float[Tensor, "mode"], n: int) -> float:
    """Modes that `n` independent samples find on average: sum_m 1 - (1 - p_m)^n."""
    return float(-torch.expm1(n * torch.log1p(-mode_probability.double())).sum())
