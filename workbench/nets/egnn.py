"""An E(n)-equivariant graph network on a complete graph of identical or labelled particles.

Messages run over unordered pairs (Satorras, Hoogeboom and Welling, E(n) equivariant graph neural
networks, 2021, arXiv 2102.09844), with

    m_ij  = phi_e( h_i + h_j, features of |x_i - x_j| and of the vectors v, time )    symmetric
    h_i  <- h_i + phi_h( h_i, sum_j gate(m_ij) m_ij )
    out_i = sum_j a(m_ij) (x_i - x_j) / (1 + |x_i - x_j|) + sum_j b(m_ij) (v_i - v_j) + c(h_i) v_i

v are vectors that come with the particles, here the forces on them, or nothing. The sum over pairs of
(v_i - v_j) lets the net smooth forces over neighbours, which is what noise does to them.

Differs from the paper: the message is symmetric, which halves the cost; positions stay fixed between
layers and every layer adds to one output field, whose sum over particles is set to zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.nets.embedding import sinusoidal

N_TIME = 32
N_RADIAL = 32
LONGEST = 4.0


class _Layer(nn.Module):
    def __init__(self, width: int, n_edge: int) -> None:
        super().__init__()
        self.node_to_edge = nn.Linear(width, width, bias=False)
        self.edge_features = nn.Linear(n_edge, width)
        self.time_to_edge = nn.Linear(N_TIME, width)
        self.message = nn.Linear(width, width)
        self.heads = nn.Linear(width, 3)
        self.update = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def forward(
        self, h: Tensor, edges: Tensor, time: Tensor, both: Tensor
    ) -> tuple[Tensor, Tensor]:
        hidden = self.edge_features(edges) + both @ self.node_to_edge(h)
        hidden = nn.functional.silu(hidden + self.time_to_edge(time)[:, None])
        message = nn.functional.silu(self.message(hidden))
        heads = self.heads(message)
        gathered = both.T @ (torch.sigmoid(heads[..., 2:]) * message)
        return h + self.update(torch.cat([h, gathered], dim=-1)), heads[..., :2]


class EGNN(nn.Module):
    """Positions [batch, particle, space], time [batch] and vectors v of the positions' shape -> a vector
    field of the same shape that sums to zero over particles, turns with positions and vectors and
    follows permutations of particles with the same label. It starts at zero.

    Distances beyond `LONGEST` are told apart by their logarithm alone: scale positions to order one.
    """

    both: Tensor
    sign: Tensor
    radial: Tensor
    label: Tensor

    def __init__(
        self, n_particles: int, width: int, n_layers: int, labels: Tensor | None = None
    ) -> None:
        super().__init__()
        i, j = torch.triu_indices(n_particles, n_particles, offset=1)
        pair = torch.arange(len(i))
        both = torch.zeros(len(i), n_particles)
        both[pair, i] = 1.0
        both[pair, j] = 1.0
        sign = both.clone()
        sign[pair, j] = -1.0
        label = torch.zeros(n_particles, dtype=torch.long) if labels is None else labels
        self.register_buffer("both", both, persistent=False)
        self.register_buffer("sign", sign, persistent=False)
        self.register_buffer("radial", torch.linspace(0.0, LONGEST, N_RADIAL), persistent=False)
        self.register_buffer("label", label, persistent=False)
        self.labels = nn.Embedding(int(label.max()) + 1, width)
        self.time_to_node = nn.Linear(N_TIME, width)
        self.layers = nn.ModuleList(_Layer(width, N_RADIAL + 5) for _ in range(n_layers))
        self.own = nn.Linear(width, 1)
        nn.init.zeros_(self.own.weight)
        nn.init.zeros_(self.own.bias)

    def forward(
        self,
        x: Float[Tensor, "batch particle space"],
        t: Float[Tensor, "batch"],
        v: Float[Tensor, "batch particle space"],
    ) -> Float[Tensor, "batch particle space"]:
        time = sinusoidal(t, N_TIME, 16.0)
        difference, vectors = self.sign @ x, self.sign @ v
        distance = (difference.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        edges = self._edge_features(distance, (difference * vectors).sum(-1, keepdim=True), v)
        h = self.labels(self.label) + self.time_to_node(time)[:, None]
        total = torch.zeros_like(distance).expand(-1, -1, 2)
        for layer in self.layers:
            h, strength = layer(h, edges, time, self.both)
            total = total + strength
        pairs = total[..., :1] * difference / (1.0 + distance) + total[..., 1:] * vectors
        out = self.sign.T @ pairs + self.own(h) * v
        return out - out.mean(dim=1, keepdim=True)

    def _edge_features(self, distance: Tensor, along: Tensor, v: Tensor) -> Tensor:
        """Radial bumps, three smooth functions of the distance, and two of the vectors."""
        spacing = self.radial[1] - self.radial[0]
        bumps = torch.exp(-0.5 * ((distance - self.radial) / spacing) ** 2)
        size = self.both @ (v.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        smooth = [distance, torch.log(distance + 1e-2), 0.1 / (distance + 0.1)]
        return torch.cat([bumps, *smooth, torch.asinh(along / distance), torch.asinh(size)], dim=-1)
