"""An E(n)-equivariant graph network on a complete graph of identical or labelled particles.

Messages run over unordered pairs (Satorras, Hoogeboom and Welling, E(n) equivariant graph neural
networks, 2021, arXiv 2102.09844), with

    m_ij  = phi_e( h_i + h_j, features of |x_i - x_j|, time )           symmetric in i and j
    out_i = sum_j phi_x(m_ij) (x_i - x_j) / (1 + |x_i - x_j|)
    h_i  <- h_i + phi_h( h_i, sum_j gate(m_ij) m_ij )

Differs from the paper: the message is symmetric, which halves the cost and makes the output sum to zero
over particles, as the score of a mean-free density must; positions stay fixed between layers and every
layer adds to one output field.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.nets.embedding import sinusoidal

N_TIME = 32


class _Layer(nn.Module):
    def __init__(self, width: int, n_edge: int) -> None:
        super().__init__()
        self.node_to_edge = nn.Linear(width, width, bias=False)
        self.edge_features = nn.Linear(n_edge, width)
        self.time_to_edge = nn.Linear(N_TIME, width)
        self.message = nn.Linear(width, width)
        self.heads = nn.Linear(width, 2)
        self.update = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, h: Tensor, edges: Tensor, time: Tensor, both: Tensor, onto: Tensor
    ) -> tuple[Tensor, Tensor]:
        hidden = self.edge_features(edges) + both @ self.node_to_edge(h)
        hidden = nn.functional.silu(hidden + self.time_to_edge(time)[:, None])
        message = nn.functional.silu(self.message(hidden))
        strength, gate = self.heads(message).unbind(-1)
        gathered = onto @ (torch.sigmoid(gate)[..., None] * message)
        return h + self.update(torch.cat([h, gathered], dim=-1)), strength


class EGNN(nn.Module):
    """Positions [batch, particle, space] (centred or not) and time [batch] -> a vector field of the
    same shape that sums to zero over particles, turns with the positions and follows permutations of
    particles with the same label.

    `length` is the typical particle distance from the centre: distances enter in this unit."""

    def __init__(
        self,
        n_particles: int,
        width: int,
        n_layers: int,
        length: float,
        labels: Tensor | None = None,
        n_radial: int = 16,
    ) -> None:
        super().__init__()
        self.length = length
        i, j = torch.triu_indices(n_particles, n_particles, offset=1)
        both = torch.zeros(len(i), n_particles)
        both[torch.arange(len(i)), i] = 1.0
        both[torch.arange(len(i)), j] = 1.0
        sign = both.clone()
        sign[torch.arange(len(i)), j] = -1.0
        self.register_buffer("both", both, persistent=False)
        self.register_buffer("sign", sign, persistent=False)
        self.register_buffer("radial", torch.linspace(0.0, 5.0, n_radial), persistent=False)
        label = torch.zeros(n_particles, dtype=torch.long) if labels is None else labels
        self.register_buffer("label", label, persistent=False)
        self.labels = nn.Embedding(int(label.max()) + 1, width)
        self.time_to_node = nn.Linear(N_TIME, width)
        n_edge = n_radial + 3
        self.layers = nn.ModuleList(_Layer(width, n_edge) for _ in range(n_layers))
        for layer in self.layers:
            nn.init.zeros_(layer.heads.weight)  # type: ignore[union-attr, arg-type]
            nn.init.zeros_(layer.heads.bias)  # type: ignore[union-attr, arg-type]

    def _edge_features(self, distance: Tensor) -> Tensor:
        scaled = distance[..., None] / self.length
        spacing = self.radial[1] - self.radial[0]
        bumps = torch.exp(-0.5 * ((scaled - self.radial) / spacing) ** 2)
        return torch.cat([bumps, scaled, torch.log(scaled + 1e-2), 0.1 / (scaled + 0.1)], dim=-1)

    def forward(
        self, x: Float[Tensor, "batch particle space"], t: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch particle space"]:
        time = sinusoidal(t, N_TIME, 16.0)
        difference = self.sign @ x
        distance = (difference.square().sum(-1) + 1e-12).sqrt()
        edges = self._edge_features(distance)
        h = self.labels(self.label) + self.time_to_node(time)[:, None]
        total = torch.zeros_like(distance)
        onto = self.both.T.contiguous()
        for layer in self.layers:
            h, strength = layer(h, edges, time, self.both, onto)
            total = total + strength
        direction = difference / (self.length + distance[..., None])
        return self.sign.T @ (total[..., None] * direction)
