"""A velocity network whose first layer shows which gene acts on which.

    v_i(x) = MLP_i( theta_i x ),    theta_i [hidden, gene],    edge j -> i: || theta_i[:, j] ||

One small perceptron per target gene (neural graphical model; in [SF]2M: Tong et al., "Simulation-free
Schrödinger bridges via score and flow matching", 2023, arXiv 2307.03672). The group penalty
lambda sum_ij ||theta_i[:, j]|| is applied by its proximal map after each step, so that weak inputs are cut
to exactly zero. A gene's own column is left free: decay needs it, and self-edges are not scored.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Norms of a usual start would drown the edges: from a small one, what grows is what is needed.
SMALL = 0.03


class StructuredVelocity(nn.Module):
    """[batch, gene] -> [batch, gene]; the time is not an input, so genes alone must explain the change.

    shrinkage   lambda of the group penalty
    """

    others: Tensor

    def __init__(self, n_genes: int, hidden: int, shrinkage: float) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.theta = nn.Parameter(SMALL * torch.randn(n_genes, hidden, n_genes) / n_genes**0.5)
        self.bias = nn.Parameter(torch.zeros(n_genes, hidden))
        self.inner = nn.Parameter(torch.randn(n_genes, hidden, hidden) / hidden**0.5)
        self.inner_bias = nn.Parameter(torch.zeros(n_genes, hidden))
        self.last = nn.Parameter(torch.zeros(n_genes, hidden))
        self.last_bias = nn.Parameter(torch.zeros(n_genes))
        self.register_buffer("others", 1.0 - torch.eye(n_genes))

    def forward(
        self, x: Float[Tensor, "batch gene"], t: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch gene"]:
        n, hidden, _ = self.theta.shape
        first = (x @ self.theta.reshape(n * hidden, n).T).reshape(len(x), n, hidden) + self.bias
        first = nn.functional.selu(first).transpose(0, 1)
        second = torch.baddbmm(self.inner_bias[:, None], first, self.inner.transpose(1, 2))
        second = nn.functional.selu(second).transpose(0, 1)
        return (second * self.last).sum(2) + self.last_bias

    def edges(self) -> Float[Tensor, "source target"]:
        """Norms of the first layer's columns, by regulator and target."""
        return self.theta.detach().norm(dim=1).T

    @torch.no_grad()
    def proximal(self, learning_rate: float) -> None:
        """Shrink every group by learning rate x lambda, to zero at most."""
        size = self.theta.norm(dim=1).clamp(min=1e-12)
        keep = (1.0 - learning_rate * self.shrinkage * self.others / size).clamp(min=0.0)
        self.theta.mul_(keep[:, None, :])
