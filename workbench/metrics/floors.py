"""The noise floor of a two-sample metric: what it reads when both sides follow the same law.

Reference samples are split at random into a subset of the size under test and the rest, and the
metric taken between the two, several times. A sampler can do no better than this at that size.
Metrics of histograms also have a floor by drawing both sides anew from the reference histogram, at
any size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError


@dataclass(frozen=True)
class NoiseFloor:
    """value    median over the splits
    spread      standard deviation over the splits (they share samples: a guide, not an error)
    n           size of the subset; less than was asked for where the reference is too small
    n_rest      size of the other side
    note        one line that says how it was made
    """

    value: float
    spread: float
    n: int
    n_rest: int
    note: str


def noise_floor(
    metric: Callable[[Tensor, Tensor], float],
    reference: Tensor,
    n: int,
    generator: torch.Generator,
    n_splits: int = 10,
    chain: Int[Tensor, "sample"] | None = None,
) -> NoiseFloor:
    """Floor of `metric(subset, rest)` at `n` samples, from `reference` [sample, ...].

    Where the reference has fewer than 2 n samples it is halved and the note says so: the floor is
    then that of the half, higher than at n. `chain` [sample] gives the chain each sample came from;
    whole chains are then kept on one side, since random rows of correlated chains are alike.
    Raises `InputError` where there are fewer than four samples or two chains.
    """
    groups = torch.arange(len(reference)) if chain is None else _as_groups(chain, len(reference))
    n_groups = int(groups.max()) + 1 if len(groups) else 0
    if n < 1 or n_splits < 1 or len(reference) < 4 or n_groups < 2:
        raise InputError(
            f"A noise floor at n = {n} from {len(reference)} samples in {n_groups} independent "
            "groups "
            "cannot be had: give at least four samples and two groups."
        )
    size = min(n, len(reference) // 2)
    values, sizes = [], []
    for _ in range(n_splits):
        inside, outside = _split(groups, n_groups, size, generator)
        values.append(float(metric(reference[inside], reference[outside])))
        sizes.append((len(inside), len(outside)))
    sampled = torch.tensor(values, dtype=torch.float64)
    n_inside, n_outside = min(sizes)
    unit = "samples" if chain is None else "samples in whole chains"
    note = f"median of {n_splits} splits of the reference, {n_inside} {unit} against {n_outside}"
    if n_inside < n:
        note += f"; the reference is too small for {n}, so this floor is too high"
    return NoiseFloor(
        value=float(sampled.quantile(0.5)),
        spread=float(sampled.std()) if n_splits > 1 else 0.0,
        n=n_inside,
        n_rest=n_outside,
        note=note,
    )


def multinomial_floor(
    metric: Callable[[Tensor, Tensor], float],
    reference: Float[Tensor, "*bins"],
    n: int,
    n_reference: int,
    generator: torch.Generator,
    n_draws: int = 100,
) -> NoiseFloor:
    """Floor of `metric(p, q)` between histograms, at any `n` against `n_reference` samples.

    Both histograms are drawn anew from the reference histogram (any scale), so the reference need
    not hold 2 n samples. Bins that the reference never visited stay empty: where it is sparse the
    floor is a little too low. For correlated samples give their effective number.
    Raises `InputError` for a size below one or a reference histogram that is empty.
    """
    share = reference.double().flatten().cpu()
    if min(n, n_reference, n_draws) < 1 or not bool((share >= 0).all()) or not float(share.sum()):
        raise InputError(
            f"A floor of {n} against {n_reference} samples over {n_draws} draws cannot be had: "
            "give "
            "positive numbers and a histogram that is not empty."
        )

    def draw(size: int) -> Tensor:
        index = torch.multinomial(share, size, True, generator=generator)
        return (torch.bincount(index, minlength=len(share)) / size).reshape(reference.shape)

    values = [float(metric(draw(n).double(), draw(n_reference).double())) for _ in range(n_draws)]
    sampled = torch.tensor(values, dtype=torch.float64)
    return NoiseFloor(
        value=float(sampled.quantile(0.5)),
        spread=float(sampled.std()) if n_draws > 1 else 0.0,
        n=n,
        n_rest=n_reference,
        note=f"median of {n_draws} pairs of {n} and {n_reference} draws from the reference",
    )


def _as_groups(chain: Tensor, n: int) -> Tensor:
    if chain.shape != (n,):
        raise InputError(
            f"There are {n} samples but a chain index of shape {tuple(chain.shape)}: give one each."
        )
    return torch.unique(chain.cpu(), return_inverse=True)[1]


def _split(
    groups: Tensor, n_groups: int, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Row numbers of a subset of `size` made of whole groups (the last one cut), and of the rest.

    A cut group goes to neither side with its remainder, and one group at least is left for the
    rest.
    """
    place = torch.randperm(n_groups, generator=generator)[groups]
    order = place.argsort(stable=True)
    last_place = min(int(place[order[size - 1]]), n_groups - 2)
    inside = order[place[order] <= last_place][:size]
    return inside, order[place[order] > last_place]
