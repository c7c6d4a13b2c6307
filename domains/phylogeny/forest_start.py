"""A first tree without any training, and the taxon from which forests are best hung.

Neighbour joining on distances between subtrees (Saitou & Nei, "The neighbor-joining method", 1987), with
partials and lengths renewed at every merge. Which taxon waits until last changes nothing in the law that is
learned, but much in how good the first guesses are: each is tried, and the best tree decides.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.forest import Forest, ForestState
from domains.phylogeny.subtrees import Guide, Subtrees

_CRITERION = 2  # feature of a pair: how far its criterion is above the lowest


def neighbour_joining(guide: Guide, forest: Forest) -> ForestState:
    """The terminal state [1] of the greedy tree."""
    state = forest.initial_state(1)
    subtrees, row = Subtrees(guide, state), torch.zeros(1, dtype=torch.int64)
    for _ in range(forest.max_steps - 1):
        features, names, n_allowed = subtrees.pairs(row, ordered=False)
        best = features[0, : int(n_allowed), _CRITERION].argmin()
        left, right = names[:, best, 0].clone(), names[:, best, 1].clone()
        lengths = torch.zeros(1, 2, dtype=torch.float64)
        if forest.with_lengths:
            star = subtrees.star(row, left, right)
            lengths[:, 0] = star.law[:, 0].exp()
            lengths[:, 1] = subtrees.second_law(star, lengths[:, 0].contiguous())[:, 0].exp()
        subtrees.join(row, left, right, lengths)
        state = forest.step(state, _action(forest, left, right, lengths))
    last = torch.zeros(1, 2, dtype=torch.float64)
    if forest.with_lengths:
        last[:, 1] = subtrees.last_law(row)[:, 0].exp()
    return forest.step(state, _action(forest, row, row + 1, last))


def _action(forest: Forest, left: Tensor, right: Tensor, lengths: Float[Tensor, "1 2"]) -> Tensor:
    number = forest.pair_number(left, right)
    if not forest.with_lengths:
        return number
    return torch.cat([number.double()[:, None], lengths], 1)
