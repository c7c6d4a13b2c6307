"""Have the chains converged, and how much are they worth? On any scalar watched along the chains.

R-hat compares the spread between chains with that within: 1 where they agree. Here the chains are
split in halves and ranks stand for values, for location and for spread, and the larger is taken
(Vehtari, Gelman, Simpson, Carpenter, Burkner, "Rank-normalization, folding, and localization: an
improved R-hat", 2019, arXiv 1903.08008). Few, long chains are what it can judge: with S independent
samples in a half chain it lies about 1/(2 S) above one even at equilibrium.

Two standard errors of a mean: between independent chains, which is right also where chains are
stuck; and by batch means within them (Flegal, Haran, Jones, 2008, arXiv math/0703746).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.problem import Estimate


@dataclass(frozen=True)
class Diagnosis:
    """r_hat          rank-normalised split R-hat
    ess            effective number of independent samples for the mean, all chains together
    bulk_ess       the same for ranks: robust where values have long tails
    inefficiency   kept samples per independent one
    mean           with the standard error between chains (one chain: by batch means)
    stderr_batch   standard error by batch means
    """

    r_hat: float
    ess: float
    bulk_ess: float
    inefficiency: float
    mean: Estimate
    stderr_batch: float


def diagnose(values: Float[Tensor, " kept chain"]) -> Diagnosis:
    """All figures for one observable.

    Raises `InputError` for fewer than 8 kept samples per chain or values that are not finite.
    """
    _check(values)
    ess = autocorrelation_ess(values)
    batch = batch_means_stderr(values)
    stderr = between_chains_stderr(values) if values.shape[1] > 1 else batch
    return Diagnosis(
        r_hat=split_r_hat(values),
        ess=ess,
        bulk_ess=autocorrelation_ess(values, "bulk"),
        inefficiency=values.numel() / ess,
        mean=Estimate(float(values.double().mean()), stderr),
        stderr_batch=batch,
    )


def split_r_hat(values: Float[Tensor, " kept chain"]) -> float:
    """Rank-normalised split R-hat; infinite where each chain stands still at its own value."""
    # Seconds of import that only diagnostics need.
    from arviz_stats.base import array_stats

    _check(values)
    if bool((values == values[0]).all()):
        return 1.0 if bool((values == values[0, 0]).all()) else math.inf
    return float(array_stats.rhat(values.T.double().cpu().numpy(), method="rank"))


def autocorrelation_ess(values: Float[Tensor, " kept chain"], method: str = "mean") -> float:
    """Independent samples that would give the same error: of the mean, or of ranks ("bulk")."""
    from arviz_stats.base import array_stats

    _check(values)
    return float(array_stats.ess(values.T.double().cpu().numpy(), method=method))


def between_chains_stderr(values: Float[Tensor, " kept chain"]) -> float:
    """Standard error of the mean from the spread of the chains' means; needs independent chains.

    Raises `InputError` for a single chain.
    """
    if values.shape[1] < 2:
        raise InputError("one chain has no spread between chains: run several, or use batch means")
    means = values.double().mean(0)
    return float(means.std() / math.sqrt(len(means)))


def batch_means_stderr(values: Float[Tensor, " kept chain"]) -> float:
    """Standard error of the mean from batches of length sqrt(kept) within chains."""
    _check(values)
    n_kept, n_chains = values.shape
    length = math.isqrt(n_kept)
    n_batches = n_kept // length
    used = values[n_kept - n_batches * length :].double()
    means = used.reshape(n_batches, length, n_chains).mean(1)
    return float(means.std(0, unbiased=True).square().mean().sqrt() / math.sqrt(means.numel()))


def _check(values: Tensor) -> None:
    if values.ndim != 2 or values.shape[0] < 8:
        raise InputError(
            f"values have shape {tuple(values.shape)}: give [kept, chain] with at least 8 kept"
        )
    if not bool(torch.isfinite(values).all()):
        raise InputError("values along the chains are not finite: leave out the samples that clash")
