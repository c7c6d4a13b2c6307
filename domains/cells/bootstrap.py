"""Intervals of a paired difference between two predictions, over cells and seeds.

A resampling draws, for each held-out time, the observed cells, those of either prediction, and the seeds,
all with replacement; the difference of the two distances is averaged over seeds and times. Repeated cells
raise both distances alike, so the mean of the difference is taken from the data themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from domains.cells.comparison import Prediction
from domains.cells.distances import Metric


@dataclass(frozen=True)
class Interval:
    """Mean difference, its standard error, and the 95 % interval."""

    mean: float
    stderr: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One held-out time: the observed cells, a prediction per seed, and the rival's."""

    observed: Float[Tensor, "cell feature"]
    n: int
    ours: Sequence[Prediction]
    rival: Prediction


def paired_difference(
    metric: Metric,
    times: Sequence[HeldOut],
    mean: float,
    generator: torch.Generator,
    resamplings: int = 200,
) -> Interval:
    """Distance of ours less that of the rival, averaged over times and seeds. `mean` is that difference
    on the data themselves; the spread of the resamplings is laid around it."""
    found = torch.tensor(
        [_one(metric, times, generator) for _ in range(resamplings)], dtype=torch.float64
    )
    around = found - found.mean() + mean
    low, high = torch.quantile(around, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(mean, float(found.std()), low, high)


def _one(metric: Metric, times: Sequence[HeldOut], generator: torch.Generator) -> float:
    total = 0.0
    for time in times:
        rows = torch.randint(len(time.observed), (time.n,), generator=generator)
        true = time.observed[rows]
        n_seeds = len(time.ours)
        chosen = torch.randint(n_seeds, (n_seeds,), generator=generator).tolist()
        draw = int(torch.randint(2**31, (1,), generator=generator))
        ours = [metric(resampled(time.ours[i], time.n, draw), true) for i in sorted(set(chosen))]
        times_chosen = [chosen.count(i) for i in sorted(set(chosen))]
        mean = sum(d * k for d, k in zip(ours, times_chosen, strict=True)) / n_seeds
        total += mean - metric(resampled(time.rival, time.n, draw), true)
    return total / len(times)


def resampled(prediction: Prediction, n: int, seed: int) -> Float[Tensor, "n feature"]:
    """`n` cells with replacement, at the quantiles of numbers that follow from the seed: predictions whose
    rows are in the order of the same source cells give those that came from the same ones."""
    generator = torch.Generator().manual_seed(seed)
    weights = prediction.weights
    if weights is None:
        weights = torch.ones(len(prediction.cells))
    upper = weights.double().cumsum(0)
    marks = torch.rand(n, generator=generator, dtype=torch.float64) * upper[-1]
    rows = torch.searchsorted(upper, marks, right=True).clamp_(max=len(upper) - 1)
    return prediction.cells[rows]
