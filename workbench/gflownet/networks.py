"""What stands behind a categorical policy: a perceptron on features, or a table of all states.

Both map a batch to [batch, output] with, in this order, forward logits of every head, backward
logits, a log-flow and transition potentials; `CategoricalPolicy` takes them apart.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class MLP(nn.Module):
    """[batch, feature] -> [batch, output]; `n_layers` hidden layers of `width` rectified units. The
    last layer starts at zero, so an untrained policy draws uniformly."""

    def __init__(self, n_features: int, width: int, n_layers: int, n_outputs: int) -> None:
        super().__init__()
        sizes = [n_features] + [width] * n_layers
        hidden: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            hidden += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*hidden)
        self.last = nn.Linear(sizes[-1], n_outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch output"]:
        return self.last(self.hidden(x))


class Tabular(nn.Module):
    """Number of a state [batch] -> [batch, output], one free row per state, float64 and zero at first:
    the policy that can be solved exactly."""

    def __init__(self, n_states: int, n_outputs: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(n_states, n_outputs, dtype=torch.float64))

    def forward(self, index: Int[Tensor, "batch"]) -> Float[Tensor, "batch output"]:
        return self.table.index_select(0, index)
