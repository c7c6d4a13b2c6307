"""Search for most parsimonious trees: stepwise addition, subtree regrafts, ratchet, and the plateau around.

Each start joins the tips in random order where they cost least and climbs by regrafts (SPR). The ratchet
then climbs under weights in which a random quarter of the sites counts twice, climbs back under the true
ones, and stays where that is no worse (K. C. Nixon, "The parsimony ratchet, a new method for rapid parsimony
analysis", 1999). At the end the neighbours of the best trees, and theirs, are collected while they are
within `slack` steps of the best. The cost is counted in trees scored, whether from scratch or by one join.

Trees are distinct after edges on which no most parsimonious history has a change are collapsed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt64
from torch import Tensor

from domains.phylogeny import _parsimony_search_kernels as kernels
from domains.phylogeny.parsimony import Gaps, constant_steps, state_sets
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.tree_moves import hang, unhang
from domains.phylogeny.trees import Trees, topology_keys
from workbench.errors import InputError

_BITS = 64


@dataclass(frozen=True)
class Config:
    """n_ratchet        ratchet rounds after each start; starts follow until their budget is spent
    ratchet_share    share of the sites that count twice in a ratchet round
    slack            trees up to this many steps above the best are kept
    n_kept           how many trees at most
    max_evaluations  budget in trees scored, split between search and the plateau
    plateau_share    share of the budget for the plateau
    random_starts    whether random starts follow the given ones
    """

    n_ratchet: int = 20
    ratchet_share: float = 0.25
    slack: int = 0
    n_kept: int = 1000
    max_evaluations: int = 5_000_000
    plateau_share: float = 0.3
    random_starts: bool = True


@dataclass(frozen=True)
class SitePlanes:
    """Fitch sets of the tips, one bit per site that trees differ in: tips [taxon, state, word].

    constant   steps that every tree needs beyond those
    n_columns  bits in use
    """

    tips: UInt64[np.ndarray, "taxon state word"]
    constant: int
    n_columns: int

    def no_extra(self) -> UInt64[np.ndarray, "word"]:
        return np.zeros(self.tips.shape[2], np.uint64)


@dataclass(frozen=True, eq=False)
class Found:
    """trees          distinct, best first; the lengths are the changes that a history may have there
    steps          [tree]
    best_after     [improvement, 2]: trees scored, and the best steps so far, at each improvement
    n_evaluations  trees scored
    """

    trees: Trees
    steps: Int64[Tensor, "tree"]
    best_after: Int64[Tensor, "improvement 2"]
    n_evaluations: int

    @property
    def best(self) -> int:
        return int(self.steps[0])


def site_planes(patterns: Patterns, gaps: Gaps) -> SitePlanes:
    """Planes under a gap convention (see `parsimony`); sites of one pattern each have their bit."""
    weights = patterns.weights.numpy().astype(np.int64)
    sets = state_sets(patterns.states.numpy(), gaps)
    least, varies = constant_steps(sets)
    columns = np.repeat(sets[:, varies], weights[varies], axis=1)
    constant = int((least * weights)[~varies].sum())
    n_states = 4 if gaps == "missing" else 5
    n_words = max(-(-columns.shape[1] // _BITS), 1)
    # Unused bits are in every set and never cost a step.
    full = np.full((len(sets), n_words * _BITS), 31, np.uint8)
    full[:, : columns.shape[1]] = columns
    bits = (full[:, None, :] >> np.arange(n_states, dtype=np.uint8)[:, None]) & 1
    tips = np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)
    return SitePlanes(np.ascontiguousarray(tips), constant, columns.shape[1])


def with_changes(planes: SitePlanes, trees: Trees) -> tuple[Trees, Int64[Tensor, "tree"]]:
    """The same topologies, each edge as long as the number of sites that may change on it in a most
    parsimonious history, and the steps of each tree. Edges of length zero resolve nothing."""
    hung = hang(trees)
    changes = np.empty(hung.parent.shape, np.int64)
    steps = kernels.edge_changes(
        hung.parent.numpy(), hung.child.numpy(), planes.tips, planes.no_extra(), changes
    )
    lengths = torch.from_numpy(changes).double()
    return unhang(hung.parent, lengths), torch.from_numpy(steps) + planes.constant


def distinct_best(
    planes: SitePlanes, trees: Trees, slack: int = 0
) -> tuple[Trees, Int64[Tensor, "tree"]]:
    """The distinct trees (edges without changes collapsed) within `slack` steps of the best, best first,
    with their steps."""
    changed, steps = with_changes(planes, trees)
    rows = (steps <= int(steps.min()) + slack).nonzero().squeeze(1)
    rows = rows[torch.argsort(steps[rows], stable=True)]
    keys = topology_keys(changed[rows], longer_than=0.0).numpy()
    first = torch.from_numpy(np.sort(np.unique(keys, return_index=True)[1]))
    return changed[rows[first]], steps[rows[first]]


def search(
    config: Config, planes: SitePlanes, generator: torch.Generator, start: Trees | None = None
) -> Found:
    """Starts and ratchet rounds until their share of the budget is spent, then the plateau.

    `start`: trees to climb from before the random ones. Raises `InputError` for fewer than 4 taxa, a budget
    too small for one tree, and neither given nor random starts.
    """
    n_taxa = planes.tips.shape[0]
    if n_taxa < 4 or config.max_evaluations < n_taxa * n_taxa:
        raise InputError(
            f"a search needs 4 taxa and {n_taxa * n_taxa} evaluations or more, not {n_taxa} and "
            f"{config.max_evaluations}"
        )
    search = _Search(config, planes, generator)
    given = [] if start is None else [_links(start[[i]]) for i in range(len(start))]
    if not given and not config.random_starts:
        raise InputError("there is no tree to start from: give one, or allow random starts")
    while not search.spent() and (given or config.random_starts):
        tree = given.pop(0) if given else search.added()
        tree, steps = search.climbed(*tree, planes.no_extra())
        search.keep(tree, steps)
        for _ in range(config.n_ratchet):
            if search.spent():
                break
            other, _ = search.climbed(*tree, search.random_extra())
            other, other_steps = search.climbed(*other, planes.no_extra())
            if other_steps <= steps:
                tree, steps = other, other_steps
            search.keep(other, other_steps)
    search.widen()
    trees, steps_of = distinct_best(planes, search.trees(), config.slack)
    kept = slice(0, config.n_kept)
    best_after = torch.tensor(search.best_after, dtype=torch.int64)
    return Found(trees[kept], steps_of[kept], best_after, search.n_scored)


Links = tuple[np.ndarray, np.ndarray]


def _links(tree: Trees) -> Links:
    hung = hang(tree)
    return hung.parent[0].numpy(), hung.child[0].numpy()


class _Search:
    """The trees found so far, by collapsed topology, and the budget."""

    def __init__(self, config: Config, planes: SitePlanes, generator: torch.Generator) -> None:
        self.config, self.planes, self.generator = config, planes, generator
        self.n_scored, self.best = 0, int(kernels.NONE)
        self.best_after: list[tuple[int, int]] = []
        self.pool: dict[int, tuple[int, np.ndarray]] = {}
        self.unvisited: list[int] = []

    def spent(self, share: float | None = None) -> bool:
        share = 1 - self.config.plateau_share if share is None else share
        return self.n_scored >= share * self.config.max_evaluations

    def added(self) -> Links:
        """A tree by stepwise addition in random order."""
        n_taxa = self.planes.tips.shape[0]
        order = 1 + torch.randperm(n_taxa - 1, generator=self.generator).numpy()
        parent = np.zeros(2 * n_taxa - 2, np.int64)
        child = np.full((2 * n_taxa - 2, 2), -1, np.int64)
        extra = self.planes.no_extra()
        self.n_scored += kernels.add_tips(order, self.planes.tips, extra, parent, child)[1]
        return parent, child

    def climbed(
        self, parent: np.ndarray, child: np.ndarray, extra: np.ndarray
    ) -> tuple[Links, int]:
        parent, child = parent.copy(), child.copy()
        visits = 1 + torch.randperm(len(parent) - 1, generator=self.generator).numpy()
        left = self.config.max_evaluations - self.n_scored
        steps, n_scored = kernels.climb(parent, child, self.planes.tips, extra, visits, left)
        self.n_scored += n_scored
        return (parent, child), steps + self.planes.constant

    def random_extra(self) -> np.ndarray:
        n_bits = self.planes.tips.shape[2] * _BITS
        draws = torch.rand(n_bits, generator=self.generator).numpy()
        doubled = (draws < self.config.ratchet_share) & (np.arange(n_bits) < self.planes.n_columns)
        return np.packbits(doubled, bitorder="little").view("<u8").astype(np.uint64)

    def keep(self, tree: Links, steps: int) -> None:
        """Adds a tree to the pool where it is good enough and new."""
        if steps < self.best:
            self.best = steps
            self.best_after.append((self.n_scored, steps))
            limit = steps + self.config.slack
            self.pool = {key: kept for key, kept in self.pool.items() if kept[0] <= limit}
            self.unvisited = [key for key in self.unvisited if key in self.pool]
        if steps <= self.best + self.config.slack and len(self.pool) < 4 * self.config.n_kept:
            key = self._key(tree[0])
            if key not in self.pool:
                self.pool[key] = (steps, tree[0].copy())
                self.unvisited.append(key)

    def widen(self) -> None:
        """Visits the neighbours of all trees of the pool, the best first."""
        extra, n_nodes = self.planes.no_extra(), 2 * self.planes.tips.shape[0] - 2
        scores = np.empty((n_nodes, n_nodes), np.int64)
        while self.unvisited and not self.spent(1.0):
            key = min(self.unvisited, key=lambda known: self.pool[known][0])
            self.unvisited.remove(key)
            parent, child = _links(
                unhang(torch.from_numpy(self.pool[key][1])[None], _zeros(n_nodes))
            )
            self.n_scored += kernels.neighbourhood(parent, child, self.planes.tips, extra, scores)[
                1
            ]
            limit = self.best + self.config.slack - self.planes.constant
            for v, target in np.argwhere(scores <= limit):
                near = parent.copy(), child.copy()
                kernels.apply_move(*near, v, target, np.zeros(n_nodes))
                self.keep(near, int(scores[v, target]) + self.planes.constant)
                if key not in self.pool:
                    break

    def trees(self) -> Trees:
        parents = torch.from_numpy(np.stack([parent for _, parent in self.pool.values()]))
        return unhang(parents, torch.zeros(parents.shape, dtype=torch.float64))

    def _key(self, parent: np.ndarray) -> int:
        tree = unhang(torch.from_numpy(parent.copy())[None], _zeros(len(parent)))
        return int(topology_keys(with_changes(self.planes, tree)[0], longer_than=0.0)[0])


def _zeros(n_nodes: int) -> Float[Tensor, "1 node"]:
    return torch.zeros(1, n_nodes, dtype=torch.float64)
