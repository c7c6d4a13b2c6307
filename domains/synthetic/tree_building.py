"""Tree building: a forest of n labelled leaves, whose trees are merged two at a time into one.

    log R(tree) = -exponent * sum over clades A of (max_{a in A} z_a - min_{a in A} z_a)

with leaves at fixed points z on a line. Objects are the (2n-3)!! rooted binary trees; a forest is
the set of its clades, so the order in which far parts were built is forgotten and a state has as many
parents as it has trees of two leaves or more. This is the smallest space with the structure of
phylogenetic inference; its answers come from enumeration.

Source: the forest of Zhou et al., "PhyloGFN" (2024, arXiv 2310.08774); the reward is our own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import InputError

_MOST_LEAVES = 6
_N_MODES = 5


@dataclass(frozen=True)
class ForestState:
    """clades   which subsets of the leaves are a clade of the forest; subset number = sum of 2^leaf,
    single leaves are always there
    """

    clades: Bool[Tensor, "batch subset"]


class TreeBuilding:
    """A `SyntheticEnvironment`. A tree of the forest goes by its smallest leaf. Forward actions are
    pairs of them, i < j in lexicographic order; backward action i splits the tree of i at its root.

    Raises InputError for fewer than 3 leaves or more than 6.
    """

    def __init__(self, leaves: int = 5, exponent: float = 1.0) -> None:
        if not 3 <= leaves <= _MOST_LEAVES:
            raise InputError(f"tree building was given {leaves} leaves: take 3 to {_MOST_LEAVES}")
        self.name = f"tree building of {leaves} leaves"
        self.n_leaves, self.exponent = leaves, exponent
        self.max_steps = leaves - 1
        self.n_backward_actions = leaves
        subsets = torch.arange(2**leaves)
        self._member = (subsets.unsqueeze(0) >> torch.arange(leaves).unsqueeze(1) & 1).bool()
        self._size = self._member.sum(0)
        self._inner = (self._size >= 2).nonzero().squeeze(1)
        self._pairs = torch.tensor(list(itertools.combinations(range(leaves), 2)))
        self.n_actions, self.n_features = len(self._pairs), len(self._inner)
        # even spacing by the golden ratio: no two trees of different shape are equally good
        places = (torch.arange(leaves, dtype=torch.float64) * 0.6180339887498949) % 1.0
        inside = torch.where(self._member.T, places, torch.nan)
        spread = inside.nan_to_num(-1.0).amax(1) - inside.nan_to_num(2.0).amin(1)
        self._cost = torch.where(self._size >= 2, spread, 0.0)
        self._enumerate()

    @property
    def description(self) -> list[str]:
        return [
            f"Rooted binary trees of {self.n_leaves} leaves ({len(self._log_rewards)} of them), built "
            f"by merging; log R = -{self.exponent:g} x the sum of the clades' widths on a line.",
            f"Exact log Z = {self.log_partition:.6f}. Modes: the {self.n_modes} trees of the largest "
            "reward.",
        ]

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> ForestState:
        return ForestState((self._size == 1).to(device).repeat(batch, 1))

    def is_initial(self, state: ForestState) -> Bool[Tensor, "batch"]:
        return ~state.clades[:, self._inner].any(1)

    def is_terminal(self, state: ForestState) -> Bool[Tensor, "batch"]:
        return state.clades[:, -1]

    def step(self, state: ForestState, action: Int[Tensor, "batch"]) -> ForestState:
        pair = self._pairs.to(action.device)[action]
        merged = self._roots(state).gather(1, pair).sum(1)  # disjoint, so the sum is the union
        merged = torch.where(self.is_terminal(state), len(self._size) - 1, merged)
        return ForestState(state.clades.scatter(1, merged.unsqueeze(1), True))

    def backward_step(self, state: ForestState, action: Int[Tensor, "batch"]) -> ForestState:
        root = self._roots(state).gather(1, action.unsqueeze(1))
        single = (self._size.to(root.device) == 1)[root]
        return ForestState(state.clades.scatter(1, root, single))

    def undoing(self, state: ForestState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """The merged tree goes by the smaller leaf of the pair."""
        return self._pairs.to(action.device)[action, 0]

    def redoing(self, state: ForestState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        root = self._roots(state).gather(1, action.unsqueeze(1))
        after = self._roots(self.backward_step(state, action))
        member = self._member.to(root.device)
        in_root = member.T[root.squeeze(1)]
        in_first = member.T[after.gather(1, action.unsqueeze(1)).squeeze(1)]
        second = (in_root & ~in_first).int().argmax(1)
        return self._pair_number(action, second)

    def _pair_number(self, low: Tensor, high: Tensor) -> Tensor:
        """Place of (low, high) in the lexicographic order of pairs."""
        return low * (2 * self.n_leaves - low - 1) // 2 + high - low - 1

    def _roots(self, state: ForestState) -> Int[Tensor, "batch leaf"]:
        """The largest clade that each leaf is in."""
        member, size = (table.to(state.clades.device) for table in (self._member, self._size))
        weights = torch.where(member, size, 0).to(torch.int8)
        return (state.clades.unsqueeze(1) * weights).argmax(2)

    def _is_smallest(self, roots: Tensor) -> Bool[Tensor, "batch leaf"]:
        """Whether each leaf is the smallest of its tree: its root has no lower bit."""
        return roots & (2 ** torch.arange(self.n_leaves, device=roots.device) - 1) == 0

    def forward_mask(self, state: ForestState) -> Bool[Tensor, "batch action"]:
        names = self._is_smallest(self._roots(state))
        pairs = self._pairs.to(names.device)
        return names[:, pairs[:, 0]] & names[:, pairs[:, 1]]

    def backward_mask(self, state: ForestState) -> Bool[Tensor, "batch action"]:
        roots = self._roots(state)
        return self._is_smallest(roots) & (self._size.to(roots.device)[roots] >= 2)

    def features(self, state: ForestState) -> Float[Tensor, "batch feature"]:
        """Which subsets of two leaves or more are clades, float32."""
        return state.clades[:, self._inner].float()

    def log_reward(self, state: ForestState) -> Float[Tensor, "batch"]:
        return self.log_partial_reward(state)

    def log_partial_reward(self, state: ForestState) -> Float[Tensor, "batch"]:
        """Minus the exponent times the widths of the clades so far, float64."""
        return -self.exponent * (state.clades.double() @ self._cost.to(state.clades.device))

    def _enumerate(self) -> None:
        """Level by level: every allowed merge of every forest, each result once."""
        level = self.initial_state(1)
        levels = [level.clades]
        for _ in range(self.n_leaves - 1):
            rows, actions = self.forward_mask(level).nonzero(as_tuple=True)
            level = self.step(ForestState(level.clades[rows]), actions)
            level = ForestState(level.clades.unique(dim=0))
            levels.append(level.clades)
        self._states = torch.cat(levels)
        self.n_states = len(self._states)
        self._sorted_keys, self._order = self._key(ForestState(self._states)).sort()
        self._log_rewards = self.log_reward(level)
        self.log_partition: float | None = float(torch.logsumexp(self._log_rewards, 0))
        self.n_modes = min(_N_MODES, len(self._log_rewards))
        best = self._log_rewards.topk(self.n_modes).indices
        self._mode_keys = self._key(ForestState(level.clades[best]))

    def _key(self, state: ForestState) -> Int[Tensor, "batch"]:
        """One bit for each subset of two leaves or more; 57 of them for 6 leaves."""
        inner = state.clades[:, self._inner]
        return (inner.long() << torch.arange(inner.shape[1], device=inner.device)).sum(1)

    def all_states(self) -> ForestState:
        return ForestState(self._states.clone())

    def index(self, state: ForestState) -> Int[Tensor, "batch"]:
        keys = self._key(state)
        place = torch.searchsorted(self._sorted_keys.to(keys.device), keys)
        return self._order.to(keys.device)[place]

    def mode(self, state: ForestState) -> Int[Tensor, "batch"]:
        equal = self._key(state).unsqueeze(1) == self._mode_keys.to(state.clades.device)
        return torch.where(equal.any(1), equal.int().argmax(1), -1)

    def uniform_objects(self, n: int, generator: torch.Generator) -> ForestState:
        trees = self._states[-len(self._log_rewards) :].to(generator.device)
        rows = torch.randint(len(trees), (n,), generator=generator, device=generator.device)
        return ForestState(trees[rows])

    def propose(self, state: ForestState, generator: torch.Generator) -> ForestState:
        """A nearest-neighbour interchange: a random inner clade below the root swaps one of its two
        parts for its sibling. Every tree has 2 (n - 2) of them."""
        device = state.clades.device
        subset = torch.arange(len(self._size), device=device)
        inner = state.clades & (self._size.to(device) >= 2)
        inner = inner & (subset < len(subset) - 1)
        clade = torch.multinomial(inner.double(), 1, generator=generator)
        size = self._size.to(device)
        above = state.clades & (subset & clade == clade) & (subset != clade)
        parent = torch.where(above, size, 2 * self.n_leaves).argmin(1, keepdim=True)
        below = state.clades & (subset & clade == subset) & (subset != clade)
        part = torch.where(below, size, 0).argmax(1, keepdim=True)
        first = torch.randint(2, part.shape, generator=generator, device=device).bool()
        part = torch.where(first, part, clade - part)
        swapped = parent - part  # what is left of the parent: the sibling and the other part
        clades = state.clades.scatter(1, clade, False).scatter(1, swapped, True)
        return ForestState(clades)

    def arrays(self, state: ForestState) -> dict[str, Tensor]:
        """`clades` [object, leaf - 1]: the clades of two leaves or more, each as the sum of 2^leaf."""
        numbers = self._inner.to(state.clades.device).expand(len(state.clades), -1)
        rows = numbers[state.clades[:, self._inner]]
        return {"clades": rows.reshape(len(state.clades), self.n_leaves - 1)}
