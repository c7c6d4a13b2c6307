"""The free energy of a molecule over two torsions, with its error, and its distance to a reference.

    F(phi, psi) = -kT log p(phi, psi) + const,  lowest bin = 0

p is the weighted share of each of `bins` x `bins` equal bins of the torus; the error of F is that
of p over p, from the bootstrap over chains. Ramachandran, Ramakrishnan, Sasisekharan (1963).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.metrics.floors import NoiseFloor, multinomial_floor
from workbench.metrics.torus import (
    DEFAULT_BINS,
    jensen_shannon,
    jensen_shannon_2d,
    torus_bin_index,
    torus_histogram,
)
from workbench.samples import WeightedSamples

# Occupied bins whose errors are computed at once: bounds the memory at this many doubles per
# sample.
_BINS_AT_ONCE = 32


@dataclass(frozen=True)
class RamachandranMap:
    """probability, free_energy_kt and stderr_kt [bin, bin], first axis phi; NaN where never
    visited.

    Bins divide [-pi, pi) equally. `stderr_kt` is that of the bin's own free energy, before the
    lowest is set to zero."""

    probability: Float[Tensor, "bin bin"]
    free_energy_kt: Float[Tensor, "bin bin"]
    stderr_kt: Float[Tensor, "bin bin"]


def ramachandran_map(
    samples: WeightedSamples, angles: Float[Tensor, "sample 2"], bins: int = DEFAULT_BINS
) -> RamachandranMap:
    """Free energy over the two `angles` (radians) of the samples, with bootstrap errors."""
    probability = torus_histogram(angles, samples.weights(), bins).flatten()
    index = torus_bin_index(angles, bins)
    occupied = (probability > 0).nonzero().flatten()
    # Occupied bins are renumbered 0, 1, ... so that a few at a time form a histogram.
    number = torch.full((bins * bins,), -1).index_put((occupied,), torch.arange(len(occupied)))
    rank = number[index].double()
    stderr = torch.full((bins * bins,), torch.nan, dtype=torch.float64)
    for part in torch.arange(len(occupied)).split(_BINS_AT_ONCE):
        edges = torch.arange(int(part[0]), int(part[-1]) + 2) - 0.5
        stderr[occupied[part]] = samples.histogram(rank, edges)[1]
    free_energy = -(probability / probability.max()).log()
    free_energy[probability == 0] = torch.nan
    square = (bins, bins)
    return RamachandranMap(
        probability.reshape(square),
        free_energy.reshape(square),
        (stderr / probability).reshape(square),
    )


def ramachandran_divergence(
    samples: WeightedSamples,
    angles: Float[Tensor, "sample 2"],
    reference_angles: Float[Tensor, "reference 2"],
    generator: torch.Generator,
    n_effective: int | None = None,
    bins: int = DEFAULT_BINS,
) -> tuple[float, NoiseFloor]:
    """Jensen-Shannon divergence (nats, 0 to log 2) to the reference, and its floor.

    The floor is that of `n_effective` independent samples (unless told, the Kish size of the
    samples) against as many as the reference has, drawn from the reference histogram.
    """
    value = jensen_shannon_2d(angles, reference_angles, samples.weights(), None, bins)
    reference = torus_histogram(reference_angles, None, bins)
    n = max(1, round(samples.ess())) if n_effective is None else n_effective
    floor = multinomial_floor(jensen_shannon, reference, n, len(reference_angles), generator)
    return value, floor
