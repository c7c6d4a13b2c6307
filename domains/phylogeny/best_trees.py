"""The most parsimonious trees that were ever seen, distinct: a memory beside whatever makes trees.

Trees are kept while they are within `slack` steps of the best. Two are the same when they differ only in edges
on which no most parsimonious history has a change (`parsimony_search.with_changes`).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from domains.phylogeny.parsimony import Gaps, Parsimony
from domains.phylogeny.parsimony_search import site_planes, with_changes
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.trees import Trees, concatenated, topology_keys


class BestTrees:
    """At most `n_kept` trees, best first; of equals the earlier ones.

    trees   their edges are as long as the changes that may lie there
    steps   [tree]
    """

    def __init__(self, patterns: Patterns, gaps: Gaps, slack: int, n_kept: int) -> None:
        n_taxa = patterns.n_taxa
        self._parsimony = Parsimony(patterns, gaps)
        self._planes = site_planes(patterns, gaps)
        self.slack, self.n_kept = slack, n_kept
        nothing = torch.zeros(0, 2 * n_taxa - 2, dtype=torch.float64)
        self.trees = Trees(torch.zeros(0, n_taxa - 1, 2, dtype=torch.int64), nothing)
        self.steps: Int64[Tensor, "tree"] = torch.zeros(0, dtype=torch.int64)
        self._seen: Int64[Tensor, "tree"] = torch.zeros(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def best(self) -> int | None:
        """Steps of the best tree; None before the first one."""
        return int(self.steps[0]) if len(self) else None

    def within(self, limit: int) -> int:
        """How many trees have at most `limit` steps."""
        return int((self.steps <= limit).sum())

    def add(self, trees: Trees) -> Int64[Tensor, "given"]:
        """Looks at the trees and keeps the good and new ones; returns the steps of all that were given."""
        steps = self._parsimony.score(trees.children)
        best = min(int(steps.min()), int(steps.min()) if self.best is None else self.best)
        good = (steps <= best + self.slack).nonzero().squeeze(1)
        good = good[~torch.isin(topology_keys(trees[good]), self._seen)]
        if len(good):
            self._merge(trees[good], best)
        return steps

    def _merge(self, trees: Trees, best: int) -> None:
        changed, steps = with_changes(self._planes, trees)
        # Resolutions of one multifurcation are many: only those of trees that are kept are remembered.
        self._seen = torch.cat([self._seen, topology_keys(trees)])[-20 * self.n_kept :]
        every = concatenated([self.trees, changed])
        all_steps = torch.cat([self.steps, steps])
        order = torch.argsort(all_steps, stable=True)
        order = order[all_steps[order] <= best + self.slack]
        keys = topology_keys(every[order], longer_than=0.0)
        place = torch.unique(keys, return_inverse=True)[1]
        first = torch.full((len(order),), len(order)).scatter_reduce(
            0, place, torch.arange(len(order)), "amin"
        )
        kept = order[first[first < len(order)].sort().values[: self.n_kept]]
        self.trees, self.steps = every[kept], all_steps[kept]

    def state_dict(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        return {
            "children": self.trees.children,
            "lengths": self.trees.lengths,
            "steps": self.steps,
            "seen": self._seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trees = Trees(state["children"], state["lengths"])
        self.steps, self._seen = state["steps"], state["seen"]
