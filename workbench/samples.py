"""Weighted samples of one law: how much they are worth and what they say, with errors.

For weights w_n and values f_n every figure is a ratio of sums,

    E[f] = sum_n w_n f_n / sum_n w_n,        log Z = log (1/N) sum_n w_n,

and its standard error a bootstrap over independent groups of samples: Markov chains where a chain
index is given, single samples otherwise. Sums over a group are taken once, so that a replicate
costs one product of multinomial counts with them.

Kish, "Survey Sampling" (1965): effective sample size (sum w)^2 / sum w^2, always at the full N.
Vehtari, Simpson, Gelman, Yao, Gabry, "Pareto smoothed importance sampling" (2015, arXiv
1507.02646): the shape k of the tail of the weights; above 0.7 no weighted figure can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.problem import Estimate

Ratio = Callable[[np.ndarray], np.ndarray]
N_REPLICATES = 400
# Single samples are dealt into at most this many groups: the error of the error stays near 1 %.
MAX_GROUPS = 4096
# Fewer chains than this are cut into contiguous blocks, or the spread between them is too noisy.
MIN_GROUPS = 16


@dataclass(frozen=True, eq=False)
class WeightedSamples:
    """Samples of a law with density proportional to exp(-u).

    x            [sample, *event]
    energy       [sample], reduced (kT)
    log_weights  [sample] or None for equal weights. Where log weights are those of importance
                 sampling, their scale matters: log-mean-exp of them is log Z. -inf is weight zero.
    chain        [sample] or None: index of the independent Markov chain (or SMC batch) a sample
                 came from, the rows of one chain in the order of time. None: independent samples.

    Raises `InputError` for lengths that differ and for NaN or infinite energies and weights.
    """

    x: Float[Tensor, " sample *event"]
    energy: Float[Tensor, " sample"]
    log_weights: Float[Tensor, " sample"] | None = None
    chain: Int[Tensor, " sample"] | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        if n == 0:
            raise InputError("there are no samples to weigh: draw at least one")
        for name in ("energy", "log_weights", "chain"):
            column = getattr(self, name)
            if column is not None and column.shape != (n,):
                raise InputError(
                    f"{name} has shape {tuple(column.shape)}, but there are {n} samples: "
                    f"give one number per sample"
                )
        _refuse_non_finite("energies", self.energy)
        if self.log_weights is not None:
            weights = self.log_weights
            _refuse_non_finite("log weights", weights.masked_fill(weights == -torch.inf, 0.0))
            if bool((weights == -torch.inf).all()):
                raise InputError("every weight is zero: the samples do not overlap with the target")

    def __len__(self) -> int:
        return len(self.x)

    def weights(self) -> Float[Tensor, " sample"]:
        """Weights that sum to one, float64."""
        if self.log_weights is None:
            return torch.full((len(self),), 1.0 / len(self), dtype=torch.float64)
        return torch.softmax(self.log_weights.double(), dim=0)

    def ess(self) -> float:
        """Kish's effective sample size at the full N; between 1 and N. Blind to autocorrelation."""
        return float(1.0 / self.weights().square().sum())

    def ess_fraction(self) -> float:
        return self.ess() / len(self)

    def pareto_k(self) -> float | None:
        """Shape of the Pareto tail fitted to the weights; None for equal weights."""
        if self.log_weights is None:
            return None
        # Two seconds of import that only weighted samples need.
        from arviz_stats.base import array_stats

        log_weights = self.log_weights.double()
        finite = log_weights[log_weights > -torch.inf]
        with np.errstate(all="ignore"):  # one weight above all others: the fit is not a number
            return float(array_stats.psislw(-finite.cpu().numpy())[1])

    def log_partition(self, seed: int = 0) -> Estimate:
        """log Z of importance weights, with the bootstrap standard error.

        Raises `InputError` for equal weights, which say nothing about Z.
        """
        if self.log_weights is None:
            raise InputError("samples without importance weights carry no estimate of log Z")
        log_weights = self.log_weights.double()
        shift = log_weights.max()
        weights = torch.exp(log_weights - shift)
        columns = torch.stack([weights, torch.ones_like(weights)])
        value, stderr = self._bootstrap(columns, lambda s: np.log(s[:1] / s[1:]), seed)
        return Estimate(float(value[0]) + float(shift), float(stderr[0]))

    def expectation(self, values: Float[Tensor, " sample"], seed: int = 0) -> Estimate:
        """Weighted mean of `values` with its bootstrap standard error."""
        values = self._checked(values)
        mean, stderr = self._weighted_means(values[None], seed)
        return Estimate(float(mean[0]), float(stderr[0]))

    def mean_energy(self, seed: int = 0) -> Estimate:
        """Mean reduced energy (kT)."""
        return self.expectation(self.energy, seed)

    def histogram(
        self, values: Float[Tensor, " sample"], edges: Float[Tensor, " edge"], seed: int = 0
    ) -> tuple[Float[Tensor, " bin"], Float[Tensor, " bin"]]:
        """Weighted density of `values` over the bins between `edges`, and its standard error.

        Density is per unit of `values`, relative to all samples, also those outside the edges.
        """
        values, edges = self._checked(values), edges.double()
        n_bins = len(edges) - 1
        index = torch.bucketize(values, edges, right=True) - 1
        index[values == edges[-1]] = n_bins - 1
        inside = torch.arange(n_bins)[:, None] == index[None, :]
        mean, stderr = self._weighted_means(inside.double(), seed)
        width = torch.diff(edges)
        return torch.from_numpy(mean) / width, torch.from_numpy(stderr) / width

    def resample(self, n: int, generator: torch.Generator) -> WeightedSamples:
        """`n` samples of equal weight, drawn systematically (one random offset, even strides)."""
        index = systematic_indices(self.weights()[None], n, generator)[0]
        chain = None if self.chain is None else self.chain[index]
        return WeightedSamples(self.x[index], self.energy[index], None, chain)

    def _checked(self, values: Tensor) -> Tensor:
        if values.shape != (len(self),):
            raise InputError(
                f"values have shape {tuple(values.shape)}: give one number for each of the "
                f"{len(self)} samples"
            )
        _refuse_non_finite("values", values)
        return values.double()

    def _weighted_means(self, columns: Tensor, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean of each row of `columns` [column, sample], and its error."""
        weights = self.weights()
        # Shifting by the mean keeps the sums from losing digits to a large common offset.
        centre = columns @ weights
        stacked = torch.cat([(columns - centre[:, None]) * weights, weights[None]])
        value, stderr = self._bootstrap(stacked, lambda s: s[:-1] / s[-1:], seed)
        return value + centre.numpy(), stderr

    def _bootstrap(self, columns: Tensor, ratio: Ratio, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """`ratio` of the column sums of `columns` [column, sample], and its bootstrap error."""
        group = self._groups()
        n_groups = int(group.max()) + 1
        zeros = torch.zeros(len(columns), n_groups, dtype=torch.float64)
        sums = zeros.index_add(1, group, columns).numpy()
        value = ratio(sums.sum(axis=1, keepdims=True))[:, 0]
        if n_groups < 2:
            raise InputError("one sample has no standard error: draw at least two")
        rng = np.random.default_rng(seed)
        even = np.full(n_groups, 1.0 / n_groups)
        counts = rng.multinomial(n_groups, even, size=N_REPLICATES).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            replicates = ratio(sums @ counts.T)
        # A replicate that caught only weights of zero has no ratio and no vote.
        kept = np.isfinite(replicates).all(axis=0)
        spread = replicates[:, kept].std(axis=1, ddof=1)
        return value, spread * np.sqrt(n_groups / (n_groups - 1))

    def _groups(self) -> Tensor:
        """[sample] index of the independent group each sample is resampled with."""
        if self.chain is None:
            return torch.arange(len(self)) % min(len(self), MAX_GROUPS)
        chains, group, sizes = torch.unique(self.chain, return_inverse=True, return_counts=True)
        if len(chains) >= MIN_GROUPS:
            return group
        n_blocks = -(-MIN_GROUPS // len(chains))
        order = torch.argsort(group, stable=True)
        first = torch.cumsum(sizes, 0) - sizes
        rank = torch.empty_like(group)
        rank[order] = torch.arange(len(self)) - torch.repeat_interleave(first, sizes)
        block = rank * n_blocks // sizes[group]
        return torch.unique(group * n_blocks + block, return_inverse=True)[1]


def systematic_indices(
    weights: Float[Tensor, "batch sample"], n: int, generator: torch.Generator
) -> Int[Tensor, "batch n"]:
    """Systematic resampling in every row: each sample is drawn floor or ceil of n w times.

    Raises `InputError` for n < 1. Kitagawa, "Monte Carlo filter and smoother" (1996).
    """
    if n < 1:
        raise InputError(f"cannot draw {n} samples: ask for at least one")
    offset = torch.rand((len(weights), 1), generator=generator, dtype=torch.float64)
    points = (torch.arange(n, dtype=torch.float64)[None] + offset) / n
    cumulative = torch.cumsum(weights.double(), dim=1)
    points = points * cumulative[:, -1:]
    # right=True steps over samples of weight zero; `last` catches a point that rounds to one.
    index = torch.searchsorted(cumulative, points.contiguous(), right=True)
    last = weights.shape[1] - 1 - (weights.flip(1) > 0).int().argmax(dim=1, keepdim=True)
    return torch.minimum(index, last)


def _refuse_non_finite(name: str, values: Tensor) -> None:
    bad = ~torch.isfinite(values)
    if bool(bad.any()):
        raise InputError(
            f"{int(bad.sum())} of {len(values)} {name} are NaN or infinite (first at row "
            f"{int(bad.nonzero()[0])}): compute them in float64, or leave those out and say so"
        )
