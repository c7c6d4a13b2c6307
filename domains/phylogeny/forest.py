"""Trees built by merging: a forest of n leaves whose trees are joined two at a time.

    start: n single leaves;   action: join two trees, with a length for each of the two new edges;
    last action: join the one tree that is left with taxon 0, by one edge

Taxon 0 waits until everything else is one tree, so the final object is an unrooted binary tree hanging from
taxon 0: each unrooted tree, with its 2n-3 lengths, is one object. (Zhou et al., "PhyloGFN", 2024,
arXiv 2310.08774, let any root pair be last, which makes 2n-3 objects of a tree; its backward draws count
one edge twice.) A forest is the set of its clades: the order in which far parts were built is forgotten, so a
state has one parent for each of its trees of two leaves or more, and P_B is a law over those.

A tree of the forest goes by its smallest leaf. Joining the trees i < j uses up the name j, so
the new node can be called n + j - 1 whatever the order of the merges: equal forests have equal arrays.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.phylogeny import _subtree_kernels
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.trees import Trees, canonical
from workbench.errors import InputError


@dataclass(frozen=True)
class ForestState:
    """children   [batch, n-1, 2]: row j-1 holds the nodes below node n + j - 1, that of the smaller leaf
               first; -1 where the merge has not happened
    roots      [batch, n]: root of the tree whose smallest leaf is i; -1 where there is none
    lengths    [batch, 2n-1]: the edge above each node that has one, else 0; None without lengths
    """

    children: Int[Tensor, "batch merge 2"]
    roots: Int[Tensor, "batch taxon"]
    lengths: Float[Tensor, "batch node"] | None = None


class Forest:
    """Moves of the forest of `n_taxa` leaves; rewards come with the subclasses.

    Actions are pair numbers [batch] in the lexicographic order of names i < j, or, with lengths, float64
    [batch, 3]: pair number, length above the tree i, length above the tree j (for the last move: 0
    and the whole length). Backward action i takes the root of tree i away. Raises InputError for
    fewer than 4 taxa.
    """

    def __init__(self, n_taxa: int, with_lengths: bool) -> None:
        if n_taxa < 4:
            raise InputError(f"{n_taxa} taxa have one unrooted tree: give at least 4")
        self.n_taxa, self.with_lengths = n_taxa, with_lengths
        self.max_steps = n_taxa - 1
        self.pairs = torch.tensor(list(itertools.combinations(range(n_taxa), 2)))
        self.n_actions, self.n_backward_actions = len(self.pairs), n_taxa
        self.n_features = (n_taxa - 1) * (2 * n_taxa - 1)

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> ForestState:
        n = self.n_taxa
        children = torch.full((batch, n - 1, 2), -1, device=device)
        lengths = torch.zeros(batch, 2 * n - 1, dtype=torch.float64, device=device)
        roots = torch.arange(n, device=device).repeat(batch, 1)
        return ForestState(children, roots, lengths if self.with_lengths else None)

    def is_initial(self, state: ForestState) -> Bool[Tensor, "batch"]:
        return (state.roots < self.n_taxa).all(1) & (state.roots[:, 1] >= 0)

    def is_terminal(self, state: ForestState) -> Bool[Tensor, "batch"]:
        return state.roots[:, 1] < 0

    def pair_number(self, i: Tensor, j: Tensor) -> Tensor:
        """Number of the pair of names i < j."""
        return i * (2 * self.n_taxa - i - 1) // 2 + j - i - 1

    def names(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """The names i < j that an action joins, each [batch]."""
        number = action[:, 0].long() if self.with_lengths else action
        return tuple(self.pairs.to(action.device)[number].unbind(1))  # type: ignore[return-value]

    def step(self, state: ForestState, action: Tensor) -> ForestState:
        i, j = self.names(action)
        rows = torch.arange(len(i), device=i.device)
        rows = rows[~self.is_terminal(state)]
        i, j = i[rows], j[rows]
        left, right = state.roots[rows, i], state.roots[rows, j]
        children, roots = state.children.clone(), state.roots.clone()
        children[rows, j - 1] = torch.stack([left, right], 1)
        roots[rows, i], roots[rows, j] = self.n_taxa + j - 1, -1
        if state.lengths is None:
            return ForestState(children, roots)
        lengths = state.lengths.clone()
        lengths[rows, left], lengths[rows, right] = action[rows, 1], action[rows, 2]
        return ForestState(children, roots, lengths)

    def backward_step(self, state: ForestState, action: Int[Tensor, "batch"]) -> ForestState:
        rows = torch.arange(len(action), device=action.device)
        node = state.roots[rows, action]
        rows = rows[node >= self.n_taxa]
        i, j = action[rows], node[rows] - self.n_taxa + 1
        children, roots = state.children.clone(), state.roots.clone()
        left, right = children[rows, j - 1].unbind(1)
        roots[rows, i], roots[rows, j] = left, right
        children[rows, j - 1] = -1
        if state.lengths is None:
            return ForestState(children, roots)
        lengths = state.lengths.clone()
        lengths[rows, left], lengths[rows, right] = 0.0, 0.0
        return ForestState(children, roots, lengths)

    def undoing(self, state: ForestState, action: Tensor) -> Int[Tensor, "batch"]:
        """The joined tree goes by the smaller leaf."""
        return self.names(action)[0]

    def redoing(self, state: ForestState, action: Int[Tensor, "batch"]) -> Tensor:
        rows = torch.arange(len(action), device=action.device)
        j = (state.roots[rows, action] - self.n_taxa + 1).clamp_min(1)
        number = self.pair_number(action, j)
        if state.lengths is None:
            return number
        below = state.children[rows, j - 1].clamp_min(0)
        return torch.cat([number.double()[:, None], state.lengths.gather(1, below)], 1)

    def forward_mask(self, state: ForestState) -> Bool[Tensor, "batch action"]:
        there = state.roots >= 0
        pairs = self.pairs.to(there.device)
        mask = there[:, pairs[:, 0]] & there[:, pairs[:, 1]]
        waits = (pairs[:, 0] == 0) & (there.sum(1) > 2)[:, None]
        return mask & ~waits

    def backward_mask(self, state: ForestState) -> Bool[Tensor, "batch action"]:
        return state.roots >= self.n_taxa

    def features(self, state: ForestState) -> Float[Tensor, "batch feature"]:
        """Which nodes are below which merge, float32."""
        nodes = torch.arange(2 * self.n_taxa - 1, device=state.roots.device)
        return (state.children[..., None] == nodes).any(2).float().flatten(1)

    def trees_of(self, state: ForestState) -> Trees:
        """Terminal states as `Trees`, rooted at taxon 0; lengths zero where there are none."""
        lengths = state.lengths
        if lengths is None:
            lengths = torch.zeros(state.children.shape[0], 2 * self.n_taxa - 1).double()
        arrays = _subtree_kernels.to_postorder(state.children.cpu().numpy(), lengths.cpu().numpy())
        return Trees(*(torch.from_numpy(array) for array in arrays))

    def objects(self, trees: Trees) -> ForestState:
        """Terminal states of any `Trees` over the same taxa. The root's edge becomes one."""
        known = canonical(trees)
        arrays = _subtree_kernels.from_postorder(known.children.numpy(), known.lengths.numpy())
        children, roots, lengths = (torch.from_numpy(array) for array in arrays)
        return ForestState(children, roots, lengths if self.with_lengths else None)


class PosteriorForest(Forest):
    """log R = log L(tree, lengths) + log prior of lengths - log (2n-5)!!, so that log Z is the
    marginal log-likelihood under uniform topologies."""

    def __init__(self, likelihood: TreeLikelihood, prior: TreePrior) -> None:
        super().__init__(likelihood.patterns.n_taxa, with_lengths=True)
        self.likelihood, self.prior = likelihood, prior
        self.name = f"posterior of trees of {self.n_taxa} taxa under {likelihood.model.name}"

    def log_reward(self, state: ForestState) -> Float[Tensor, "batch"]:
        trees = self.trees_of(state)
        return self.likelihood.log_likelihood(trees) + self.prior.log_density(trees)


class ParsimonyForest(Forest):
    """log R = (constant - steps) / temperature; `constant` are the steps that all trees need."""

    def __init__(self, parsimony: Parsimony, temperature: float = 1.0) -> None:
        super().__init__(parsimony.n_taxa, with_lengths=False)
        self.parsimony, self.temperature = parsimony, temperature
        self.name = f"parsimony of trees of {self.n_taxa} taxa, gaps {parsimony.gaps}"

    def steps(self, state: ForestState) -> Int[Tensor, "batch"]:
        """Fitch steps of terminal states."""
        return self.parsimony.score(self.trees_of(state).children)

    def log_reward(self, state: ForestState) -> Float[Tensor, "batch"]:
        return (self.parsimony.constant - self.steps(state)).double() / self.temperature


class ListedForest(ParsimonyForest):
    """The same for at most 7 taxa, with all its states listed: exact answers."""

    def __init__(self, parsimony: Parsimony, temperature: float = 1.0) -> None:
        super().__init__(parsimony, temperature)
        if self.n_taxa > 7:
            raise InputError(f"the forests of {self.n_taxa} taxa are too many: list them for 7")
        levels = [self.initial_state(1)]
        for _ in range(self.max_steps):
            rows, actions = self.forward_mask(levels[-1]).nonzero(as_tuple=True)
            here = replace(levels[-1], **_rows(levels[-1], rows))
            after = self.step(here, actions)
            _, first = _unique(self._keys(after))
            levels.append(replace(after, **_rows(after, first)))
        self._states = ForestState(
            torch.cat([level.children for level in levels]),
            torch.cat([level.roots for level in levels]),
        )
        self.n_states = len(self._states.roots)
        self._sorted, self._order = self._keys(self._states).sort()

    def _keys(self, state: ForestState) -> Int[Tensor, "batch"]:
        """A forest of 7 leaves as a number: 6 merges with two nodes of 14 possible ones each."""
        digits = (state.children + 1).flatten(1)
        powers = (2 * self.n_taxa) ** torch.arange(digits.shape[1], dtype=torch.float64)
        return (digits * powers.long()).sum(1)

    def all_states(self) -> ForestState:
        return ForestState(self._states.children.clone(), self._states.roots.clone())

    def index(self, state: ForestState) -> Int[Tensor, "batch"]:
        return self._order[torch.searchsorted(self._sorted, self._keys(state))]


def _rows(state: ForestState, rows: Tensor) -> dict[str, Tensor]:
    return {"children": state.children[rows], "roots": state.roots[rows]}


def _unique(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct keys, and where each first stands."""
    distinct, place = keys.unique(return_inverse=True)
    first = torch.full((len(distinct),), len(keys))
    first.scatter_reduce_(0, place, torch.arange(len(keys)), "amin")
    return distinct, first
