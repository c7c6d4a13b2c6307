"""Laws of branch lengths: mixtures of gamma laws around the one that the partials suggest.

    q(t) = sum_k w_k Gamma(t; shape_k, rate_k = shape_k / mean_k)
    log mean_k = log mean_0 + network,   shape_k = 1/4 + exp(log shape_0 + spread_k + network)

The posterior of a length with N changes on L sites is about Gamma(N + 1, L + rate of the prior), an
exponential law where nothing changed; mean_0 and shape_0 come from the star of three subtrees
(`_star_kernels`).
Lengths are drawn and weighed on the whole half-line: nothing is clipped (Zhou et al. 2024 clip the
logarithm and keep the unclipped density).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_LEAST_SHAPE = 0.25  # below, draws could underflow
_FAVOURITE = 2.0  # log odds of the first component, over each other one, before training
_WIDENING = -1.5  # of the log shape, from one component to the next


class GammaMixture:
    """`n_outputs` numbers of the network for each length make a law; all zero: the suggested law, with
    wider ones mixed in."""

    def __init__(self, n_components: int) -> None:
        self.n_components = n_components
        self.n_outputs = 3 * n_components

    def _law(self, base: Tensor, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, shapes and rates, each [batch, component], float64."""
        weights, means, shapes = raw.double().unflatten(-1, (3, self.n_components)).unbind(-2)
        place = torch.arange(self.n_components, device=raw.device, dtype=torch.float64)
        log_weights = torch.log_softmax(weights - _FAVOURITE * (place > 0), -1)
        shape = _LEAST_SHAPE + torch.exp(base[:, 1:] + _WIDENING * place + shapes)
        rate = shape * torch.exp(-base[:, :1] - means)
        return log_weights, shape, rate

    def log_prob(
        self, base: Float[Tensor, "batch 2"], raw: Float[Tensor, "batch output"], t: Tensor
    ) -> Float[Tensor, "batch"]:
        """Log density of the lengths t [batch], all above zero."""
        log_weights, shape, rate = self._law(base, raw)
        t = t[:, None]
        log_density = shape * rate.log() - torch.lgamma(shape) + (shape - 1) * t.log() - rate * t
        return torch.logsumexp(log_weights + log_density, -1)

    def sample(
        self,
        base: Float[Tensor, "batch 2"],
        raw: Float[Tensor, "batch output"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch"]:
        """Lengths, float64."""
        log_weights, shape, rate = self._law(base, raw)
        which = torch.multinomial(log_weights.exp(), 1, generator=generator)
        chosen = shape.gather(1, which), rate.gather(1, which)
        return (torch._standard_gamma(chosen[0], generator=generator) / chosen[1]).squeeze(1)
