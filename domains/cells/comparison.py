"""Predictions of a held-out snapshot beside rivals and floor, all with the same number of cells.

One comparison draws `n` observed cells, `n` others of the same snapshot for the floor, and `n` cells of
each prediction; it is repeated with new draws, the same for every prediction, so that differences are
paired.

    n = min( half of the observed cells, the neighbours' cells, the cap )
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from domains.cells.distances import Metric
from domains.cells.snapshots import CellSnapshots

FLOOR = "floor"


@dataclass(frozen=True)
class Draw:
    """Rows of one repetition: `observed` and `other` of the held-out cells, disjoint; `seeds` for
    drawing from predictions."""

    observed: Int[Tensor, "n"]
    other: Int[Tensor, "n"]
    seed: int


def equal_count(shots: CellSnapshots, held_out: int, cap: int = 1000) -> int:
    """Cells on each side of every comparison."""
    sizes = [len(x) for x in shots.values]
    neighbours = min(sizes[held_out - 1], sizes[held_out + 1])
    return max(2, min(neighbours, sizes[held_out] // 2, cap))


def draws(
    weights: Float[Tensor, "cell"], n: int, repeats: int, generator: torch.Generator
) -> list[Draw]:
    """Disjoint pairs of samples of a snapshot, without replacement, in proportion to the weights."""
    found = []
    for _ in range(repeats):
        rows = torch.multinomial(weights, 2 * n, replacement=False, generator=generator)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        found.append(Draw(rows[:n], rows[n:], seed))
    return found


def pick(
    cells: Float[Tensor, "cell feature"],
    weights: Float[Tensor, "cell"] | None,
    n: int,
    seed: int,
) -> Float[Tensor, "n feature"]:
    """`n` of these cells by systematic sampling in a random order: each in proportion to its weight, and
    none twice unless its share is above 1 / n."""
    generator = torch.Generator().manual_seed(seed)
    if weights is None:
        weights = torch.ones(len(cells))
    order = torch.randperm(len(cells), generator=generator)
    upper = weights[order].double().cumsum(0)
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    marks = (torch.arange(n, dtype=torch.float64) + offset) / n * upper[-1]
    rows = torch.searchsorted(upper, marks, right=True).clamp_(max=len(cells) - 1)
    return cells[order[rows]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Cells said to be those of the held-out time; equal weights where None."""

    cells: Float[Tensor, "cell feature"]
    weights: Float[Tensor, "cell"] | None = None


def compare(
    metric: Metric,
    predictions: Mapping[str, Prediction],
    observed: Float[Tensor, "cell feature"],
    drawn: list[Draw],
) -> dict[str, Float[Tensor, "repeat"]]:
    """The distance of each prediction to the observed cells in every repetition, and `floor`."""
    values: dict[str, list[float]] = {name: [] for name in (FLOOR, *predictions)}
    for draw in drawn:
        true = observed[draw.observed]
        values[FLOOR].append(metric(observed[draw.other], true))
        for name, prediction in predictions.items():
            cells = pick(prediction.cells, prediction.weights, len(true), draw.seed)
            values[name].append(metric(cells, true))
    return {name: torch.tensor(found, dtype=torch.float64) for name, found in values.items()}
