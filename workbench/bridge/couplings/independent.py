"""The independent coupling: any cell may have become any other, in proportion to both weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.bridge.couplings.plan import Plan, uniform


def independent_plan(
    x0: Float[Tensor, "source feature"],
    x1: Float[Tensor, "target feature"],
    weights0: Float[Tensor, "source"] | None = None,
    weights1: Float[Tensor, "target"] | None = None,
    *,
    pairs_per_cell: int = 16,
    generator: torch.Generator,
) -> Plan:
    """`pairs_per_cell` random pairs per cell of the larger side, of equal mass, drawn so that every
    cell is met as often as its weight says, up to rounding. `cost` is the mean over these pairs."""
    a, b = uniform(len(x0), weights0), uniform(len(x1), weights1)
    n = pairs_per_cell * max(len(x0), len(x1))
    source, target = _systematic(a, n, generator), _systematic(b, n, generator)
    target = target[torch.randperm(n, generator=generator)]
    mass = torch.full((n,), 1.0 / n, dtype=torch.float64)
    cost = float((x0[source].double() - x1[target].double()).square().sum(1).mean())
    error = max(_marginal_error(source, mass, a), _marginal_error(target, mass, b))
    return Plan(source, target, mass, len(x0), len(x1), "independent", cost, error, 0.0, True, 0)


def _systematic(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` indices, index i between floor and ceil of n w_i times."""
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    points = (torch.arange(n, dtype=torch.float64) + offset) / n
    return torch.searchsorted(weights.cumsum(0), points).clamp_(max=len(weights) - 1)


def _marginal_error(index: Tensor, mass: Tensor, wanted: Tensor) -> float:
    return float((torch.zeros_like(wanted).index_add_(0, index, mass) - wanted).abs().sum())
