"""Distances between two sets of weighted samples of one number, or of the distances in a cluster.

    W_p(a, b) = ( int_0^1 |A^-1(q) - B^-1(q)|^p dq )^(1/p)     Wasserstein, on the line: quantiles
    TVD(a, b) = 1/2 sum_bins |P_a - P_b|                       total variation, in [0, 1]

Both W are rooted (some published "energy W2" are squared) and exact: no histogram is involved. TVD
depends on its bins, so these are fixed by the second argument, the reference, alone: equal bins
over its range and one more on either side for all that falls outside. Weights are non-negative and
normalised here; `None` means equal.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError

# Distances held at once by `pair_distance_histogram`; 4 million doubles are 32 MB.
_CHUNK = 2**22


def normalised(weights: Tensor | None, n: int) -> Float[Tensor, "sample"]:
    """`weights` as float64 summing to one. Raises `InputError` for a wrong length or bad values."""
    if weights is None:
        weights = torch.ones(n)
    if weights.shape != (n,):
        raise InputError(
            f"There are {n} samples but weights of shape {tuple(weights.shape)}: give one for each."
        )
    weights = weights.detach().double().cpu()
    total = weights.sum()
    if n == 0 or not bool((weights >= 0).all()) or not 0 < float(total) < float("inf"):
        raise InputError(
            f"The {n} weights must be finite, not negative and not all zero: "
            "check how they were made."
        )
    return weights / total


def finite(values: Tensor, what: str) -> Tensor:
    """`values` as float64 on the CPU. Raises `InputError` naming how many are NaN or infinite."""
    values = values.detach().double().cpu()
    n_bad = int((~torch.isfinite(values)).sum())
    if n_bad:
        raise InputError(
            f"{n_bad} of {values.numel()} {what} are NaN or infinite: find their cause, "
            "or leave those samples out and say so."
        )
    return values


def wasserstein_1d(
    a: Float[Tensor, "sample_a"],
    b: Float[Tensor, "sample_b"],
    weights_a: Float[Tensor, "sample_a"] | None = None,
    weights_b: Float[Tensor, "sample_b"] | None = None,
    order: float = 1.0,
) -> float:
    """W_order between two weighted sets of numbers, rooted, in their unit."""
    values_a, mass_a = _sorted(a, weights_a)
    values_b, mass_b = _sorted(b, weights_b)
    levels = torch.cat([mass_a, mass_b]).sort().values
    widths = torch.diff(levels, prepend=levels.new_zeros(1))
    middle = levels - 0.5 * widths
    quantile_a = values_a[torch.searchsorted(mass_a, middle).clamp_(max=len(values_a) - 1)]
    quantile_b = values_b[torch.searchsorted(mass_b, middle).clamp_(max=len(values_b) - 1)]
    gap = (quantile_a - quantile_b).abs()
    return float((widths @ gap**order) ** (1 / order))


def energy_w2(
    a: Float[Tensor, "sample_a"],
    b: Float[Tensor, "sample_b"],
    weights_a: Float[Tensor, "sample_a"] | None = None,
    weights_b: Float[Tensor, "sample_b"] | None = None,
) -> float:
    """W_2 between two sets of energies, rooted, in kT. One clash among `a` can dominate it."""
    return wasserstein_1d(a, b, weights_a, weights_b, order=2.0)


def histogram_tvd(
    a: Float[Tensor, "sample_a"],
    reference: Float[Tensor, "sample_b"],
    weights_a: Float[Tensor, "sample_a"] | None = None,
    weights_reference: Float[Tensor, "sample_b"] | None = None,
    bins: int = 100,
) -> float:
    """TVD of two sets of numbers on `bins` equal bins over the range of the reference."""
    a, reference = finite(a, "values"), finite(reference, "reference values")
    edges = _edges(float(reference.min()), float(reference.max()), bins)
    p = _histogram(a, normalised(weights_a, len(a)), edges)
    q = _histogram(reference, normalised(weights_reference, len(reference)), edges)
    return 0.5 * float((p - q).abs().sum())


def pair_distances(x: Float[Tensor, "sample particle space"]) -> Float[Tensor, "sample pair"]:
    """Distances of all unordered pairs, in the unit and dtype of `x`."""
    first, second = torch.triu_indices(x.shape[1], x.shape[1], offset=1, device=x.device)
    return (x[:, first] - x[:, second]).square().sum(-1).sqrt()


def pair_distance_histogram(
    x: Float[Tensor, "sample particle space"],
    edges: Float[Tensor, "edge"],
    weights: Float[Tensor, "sample"] | None = None,
) -> Float[Tensor, "bin"]:
    """Share of all pair distances below the first edge, between each two edges, and above the last.

    `len(edges) + 1` numbers that sum to one.
    """
    share = normalised(weights, len(x))
    x = finite(x, "coordinates")
    n_pairs = x.shape[1] * (x.shape[1] - 1) // 2
    if n_pairs == 0:
        raise InputError("Pair distances need at least two particles in each sample.")
    rows = max(1, _CHUNK // n_pairs)
    total = torch.zeros(len(edges) + 1, dtype=torch.float64)
    for part, weight in zip(x.split(rows), share.split(rows), strict=True):
        distances = pair_distances(part).flatten()
        total += _histogram(distances, weight.repeat_interleave(n_pairs) / n_pairs, edges)
    return total


def pair_distance_tvd(
    x: Float[Tensor, "sample_a particle space"],
    reference: Float[Tensor, "sample_b particle space"],
    weights_x: Float[Tensor, "sample_a"] | None = None,
    weights_reference: Float[Tensor, "sample_b"] | None = None,
    bins: int = 200,
) -> float:
    """TVD of the histograms of all interatomic distances: `bins` equal bins from zero to the
    largest distance in the reference, and one for everything beyond."""
    if x.shape[1:] != reference.shape[1:]:
        raise InputError(
            f"Samples of shape {tuple(x.shape[1:])} cannot be compared with a reference of shape "
            f"{tuple(reference.shape[1:])}: take the reference of the same system."
        )
    edges = pair_distance_edges(reference, bins)
    p = pair_distance_histogram(x, edges, weights_x)
    q = pair_distance_histogram(reference, edges, weights_reference)
    return 0.5 * float((p - q).abs().sum())


def pair_distance_edges(
    reference: Float[Tensor, "sample particle space"], bins: int
) -> Float[Tensor, "edge"]:
    """`bins` equal bins from zero to the largest pair distance of the reference."""
    rows = max(1, _CHUNK // max(1, reference.shape[1] ** 2))
    largest = max(float(pair_distances(part).max()) for part in reference.split(rows))
    return _edges(0.0, largest, bins)


def _sorted(values: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values in ascending order with their cumulative weight; weightless ones left out."""
    values, weights = finite(values, "values"), normalised(weights, len(values))
    values, order = values.sort()
    cumulative = weights[order].cumsum(0)
    return values, cumulative / cumulative[-1]


def _edges(low: float, high: float, bins: int) -> Tensor:
    if bins < 1 or not high > low:
        raise InputError(
            f"A histogram of {bins} bins from {low} to {high} is empty: take at least one bin "
            "and a "
            "reference that varies."
        )
    # The top edge belongs to the last bin, not to the overflow.
    high = high + 1e-9 * (high - low)
    return torch.linspace(low, high, bins + 1, dtype=torch.float64)


def _histogram(values: Tensor, weights: Tensor, edges: Tensor) -> Tensor:
    """Summed weights of [underflow, bins, overflow]; equal bins, so the index is a division."""
    n_bins = len(edges) - 1
    index = ((values - edges[0]) * (n_bins / float(edges[-1] - edges[0]))).floor()
    index = (index + 1).clamp(0, n_bins + 1).long()
    return torch.bincount(index, weights=weights, minlength=n_bins + 2)
