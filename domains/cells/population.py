"""Population sizes over time, for methods in which cells divide and die.

Counts of sequenced cells say how many were loaded, not how many there were. So sizes are measured ones, or
follow from a prior growth rate g of each cell (births without deaths, from markers of proliferation and
death):

    size_{k+1} / size_k = sqrt( mean_k exp(g dt) / mean_{k+1} exp(-g dt) )

the geometric mean of the estimates from the cells at either end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError


def given_sizes(sizes: Sequence[float], names: Sequence[str]) -> Float[Tensor, "time"]:
    """Measured sizes, relative to the first. Raises InputError for a wrong number or bad values."""
    if len(sizes) != len(names):
        raise InputError(
            f"{len(sizes)} population sizes for {len(names)} times ({', '.join(names)}): give one each"
        )
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise InputError(f"population sizes {list(sizes)} must be positive and finite")
    return torch.tensor(sizes, dtype=torch.float64) / sizes[0]


def sizes_from_growth(
    growth: Sequence[Float[Tensor, "_"]],
    weights: Sequence[Float[Tensor, "_"]],
    times: Float[Tensor, "time"],
) -> Float[Tensor, "time"]:
    """Sizes relative to the first from prior growth rates per time unit of the cells at each time."""
    sizes = [1.0]
    for k, dt in enumerate(times.diff().tolist()):
        ahead = float(weights[k] @ (growth[k].double() * dt).exp())
        back = float(weights[k + 1] @ (-growth[k + 1].double() * dt).exp())
        if not (0 < ahead < math.inf and 0 < back < math.inf):
            raise InputError(
                f"growth rates at the times {float(times[k]):g} and {float(times[k + 1]):g} give no finite "
                "population size: give rates per unit of the time column"
            )
        sizes.append(sizes[-1] * math.sqrt(ahead / back))
    return torch.tensor(sizes, dtype=torch.float64)
