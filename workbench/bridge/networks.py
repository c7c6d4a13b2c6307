"""Velocity, score and growth networks: perceptrons of position and time in the frame of `frame`.

Three hidden layers of 64 units with SELU, as in the published runs for cells. Time enters as given and,
where snapshots are many, as sines and cosines too.
"""

from __future__ import annotations

import itertools
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


def waves_for(n_times: int) -> int:
    """Octaves of time that a network on so many snapshots is offered: a few are followed by time as it
    is, a course of many turns is not."""
    return 0 if n_times < 6 else 4 if n_times < 30 else 6


class Field(nn.Module):
    """[batch, feature] and frame time [batch] -> [batch, out]; the last layer starts at zero.

    n_waves   octaves of sine and cosine of the time, the slowest with a period of 2 `span`; zero =
              time as it is
    """

    def __init__(
        self, dim: int, n_out: int, width: int, n_layers: int, n_waves: int = 0, span: float = 1.0
    ) -> None:
        super().__init__()
        sizes = [dim + 1 + 2 * n_waves, *[width] * n_layers]
        layers: list[nn.Module] = []
        for n_in, n_hidden in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_hidden), nn.SELU(inplace=True)]
        last = nn.Linear(width, n_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.n_waves = n_waves
        self.rates: Tensor
        self.register_buffer("rates", torch.pi / span * 2.0 ** torch.arange(n_waves))

    def forward(
        self, x: Float[Tensor, "batch feature"], t: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch out"]:
        features = [x, t[:, None]]
        if self.n_waves:
            angle = t[:, None] * self.rates
            features += [angle.sin(), angle.cos()]
        return self.layers(torch.cat(features, dim=1))


@runtime_checkable
class Penalised(Protocol):
    """A network with a penalty of its own that is added to the loss."""

    def penalty(self) -> Float[Tensor, ""]: ...


@runtime_checkable
class Proximal(Protocol):
    """A network whose weights are shrunk after each step: the proximal map of a group penalty."""

    def proximal(self, learning_rate: float) -> None: ...
