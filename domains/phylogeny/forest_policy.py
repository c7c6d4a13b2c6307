"""A policy over merges of a forest, with lengths: what PhyloGFN trains.

"sorted": pairs come in the order of `depth_key`, the pair of the deepest common ancestor first, and each is
joined or passed over for good:

    P_F(pair k) = p_k prod_{l before k} (1 - p_l) / (1 - prod_l (1 - p_l)),   p = sigmoid(logit)

so that a tree has one trajectory (up to equal keys) and P_B is known. "any": softmax over all pairs, P_B
uniform over the trees of the forest that can be split. Logits and laws of lengths: see `forest_network`.
Source: Zhou et al., "PhyloGFN" (2024, arXiv 2310.08774), who use a transformer over all roots at each
step, and any order.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from domains.phylogeny.branch_length_bins import Bins
from domains.phylogeny.branch_lengths import GammaMixture
from domains.phylogeny.forest import Forest, ForestState
from domains.phylogeny.forest_moves import ForestMoves, ForestSplits
from domains.phylogeny.forest_network import ForestNetwork, scores_of
from domains.phylogeny.forest_options import ForestOptions, Order
from domains.phylogeny.forest_walk import CHUNK, Record, Walk
from domains.phylogeny.subtrees import Guide
from workbench.errors import InputError
from workbench.gflownet import scoring, states
from workbench.gflownet.options import Exploration
from workbench.gflownet.policy import Behaviour
from workbench.gflownet.trajectories import Needs, Scores, Trajectories


class ForestPolicy(nn.Module):
    """A `Policy` for a `Forest`; `n_walks` counts trajectories whose subtrees were computed."""

    def __init__(self, forest: Forest, guide: Guide, options: ForestOptions) -> None:
        super().__init__()
        self.forest, self.guide, self.options = forest, guide, options
        self.law: GammaMixture | Bins = GammaMixture(options.n_components)
        if options.lengths == "bins":
            self.law = Bins(options.n_bins, options.bin_width, options.length_rate)
        n_length = self.law.n_outputs if forest.with_lengths else 0
        self.network = ForestNetwork(guide.n_described, guide.n_taxa, options.width, n_length)
        self.log_z = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.counter = WalkCounter()
        self.recent: Record | None = None
        single = Walk(guide, forest, options.order, self.network, forest.initial_state(1))
        leaves = torch.arange(guide.n_taxa)
        self.register_buffer("leaves_seen", single.seen(torch.zeros_like(leaves), leaves))

    leaves_seen: Tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> ForestPolicy:
        """Averaged copies share the environment, the data and the counter, and remember no rollout."""
        for shared in (self.forest, self.guide, self.counter):
            memo[id(shared)] = shared
        if self.recent is not None:
            memo[id(self.recent)] = None
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        for name, value in self.__dict__.items():
            copied.__dict__[name] = copy.deepcopy(value, memo)
        copied.__dict__["recent"] = None
        return copied

    @property
    def order(self) -> Order:
        return self.options.order

    def leaves(self) -> Float[Tensor, "taxon width"]:
        return self.network.embed(self.leaves_seen)

    def behaviour(
        self, n: int, generator: torch.Generator, exploration: Exploration | None = None
    ) -> Behaviour:
        return ForestMoves(self, exploration or Exploration())

    def backward_behaviour(self, n: int, generator: torch.Generator) -> Behaviour:
        return ForestSplits(self)

    def log_partition(self, start: ForestState) -> Float[Tensor, "batch"]:
        return self.log_z.expand(states.n_rows(start))

    def log_flow(self, state: ForestState) -> Float[Tensor, "batch"]:
        """log F of initial states."""
        mean = self.leaves().mean(0).expand(states.n_rows(state), -1)
        n_trees = torch.full((len(mean),), float(self.guide.n_taxa))
        return self.network.log_flow(mean, n_trees)

    def score(self, trajectories: Trajectories, needs: Needs) -> list[Scores]:
        """Scores of complete trajectories. Raises InputError for objectives that need more than
        log-probabilities and flows."""
        asked = needs.stop or needs.potential or needs.inflow or needs.partial
        if asked or needs.prior_exponent is not None:
            raise InputError(
                "the policy over forests gives log-probabilities and flows only: take the objective tb, "
                "log-variance, db or subtb"
            )
        actions = trajectories.padded(trajectories.actions)
        parts = [self._score_record(record, needs) for record in self._records(actions)]
        log_pf, log_pb, log_flow = (torch.cat(part) for part in zip(*parts, strict=True))
        at = trajectories.row, trajectories.step
        flow = log_flow[at] if needs.flow else None
        log_z = self.log_partition(trajectories.start)
        return [scoring.assemble(trajectories, log_pf[at], log_pb[at], log_z, log_flow=flow)]

    def _records(self, actions: Tensor) -> list[Record]:
        """Records of the given actions [batch, step, ...], in order: the latest rollout's if they are its
        own, and anew for the rest."""
        records, start = [], 0
        if self.recent is not None:
            known = torch.stack(self.recent.actions, 1)
            if len(known) <= len(actions) and torch.equal(known, actions[: len(known)]):
                records, start = [self.recent], len(known)
        for some in actions[start:].split(CHUNK):
            if len(some):
                records.append(self.walk(self.forest.initial_state(len(some))).replay(some))
        return records

    def walk(self, state: ForestState) -> Walk:
        self.counter.n_walks += len(state.roots)
        return Walk(self.guide, self.forest, self.order, self.network, state)

    def _score_record(self, record: Record, needs: Needs) -> tuple[Tensor, Tensor, Tensor]:
        """log P_F, log P_B and log F, each [batch, step]."""
        network = self.network
        merged = network.embed(torch.stack(record.seen, 1))
        embedded = torch.cat([self.leaves().expand(len(merged), -1, -1), merged], 1)
        log_pf = torch.cat([self._choices(record, embedded), merged.new_zeros(len(merged), 1)], 1)
        present = torch.stack(record.present, 1)
        mean = present @ embedded
        log_pf = log_pf.double()
        if self.forest.with_lengths:
            log_pf = log_pf + self._lengths(record, embedded, mean)
        log_flow = log_pf.new_zeros(())
        if needs.flow:
            n_trees = (present > 0).sum(2).flatten().float()
            log_flow = network.log_flow(mean.flatten(0, 1), n_trees).view_as(log_pf)
        else:
            log_flow = torch.zeros_like(log_pf)
        return log_pf, torch.stack(record.log_pb, 1), log_flow

    def _choices(self, record: Record, embedded: Tensor) -> Float[Tensor, "batch step"]:
        """log-probabilities of the chosen pairs, of all steps but the last."""
        choices = [choice for choice in record.choices if choice is not None]
        widths = [choice.features.shape[1] for choice in choices]
        features = torch.cat([choice.features for choice in choices], 1)
        subtrees = torch.cat([choice.subtrees for choice in choices], 1)
        queries = self.network.queries(embedded)
        table = scores_of(queries, queries).flatten(1, 2)
        place = subtrees[..., 0] * embedded.shape[1] + subtrees[..., 1]
        scores = table.gather(1, place[..., None].expand(-1, -1, table.shape[2]))
        logits = self.network.pair_logits(features, scores)
        padded = torch.nn.utils.rnn.pad_sequence([part.T for part in logits.split(widths, 1)])
        n_allowed = torch.stack([choice.n_allowed for choice in choices], 1)
        log_p = self.choice_law(padded.transpose(0, 2), n_allowed)
        chosen = torch.stack(record.chosen, 1)
        found = log_p.gather(2, chosen.clamp_min(0)[..., None]).squeeze(2)
        return torch.where(chosen >= 0, found, -torch.inf)

    def choice_law(
        self, logits: Float[Tensor, "*batch pair"], n_allowed: Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch pair"]:
        """log-probabilities of the pairs; -inf for those that are not allowed."""
        allowed = torch.arange(logits.shape[-1]) < n_allowed[..., None]
        if self.order == "sorted":
            passed = torch.where(allowed, nn.functional.logsigmoid(-logits), 0.0)
            logits = nn.functional.logsigmoid(logits) + passed.cumsum(-1) - passed
        return torch.log_softmax(torch.where(allowed, logits, -torch.inf), -1)

    def _lengths(
        self, record: Record, embedded: Tensor, mean: Tensor
    ) -> Float[Tensor, "batch step"]:
        """log-densities of the lengths."""
        first, second = torch.stack(record.first, 1), torch.stack(record.second, 1)
        lengths = torch.stack(record.lengths, 1)
        ends = torch.stack(record.ends, 1)
        place = ends.flatten(1)[..., None].expand(-1, -1, embedded.shape[2])
        joined = embedded.gather(1, place).unflatten(1, (-1, 3))
        hidden = self.hidden(joined[:, :-1], mean[:, :-1], torch.stack(record.star, 1))
        raw = self.network.first(hidden)
        log_q = self._log_q(first[:, :-1], raw, lengths[:, :-1, 0])
        raw = self.raw_second(hidden, first[:, :-1], second, lengths[:, :-1, 0])
        log_q = log_q + self._log_q(second, raw, lengths[:, :-1, 1])
        raw = self.raw_last(joined[:, -1, 0], first[:, -1])
        last = self.law.log_prob(first[:, -1], raw, lengths[:, -1, 1])
        return torch.cat([log_q, last[:, None]], 1)

    def _log_q(self, base: Tensor, raw: Tensor, t: Tensor) -> Tensor:
        return self.law.log_prob(base.flatten(0, 1), raw.flatten(0, 1), t.flatten()).view_as(t)

    def hidden(self, joined: Tensor, mean: Tensor, star: Tensor) -> Tensor:
        """What both length laws of a merge start from."""
        return self.network.trunk(torch.cat([joined.flatten(-2), mean, star], -1))

    def raw_second(self, hidden: Tensor, first: Tensor, second: Tensor, length: Tensor) -> Tensor:
        """The second law's numbers, given the first length."""
        away = (length.log() - first[..., 0]) * (0.5 * first[..., 1]).exp()
        seen = torch.cat([second, first[..., :1], torch.tanh(0.3 * away)[..., None]], -1)
        return self.network.second(torch.cat([hidden, seen.float()], -1))

    def raw_last(self, embedded: Tensor, law: Tensor) -> Tensor:
        return self.network.last(torch.cat([embedded, law.float()], -1))


class WalkCounter:
    """How many trajectories had their subtrees computed."""

    def __init__(self) -> None:
        self.n_walks = 0
