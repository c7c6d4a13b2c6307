"""The network of a policy over forests: subtrees are embedded once, pairs see two embeddings.

    e = MLP(random projection of the root's states, leaves below)      once for each subtree
    pair logit = w . (f, q_i . q_j) + MLP(f, q_i . q_j)                f: features of the pair
    length laws = MLP(e_left, e_right, e_third, mean of e, star)       only for the pair that is joined
    log flow = MLP(mean of e over the forest's trees, their number)

The q are linear in e, so all pairs of a trajectory's subtrees cost one small product.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domains.phylogeny.subtrees import N_FEATURES

N_SCORES, _SCORE_WIDTH = 2, 16
N_PROJECTED, _PAIR_WIDTH = 64, 16
# Before training a pair is favoured by how far it is ahead of the others, in either criterion.
_FIRST_WEIGHTS = {0: -2.0, 1: -0.5, 3: -1.0, 4: -0.5}
N_STAR = 6
_FEATURE_SCALE, _MEMBER_SCALE = 0.25, 2.0


def _mlp(n_in: int, width: int, n_out: int, zero: bool = True) -> nn.Sequential:
    last = nn.Linear(width, n_out)
    if zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(n_in, width), nn.SiLU(), last)


class ForestNetwork(nn.Module):
    """All parts of the network, float32.

    n_described   width of a subtree's description
    n_length      numbers that make the law of one length; 0 without lengths
    """

    def __init__(self, n_described: int, n_taxa: int, width: int, n_length: int) -> None:
        super().__init__()
        # Not learned: so descriptions of single patterns are needed once, and never kept.
        self.register_buffer("projection", torch.randn(n_described, N_PROJECTED))
        self.encode = _mlp(N_PROJECTED + n_taxa + 1, width, width, zero=False)
        self.query = nn.Linear(width, N_SCORES * _SCORE_WIDTH)
        self.skip = nn.Linear(N_FEATURES + N_SCORES, 1)
        self.pair = _mlp(N_FEATURES + N_SCORES, _PAIR_WIDTH, 1)
        self.flow = _mlp(width + 1, width, 1)
        nn.init.zeros_(self.skip.weight)
        with torch.no_grad():
            for feature, weight in _FIRST_WEIGHTS.items():
                self.skip.weight[0, feature] = weight
            self.skip.weight[0, N_FEATURES:] = 1.0
        if n_length:
            trunk = nn.Linear(4 * width + N_STAR, width)
            self.trunk = nn.Sequential(trunk, nn.SiLU(), nn.Linear(width, width), nn.SiLU())
            self.first = _mlp(width, width, n_length)
            self.second = _mlp(width + 4, width, n_length)
            self.last = _mlp(width + 2, width, n_length)

    projection: Tensor

    def seen(
        self, described: Float[Tensor, "tree feature"], members: Float[Tensor, "tree taxon"]
    ) -> Float[Tensor, "tree input"]:
        """What the encoder sees of subtrees: their descriptions, projected, and their leaves."""
        size = members.sum(-1, keepdim=True).log()
        return torch.cat([described @ self.projection, _MEMBER_SCALE * members, size], -1)

    def embed(self, seen: Float[Tensor, "*tree input"]) -> Float[Tensor, "*tree width"]:
        return self.encode(seen)

    def queries(self, embedded: Float[Tensor, "*tree width"]) -> Float[Tensor, "*tree query"]:
        return self.query(embedded) / _SCORE_WIDTH**0.25

    def pair_logits(
        self, features: Float[Tensor, "*pair feature"], scores: Float[Tensor, "*pair score"]
    ) -> Float[Tensor, "*pair"]:
        seen = torch.cat([_FEATURE_SCALE * features, scores], -1)
        return (self.skip(seen) + self.pair(seen)).squeeze(-1)

    def log_flow(self, mean: Tensor, n_trees: Tensor) -> Float[Tensor, "state"]:
        return self.flow(torch.cat([mean, 0.1 * n_trees[:, None]], -1)).squeeze(-1)


def scores_of(
    left: Float[Tensor, "*batch a query"], right: Float[Tensor, "*batch b query"]
) -> Tensor:
    """[*batch, a, b, score] of all pairs."""
    left, right = (q.unflatten(-1, (N_SCORES, _SCORE_WIDTH)) for q in (left, right))
    return torch.einsum("...ahx,...bhx->...abh", left, right)
