"""The subtrees of a batch of forests with what a policy sees of them, kept up to date merge by merge.

Every subtree is described once, when it is made, from its partials on compressed patterns; distances
between roots are kept in a table, so a merge costs one row of it. See `_subtree_feature_kernels` for the
quantities, all of them without gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from domains.phylogeny import _star_kernels
from domains.phylogeny import _subtree_feature_kernels as kernels
from domains.phylogeny.forest import ForestState
from domains.phylogeny.likelihood import known_states
from domains.phylogeny.models import SubstitutionModel
from domains.phylogeny.parsimony import Gaps, constant_steps, state_sets
from domains.phylogeny.patterns import Patterns

N_FEATURES = kernels.N_FEATURES
_LANES = 8  # patterns are filled up to a multiple of this


@dataclass(frozen=True, eq=False)
class Guide:
    """The data as subtrees see it.

    tips       [taxon, state, pattern] float32, scaled so that their mean under `frequencies` is one
    weights    [pattern] sites that show it; `scale`: root of their shares
    frequencies, beta    of the equal-input model; `rate` of the prior of lengths
    fitch      subtrees are joined by Fitch's rule instead, and have no lengths
    """

    tips: NDArray[np.float32]
    weights: NDArray[np.float32]
    scale: NDArray[np.float32]
    frequencies: NDArray[np.float64]
    beta: float
    rate: float
    fitch: bool
    distances: NDArray[np.float32]

    @property
    def n_taxa(self) -> int:
        return len(self.tips)

    @property
    def n_sites(self) -> float:
        return float(self.weights.sum())

    @property
    def n_described(self) -> int:
        """Width of a subtree's description."""
        return (self.tips.shape[1] - 1) * self.tips.shape[2]


def likelihood_guide(patterns: Patterns, model: SubstitutionModel, rate: float) -> Guide:
    """Subtrees with partials under the equal-input model with the frequencies of `model`."""
    masks = known_states(patterns.states).numpy()
    return _guide(masks, patterns.weights.numpy(), model.frequencies.detach().numpy(), rate, False)


def fitch_guide(patterns: Patterns, gaps: Gaps) -> Guide:
    """Subtrees with Fitch sets as partials, over the patterns whose cost differs between trees."""
    masks = state_sets(patterns.states.numpy(), gaps)
    _, varies = constant_steps(masks)
    n_states = 4 if gaps == "missing" else 5
    frequencies = np.full(n_states, 1.0 / n_states)
    weights = patterns.weights.numpy()[varies]
    return _guide(masks[:, varies], weights, frequencies, 0.0, True)


def _guide(
    masks: NDArray[np.uint8],
    counts: NDArray[np.float64],
    frequencies: NDArray[np.float64],
    rate: float,
    fitch: bool,
) -> Guide:
    distinct, member = np.unique(masks, axis=1, return_inverse=True)
    n_taxa, n_patterns = distinct.shape
    padded = np.full((n_taxa, -(-max(n_patterns, 1) // _LANES) * _LANES), 31, dtype=np.uint8)
    padded[:, :n_patterns] = distinct
    weights = np.zeros(padded.shape[1], np.float32)
    weights[:n_patterns] = np.bincount(member.ravel(), weights=counts)
    bits = (padded[:, None, :] >> np.arange(len(frequencies), dtype=np.uint8)[:, None]) & 1
    raw = bits.astype(np.float64)
    raw /= np.einsum("nsp,s->np", raw, frequencies)[:, None]
    tips = np.ascontiguousarray(raw, dtype=np.float32)
    beta = 1.0 / (1.0 - float((frequencies**2).sum()))
    scale = np.sqrt(weights / max(weights.sum(), 1.0)).astype(np.float32)
    distances = kernels.tip_distances(tips, frequencies, weights, beta)
    return Guide(tips, weights, scale, np.array(frequencies), beta, rate, fitch, distances)


class Subtrees:
    """The forests of one rollout, changed in place by `join`.

    roots    [batch, taxon] as in `ForestState`; `members` [batch, taxon, taxon]: the leaves of each tree
    """

    def __init__(self, guide: Guide, state: ForestState) -> None:
        self.guide = guide
        self.roots = state.roots.numpy().copy()
        n, n_taxa = self.roots.shape
        self._parts = np.empty((n, *guide.tips.shape), np.float32)
        self._distances = np.zeros((n, n_taxa, n_taxa), np.float32)
        self.keys = np.full((n, n_taxa), -np.inf)
        self.node_keys = np.full((n, n_taxa - 1), -np.inf)
        self.members = torch.eye(n_taxa).repeat(n, 1, 1)
        if bool((state.children < 0).all()):
            self._parts[:] = guide.tips
            self._distances[:] = guide.distances
        else:
            self._load(state)

    def _load(self, state: ForestState) -> None:
        guide, n_nodes = self.guide, 2 * self.guide.n_taxa - 1
        lengths = state.lengths
        if lengths is None:
            lengths = torch.zeros(len(self.roots), n_nodes, dtype=torch.float64)
        kernels.load(
            state.children.numpy(),
            self.roots,
            lengths.numpy(),
            guide.tips,
            guide.distances,
            guide.frequencies,
            guide.weights,
            guide.beta,
            guide.fitch,
            self._parts,
            self._distances,
            self.keys,
            self.node_keys,
        )
        self.members = members(state)

    def describe(self, rows: Tensor, names: Tensor) -> Float[Tensor, "tree feature"]:
        """State probabilities at the roots of the trees `names` of `rows`, centred and scaled."""
        guide = self.guide
        shape = (len(rows), guide.tips.shape[1] - 1, guide.tips.shape[2])
        out = np.empty(shape, np.float32)
        kernels.describe(
            self._parts, rows.numpy(), names.numpy(), guide.frequencies, guide.scale, out
        )
        return torch.from_numpy(out).flatten(1)

    def pairs(
        self, rows: Int[Tensor, "row"], ordered: bool
    ) -> tuple[Float[Tensor, "row pair feature"], Int[Tensor, "row pair 2"], Int[Tensor, "row"]]:
        """Features and names of the pairs that may be joined, and how many of them there are; the rest is
        filling."""
        n_trees = int((self.roots[rows.numpy()] >= 0).sum(1).max()) - 1
        shape = (len(rows), max(n_trees * (n_trees - 1) // 2, 1))
        features = np.zeros((*shape, N_FEATURES), np.float32)
        names = np.zeros((*shape, 2), np.int64)
        n_allowed = np.zeros(len(rows), np.int64)
        kernels.pair_features(
            self._distances,
            self.keys,
            self.roots,
            rows.numpy(),
            self.guide.n_sites,
            ordered,
            features,
            names,
            n_allowed,
        )
        return torch.from_numpy(features), torch.from_numpy(names), torch.from_numpy(n_allowed)

    def star(self, rows: Tensor, left: Tensor, right: Tensor) -> Star:
        """The star of the trees left < right (neither the tree 0) and the nearest other one."""
        guide, n = self.guide, len(rows)
        law, ends = np.empty((n, 2)), np.empty((n, 3))
        third = np.empty(n, np.int64)
        at = (rows.numpy(), left.numpy(), right.numpy())
        shared = (guide.frequencies, guide.weights, guide.beta, guide.rate)
        _star_kernels.star_first(
            self._parts, self._distances, self.roots, *at, *shared, law, ends, third
        )
        return Star(self, at, torch.from_numpy(law), torch.from_numpy(third), ends)

    def second_law(self, star: Star, length: Float[Tensor, "row"]) -> Float[Tensor, "row 2"]:
        """The law of the length to the right tree, given that to the left one."""
        guide, out = self.guide, np.empty((len(length), 2))
        shared = (guide.frequencies, guide.weights, guide.beta, guide.rate)
        third, given = star.third.numpy(), length.numpy()
        _star_kernels.star_second(self._parts, *star.at, third, given, *shared, star.ends, out)
        return torch.from_numpy(out)

    def last_law(self, rows: Tensor) -> Float[Tensor, "row 2"]:
        """The law of the last edge, between the trees 0 and 1."""
        guide, out = self.guide, np.empty((len(rows), 2))
        ends = torch.zeros_like(rows).numpy()
        shared = (guide.frequencies, guide.weights, guide.beta, guide.rate)
        _star_kernels.last_edge(self._parts, rows.numpy(), ends, ends + 1, *shared, out)
        return torch.from_numpy(out)

    def join(
        self, rows: Tensor, left: Tensor, right: Tensor, lengths: Float[Tensor, "row 2"]
    ) -> None:
        """Joins trees left < right."""
        guide = self.guide
        at, i, j = rows.numpy(), left.numpy(), right.numpy()
        self.roots[at, i], self.roots[at, j] = guide.n_taxa + j - 1, -1
        self.members[rows, left] += self.members[rows, right]
        kernels.merge(
            self._parts,
            self._distances,
            self.keys,
            self.roots,
            at,
            i,
            j,
            lengths.numpy(),
            guide.frequencies,
            guide.weights,
            guide.beta,
            guide.fitch,
        )
        self.keys[at, j] = -np.inf

    def last_made(self, rows: Tensor) -> Bool[Tensor, "row taxon"]:
        """Which trees may have been joined last, under the sorted order."""
        return last_of(torch.from_numpy(self.keys[rows.numpy()]))


@dataclass(frozen=True, eq=False)
class Star:
    """A merge to come. law [row, 2]: log mean and log shape of the length to the left tree;
    third [row]: the nearest other tree."""

    subtrees: Subtrees
    at: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    law: Float[Tensor, "row 2"]
    third: Int[Tensor, "row"]
    ends: NDArray[np.float64]


def last_of(keys: Float[Tensor, "row taxon"]) -> Bool[Tensor, "row taxon"]:
    """The largest keys of each row, equal ones too; none among single leaves."""
    top = keys.amax(1, keepdim=True)
    return (keys >= top - kernels.TIE) & (keys > -torch.inf)


def members(state: ForestState) -> Float[Tensor, "row taxon leaf"]:
    """The leaves of each tree of a forest, by its name."""
    children, n_taxa = state.children, state.roots.shape[1]
    bits = torch.zeros(len(children), 2 * n_taxa, n_taxa)
    bits[:, :n_taxa] = torch.eye(n_taxa)
    below = children.remainder(2 * n_taxa).flatten(1)[..., None].expand(-1, -1, n_taxa)
    for _ in range(n_taxa - 1):  # leaves rise by one merge at a time
        grown = bits.gather(1, below).unflatten(1, (-1, 2)).amax(2)
        if torch.equal(grown, bits[:, n_taxa:-1]):
            break
        bits[:, n_taxa:-1] = grown
    return bits.gather(1, state.roots.remainder(2 * n_taxa)[..., None].expand(-1, -1, n_taxa))
