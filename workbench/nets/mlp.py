"""A residual multilayer perceptron on vectors, conditioned on time and noise level."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.nets.embedding import sinusoidal


class TimeMLP(nn.Module):
    """[batch, dim] and time [batch] in [0, 1] -> [batch, n_out]; residual blocks of `width` units.

    Positions are also offered as sines and cosines of `n_frequencies` octaves, so that a small net can
    follow many separate modes. The last layer starts at zero."""

    def __init__(
        self, dim: int, width: int, n_layers: int, n_out: int, n_frequencies: int = 4
    ) -> None:
        super().__init__()
        self.n_frequencies = n_frequencies
        self.n_time = 32
        n_in = dim * (1 + 2 * n_frequencies) + self.n_time
        self.first = nn.Linear(n_in, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(n_layers)
        )
        self.last = nn.Linear(width, n_out)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self, x: Float[Tensor, "batch dim"], t: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch out"]:
        features = [x, sinusoidal(t, self.n_time, 16.0)]
        for octave in range(self.n_frequencies):
            features += [(2.0**octave * x).sin(), (2.0**octave * x).cos()]
        hidden = self.first(torch.cat(features, dim=-1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(hidden)
