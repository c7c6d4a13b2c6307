"""MBAR over the rungs of a ladder: all rungs' samples count for the target, and give log Z ratios.

The N_r samples of rungs with laws exp(-beta_r u) / Z_r together follow the mixture
sum_r (N_r / N) exp(f_r - beta_r u), f_r = -log Z_r. The f_r that make every rung's importance weights
over this mixture sum to one solve

    f_i = -log sum_n exp(-beta_i u_n) / sum_r N_r exp(f_r - beta_r u_n).

Shirts and Chodera, "Statistically optimal analysis of samples from multiple equilibrium states"
(2008, arXiv 0801.1426); solved by pymbar. Its own errors hold for independent samples; ours are a
jackknife over ladders (over blocks of time where ladders are few), which sees the correlation along
the chains and between the rungs of a ladder.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.samples import WeightedSamples


@dataclass(frozen=True)
class Config:
    """n_solve   samples, evenly spaced in time, that the f_r are solved from; all get weights
    n_blocks  blocks of the jackknife
    """

    n_solve: int = 20_000
    n_blocks: int = 8


@dataclass(frozen=True, eq=False)
class Ladder:
    """betas          [rung], from 1 down
    log_partition  [rung]: log Z(beta_r) - log Z(1)
    stderr         [rung]: its standard error
    samples        the samples of all rungs, weighted for the target; `chain` is the ladder, and
                   `log_partition` of them is log Z(1) - log Z(hottest)
    """

    betas: Float[Tensor, " rung"]
    log_partition: Float[Tensor, " rung"]
    stderr: Float[Tensor, " rung"]
    samples: WeightedSamples


def reweight(
    config: Config,
    x: Float[Tensor, " kept chain *event"],
    energy: Float[Tensor, " kept chain"],
    beta: Float[Tensor, " chain"],
    ladder: Int[Tensor, " chain"],
) -> Ladder:
    """Weights of all samples for the target.

    `x` and `energy` are what `collect` kept of tempering with `n_kept_rungs > 1`; `beta` and
    `ladder` are those of `tempering.observe`. Energies are u, without beta.
    Raises `InputError` where there is one rung, no rung at the target, or too few samples.
    """
    betas, rung = _rungs(beta)
    u = energy.double().cpu().numpy()
    block = _blocks(config, u.shape[0], ladder.cpu().numpy())
    stride = max(1, u.size // config.n_solve)
    solved = slice(None, None, stride)
    f = _solve(u[solved], rung, betas)
    parts = [
        _solve(u[solved], rung, betas, keep=block[solved] != b, start=f)
        for b in range(config.n_blocks)
    ]
    spread = np.std(parts, axis=0, ddof=0) * math.sqrt(config.n_blocks - 1)
    share = np.bincount(rung) / len(rung)
    log_mixture = _log_mixture(u, betas, f - f[-1], share)
    samples = WeightedSamples(
        x.flatten(0, 1),
        energy.flatten(),
        torch.from_numpy((-u - log_mixture).flatten()),
        ladder.cpu().repeat(len(x)),
    )
    return Ladder(torch.from_numpy(betas), torch.from_numpy(-f), torch.from_numpy(spread), samples)


def _rungs(beta: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Betas from 1 down, and the rung [chain] of each chain."""
    ascending, index = np.unique(beta.double().cpu().numpy(), return_inverse=True)
    if len(ascending) < 2 or ascending[-1] != 1.0:
        raise InputError(
            f"MBAR needs the samples of several rungs with the target (beta 1) the coldest, not "
            f"betas {ascending.tolist()}: set n_kept_rungs to the number of rungs"
        )
    return ascending[::-1].copy(), len(ascending) - 1 - index


def _blocks(config: Config, n_kept: int, ladder: np.ndarray) -> np.ndarray:
    """Jackknife block [kept, chain] of each sample: by ladder, or by time where ladders are few."""
    n_ladders = len(np.unique(ladder))
    if n_ladders >= config.n_blocks:
        return np.broadcast_to(ladder % config.n_blocks, (n_kept, len(ladder)))
    if n_kept < 10 * config.n_blocks:
        raise InputError(
            f"{n_kept} samples of {n_ladders} ladders are too few for errors: keep at least "
            f"{10 * config.n_blocks} samples, or run {config.n_blocks} ladders"
        )
    time = np.arange(n_kept) * config.n_blocks // n_kept
    return np.broadcast_to(time[:, None], (n_kept, len(ladder)))


def _solve(
    u: np.ndarray,
    rung: np.ndarray,
    betas: np.ndarray,
    keep: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """f [rung], zero at the target, from energies [kept, chain]."""
    # pymbar greets on import with warnings about an optional package, not about results.
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    from pymbar import MBAR

    kept = np.ones_like(u, dtype=bool) if keep is None else keep
    rungs = np.broadcast_to(rung, u.shape)[kept]
    order = np.argsort(rungs, kind="stable")
    counts = np.bincount(rungs, minlength=len(betas))
    if counts.min() == 0:
        raise InputError("a rung has no samples: raise n_solve or keep more samples")
    reduced = betas[:, None] * u[kept][order][None, :]
    return np.asarray(MBAR(reduced, counts, initial_f_k=start).f_k)


def _log_mixture(u: np.ndarray, betas: np.ndarray, f: np.ndarray, share: np.ndarray) -> np.ndarray:
    """log sum_r share_r exp(f_r - beta_r u) at every u, one rung at a time."""
    total = np.full(u.shape, -np.inf)
    for beta, free, part in zip(betas, f, share, strict=True):
        total = np.logaddexp(total, math.log(part) + free - beta * u)
    return total
