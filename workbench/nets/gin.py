"""A graph isomorphism network on many graphs at once, for graphs in compressed rows.

    h_i <- h_i + MLP( LayerNorm( (1 + eps) h_i + s_i sum_{j ~ i} w_ij h_j ) )

The graphs of a batch are one graph without edges between them: nodes are numbered through, as in a batch
of torch-geometric, and `pointer`, `neighbour` are its compressed rows. The adjacency matrix has to be symmetric
in pattern and in weights: the gradient of a sum over neighbours is then the same sum over gradients.

Xu et al., "How powerful are graph neural networks?" (2019, arXiv 1810.00826). Differs: residual connections
and layer norm, so that what is sampled and what is scored never differ (batch norm has two modes); sums
carry a scale s_i, one number for each graph (its inverse mean degree), so that a network trained on small
graphs sees the same range on large ones. Sums are a compiled loop over rows on the CPU, where gathering
and scattering edge by edge takes several times as long, and torch's own elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.nets import _graph_kernels


@dataclass(frozen=True)
class Adjacency:
    """A symmetric adjacency matrix in compressed rows; `weight` None: every edge weighs one."""

    pointer: Int[Tensor, "node_and_one"]
    neighbour: Int[Tensor, "entry"]
    weight: Float[Tensor, "entry"] | None = None

    def to(self, device: torch.device) -> Adjacency:
        """The same matrix on a device; itself where it is there already."""
        weight = None if self.weight is None else self.weight.to(device)
        return Adjacency(self.pointer.to(device), self.neighbour.to(device), weight)

    def sums(self, x: Float[Tensor, "node feature"]) -> Float[Tensor, "node feature"]:
        """Weighted sums of `x` over the neighbours of each node, without a gradient."""
        if x.device.type != "cpu":
            return self.scattered_sums(x)
        total = torch.empty(x.shape, dtype=x.dtype)
        rows = (self.pointer.numpy(), self.neighbour.numpy())
        values = (x.detach().contiguous().numpy(), total.numpy())
        if self.weight is None:
            _graph_kernels.neighbour_sums(*rows, *values)
        else:
            weight = self.weight.to(x.dtype).numpy()
            _graph_kernels.weighted_neighbour_sums(*rows, weight, *values)
        return total

    def scattered_sums(self, x: Float[Tensor, "node feature"]) -> Float[Tensor, "node feature"]:
        """The same on any device, by gathering and adding edge by edge."""
        degree = self.pointer.diff()
        node = torch.arange(len(degree), device=x.device).repeat_interleave(degree)
        gathered = x[self.neighbour.long()]
        if self.weight is not None:
            gathered = gathered * self.weight.to(x.dtype).unsqueeze(1)
        return torch.zeros_like(x).index_add(0, node, gathered)


class _NeighbourSums(torch.autograd.Function):
    """`Adjacency.sums` with its gradient, which is the same sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: Adjacency) -> Tensor:
        ctx.adjacency = adjacency
        return adjacency.sums(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.adjacency.sums(gradients[0]), None


def neighbour_sums(
    x: Float[Tensor, "node feature"], adjacency: Adjacency
) -> Float[Tensor, "node feature"]:
    """Sums over neighbours, differentiable in `x`."""
    return _NeighbourSums.apply(x, adjacency)


class _Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, h: Tensor, adjacency: Adjacency, scale: Tensor) -> Tensor:
        around = scale.unsqueeze(1) * neighbour_sums(h, adjacency)
        return h + self.mlp((1.0 + self.epsilon) * h + around)


class GIN(nn.Module):
    """[node, feature] -> [node, output]. The last layer starts at zero."""

    def __init__(self, n_features: int, width: int, n_layers: int, n_outputs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(n_features, width), nn.ReLU())
        self.layers = nn.ModuleList(_Layer(width) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, n_outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self,
        x: Float[Tensor, "node feature"],
        adjacency: Adjacency,
        scale: Float[Tensor, "node"],
    ) -> Float[Tensor, "node output"]:
        h = self.first(x)
        for layer in self.layers:
            h = layer(h, adjacency, scale)
        return self.last(self.norm(h))
