"""Histograms of pairs of angles on the torus, and the Jensen-Shannon divergence between them.

    JSD(P, Q) = 1/2 KL(P | M) + 1/2 KL(Q | M),   M = (P + Q)/2,   in nats: 0 to log 2

Lin, "Divergence measures based on the Shannon entropy" (1991). It is the divergence, not its root,
and depends on the bins: `bins` x `bins` equal ones over [-pi, pi)^2, 36 (ten degrees) unless told.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.metrics.distances import finite, normalised

DEFAULT_BINS = 36


def wrapped(angles: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Angles in radians brought into [-pi, pi)."""
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


def torus_bin_index(angles: Float[Tensor, "sample 2"], bins: int = DEFAULT_BINS) -> Tensor:
    """[sample] flat index, first angle major, of the bin each pair of angles (radians) lies in."""
    if bins < 1:
        raise InputError(f"A torus histogram needs at least one bin per axis, not {bins}.")
    turns = (finite(angles, "angles") + math.pi) / (2 * math.pi)
    # The remainder of a tiny negative number may round to a whole turn: that is bin zero again.
    index = (torch.remainder(turns, 1.0) * bins).floor().long() % bins
    return index[:, 0] * bins + index[:, 1]


def torus_histogram(
    angles: Float[Tensor, "sample 2"],
    weights: Float[Tensor, "sample"] | None = None,
    bins: int = DEFAULT_BINS,
) -> Float[Tensor, "bin bin"]:
    """Probability of each bin; the first axis is the first angle."""
    share = normalised(weights, len(angles))
    counts = torch.bincount(torus_bin_index(angles, bins), weights=share, minlength=bins * bins)
    return counts.reshape(bins, bins)


def jensen_shannon(p: Float[Tensor, "*bins"], q: Float[Tensor, "*bins"]) -> float:
    """JSD in nats of two histograms that each sum to one."""
    middle = 0.5 * (p + q)
    divergence = 0.5 * (torch.special.xlogy(p, p) + torch.special.xlogy(q, q))
    return max(0.0, float((divergence - torch.special.xlogy(middle, middle)).sum()))


def jensen_shannon_2d(
    a: Float[Tensor, "sample_a 2"],
    b: Float[Tensor, "sample_b 2"],
    weights_a: Float[Tensor, "sample_a"] | None = None,
    weights_b: Float[Tensor, "sample_b"] | None = None,
    bins: int = DEFAULT_BINS,
) -> float:
    """JSD in nats, 0 to log 2 = 0.693, of two sets of angle pairs in radians."""
    return jensen_shannon(torus_histogram(a, weights_a, bins), torus_histogram(b, weights_b, bins))
