"""Means over entries that exist, and members of `Scores` that an objective cannot do without."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def mean(
    values: Float[Tensor, "batch step"], valid: Bool[Tensor, "batch step"]
) -> Float[Tensor, ""]:
    """Mean over the valid entries; 0 where there are none."""
    return values.masked_fill(~valid, 0.0).sum() / valid.sum().clamp_min(1)


def given(values: Tensor | None, name: str) -> Tensor:
    """`values`, which an objective's `NEEDS` asks for; TypeError where it was not scored."""
    if values is None:
        raise TypeError(f"the objective needs scores with {name}: score with its NEEDS")
    return values
