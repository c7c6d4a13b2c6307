"""Laws of branch lengths: bins of equal width, uniform inside, with an exponential tail.

    q(t) = p_k / width   in bin k,     p_tail rate exp(-rate (t - end))   beyond the last bin

A density on the whole half-line, so that importance weights are exact (Zhou et al., "PhyloGFN", 2024, put
lengths at the bins' ends and correct afterwards). Before training p_k is the mass of the gamma law that the
partials suggest.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LEAST_MASS = 1e-4  # of a bin before training, so that no bin is lost to rounding


class Bins:
    """`n_outputs` numbers of the network for each length are added to the logits of the bins.

    tail_rate   of the exponential law beyond the last bin
    """

    def __init__(self, n_bins: int, width: float, tail_rate: float) -> None:
        self.n_bins, self.width, self.tail_rate = n_bins, width, tail_rate
        self.n_outputs = n_bins + 1

    def _log_masses(self, base: Tensor, raw: Tensor) -> Float[Tensor, "batch bin"]:
        edges = self.width * torch.arange(1, self.n_bins + 1, device=raw.device).double()
        shape = base[:, 1:].exp()
        rate = shape * torch.exp(-base[:, :1])
        below = torch.special.gammainc(shape.expand(-1, self.n_bins), rate * edges)
        masses = torch.diff(below, prepend=below.new_zeros(len(below), 1))
        masses = torch.cat([masses, 1.0 - below[:, -1:]], 1)
        return torch.log_softmax((masses.clamp_min(0.0) + _LEAST_MASS).log() + raw.double(), 1)

    def log_prob(
        self, base: Float[Tensor, "batch 2"], raw: Float[Tensor, "batch output"], t: Tensor
    ) -> Float[Tensor, "batch"]:
        """Log density of the lengths t [batch]."""
        place = (t / self.width).long().clamp_max(self.n_bins)
        log_mass = self._log_masses(base, raw).gather(1, place[:, None]).squeeze(1)
        beyond = t - self.n_bins * self.width
        tail = math.log(self.tail_rate) - self.tail_rate * beyond
        return log_mass + torch.where(place < self.n_bins, -math.log(self.width), tail)

    def sample(
        self,
        base: Float[Tensor, "batch 2"],
        raw: Float[Tensor, "batch output"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch"]:
        """Lengths, float64."""
        place = torch.multinomial(self._log_masses(base, raw).exp(), 1, generator=generator)
        u = torch.rand(len(raw), generator=generator, device=raw.device, dtype=torch.float64)
        inside = (place.squeeze(1) + u) * self.width
        beyond = self.n_bins * self.width - torch.log1p(-u) / self.tail_rate
        return torch.where(place.squeeze(1) < self.n_bins, inside, beyond)
