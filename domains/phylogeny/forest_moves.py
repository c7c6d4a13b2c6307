"""Drawing moves of forests: merges with their lengths, and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from domains.phylogeny.forest import ForestState
from domains.phylogeny.forest_network import scores_of
from domains.phylogeny.forest_walk import CHUNK, Walk
from domains.phylogeny.subtrees import Guide, Subtrees, last_of
from workbench.gflownet import states
from workbench.gflownet.options import Exploration

if TYPE_CHECKING:
    from domains.phylogeny.forest_policy import ForestPolicy


class ForestMoves:
    """Forward moves of one rollout. Its subtrees are embedded when they are made."""

    def __init__(self, policy: ForestPolicy, exploration: Exploration) -> None:
        self._policy, self._exploration = policy, exploration
        self._walk: Walk | None = None

    @torch.no_grad()
    def sample(
        self, state: ForestState, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Float[Tensor, "alive"]]:
        policy = self._policy
        if self._walk is None:
            self._start(state)
        assert self._walk is not None
        walk, n = self._walk, len(row)
        ending = walk.n_trees(row) == 2
        action = torch.zeros(n, 3 if policy.forest.with_lengths else 1, dtype=torch.float64)
        log_prob = torch.zeros(n, dtype=torch.float64)
        for part, draw in ((~ending, self._merge), (ending, self._end)):
            some = part.nonzero().squeeze(1)
            if len(some):
                action[some], log_prob[some] = draw(row[some], generator)
        if walk.complete and len(walk.record.actions) == policy.forest.max_steps:
            policy.recent = walk.record
        return action if policy.forest.with_lengths else action[:, 0].long(), log_prob

    def _start(self, state: ForestState) -> None:
        policy = self._policy
        policy.recent = None
        walk = policy.walk(state)
        leaves, n = policy.leaves(), len(state.roots)
        self._embedded = leaves.new_zeros(n, walk.n_subtrees, leaves.shape[1])
        self._embedded[:, : len(leaves)] = leaves
        if not walk.complete:
            rows, names = (state.roots >= policy.guide.n_taxa).nonzero(as_tuple=True)
            embedded = policy.network.embed(walk.seen(rows, names))
            self._embedded[rows, walk.at[rows, names]] = embedded
        self._queries = policy.network.queries(self._embedded)
        self._table = scores_of(self._queries, self._queries)
        self._walk = walk

    def _merge(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Chooses a pair, then its lengths."""
        policy, walk = self._policy, self._walk
        assert walk is not None
        choice = walk.choice(rows)
        one, other = choice.subtrees.unbind(2)
        scores = self._table[rows[:, None], one, other]
        logits = policy.network.pair_logits(choice.features, scores)
        logits = logits / self._exploration.temperature
        log_p = policy.choice_law(logits, choice.n_allowed).double()
        if self._exploration.epsilon > 0.0:
            log_p = _mixed(log_p, choice.n_allowed, self._exploration.epsilon)
        chosen = torch.multinomial(log_p.exp(), 1, generator=generator)
        log_prob = log_p.gather(1, chosen).squeeze(1)
        names = choice.names[torch.arange(len(rows)), chosen.squeeze(1)]
        star = walk.take(rows, choice, chosen.squeeze(1), names)
        number = policy.forest.pair_number(names[:, 0], names[:, 1]).double()[:, None]
        if star is None:
            self._finish(rows, names, torch.zeros(len(rows), 2).double(), number[:, 0].long())
            return number, log_prob
        mean = (walk.record.present[-1][:, None] @ self._embedded[rows]).squeeze(1)
        joined = self._embedded[rows[:, None], walk.record.ends[-1]]
        hidden = policy.hidden(joined, mean, walk.record.star[-1])
        raw = policy.network.first(hidden)
        first = policy.law.sample(star.law, raw, generator)
        log_prob = log_prob + policy.law.log_prob(star.law, raw, first)
        law = walk.second(star, first)
        raw = policy.raw_second(hidden, star.law, law, first)
        second = policy.law.sample(law, raw, generator)
        log_prob = log_prob + policy.law.log_prob(law, raw, second)
        lengths = torch.stack([first, second], 1)
        action = torch.cat([number, lengths], 1)
        self._finish(rows, names, lengths, action)
        return action, log_prob

    def _end(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Joins the last tree with taxon 0."""
        policy, walk = self._policy, self._walk
        assert walk is not None
        law = walk.take_last(rows)
        names = torch.tensor([[0, 1]]).expand(len(rows), -1)
        lengths = torch.zeros(len(rows), 2, dtype=torch.float64)
        number, log_prob = torch.zeros(len(rows), 1).double(), torch.zeros(len(rows)).double()
        if law is None:
            self._finish(rows, names, lengths, number[:, 0].long())
            return number, log_prob
        raw = policy.raw_last(self._embedded[rows, walk.record.ends[-1][:, 0]], law)
        lengths[:, 1] = policy.law.sample(law, raw, generator)
        log_prob = policy.law.log_prob(law, raw, lengths[:, 1])
        action = torch.cat([number, lengths], 1)
        self._finish(rows, names, lengths, action)
        return action, log_prob

    def _finish(self, rows: Tensor, names: Tensor, lengths: Tensor, action: Tensor) -> None:
        policy, walk = self._policy, self._walk
        assert walk is not None
        made, seen = walk.finish(rows, names, lengths, action)
        embedded = policy.network.embed(seen)
        queries = policy.network.queries(embedded)
        self._embedded[rows, made], self._queries[rows, made] = embedded, queries
        scores = scores_of(queries[:, None], self._queries[rows])[:, 0]
        self._table[rows, made] = scores
        self._table[rows, :, made] = scores


class ForestSplits:
    """Backward moves of one rollout."""

    def __init__(self, policy: ForestPolicy) -> None:
        self._policy = policy
        self._keys: Tensor | None = None

    @torch.no_grad()
    def sample(
        self, state: ForestState, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Float[Tensor, "alive"]]:
        policy, n_taxa = self._policy, self._policy.guide.n_taxa
        may = state.roots >= n_taxa
        if policy.order == "sorted":
            if self._keys is None:
                self._keys = node_keys(policy.guide, state)
            place = (state.roots - n_taxa).clamp_min(0)
            keys = self._keys[row].gather(1, place)
            may = last_of(torch.where(may, keys, -torch.inf))
        name = torch.multinomial(may.double(), 1, generator=generator).squeeze(1)
        return name, -may.sum(1).double().log()


def node_keys(guide: Guide, state: ForestState) -> Float[Tensor, "batch merge"]:
    """Places of merges in the sorted order, by node - n."""
    rows = torch.arange(len(state.roots))
    parts = [Subtrees(guide, states.select(state, some)).node_keys for some in rows.split(CHUNK)]
    return torch.cat([torch.from_numpy(part) for part in parts])


def _mixed(log_p: Tensor, n_allowed: Tensor, epsilon: float) -> Tensor:
    """With probability epsilon a uniform choice."""
    allowed = torch.arange(log_p.shape[1]) < n_allowed[:, None]
    mixed = (1.0 - epsilon) * log_p.exp() + epsilon / n_allowed[:, None]
    return torch.where(allowed, mixed.log(), -torch.inf)
