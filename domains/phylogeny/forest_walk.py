"""What happened along trajectories of forests, as a network needs it: made while they are drawn, or again
from stored actions.

Subtrees are numbered by trajectory: the leaves first, then merges as they happen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from domains.phylogeny.forest import Forest, ForestState
from domains.phylogeny.forest_network import ForestNetwork
from domains.phylogeny.forest_options import Order
from domains.phylogeny.subtrees import Guide, Star, Subtrees

CHUNK = 32  # trajectories at a time, so that their subtrees stay in the cache


@dataclass
class Choice:
    """The pairs that could be joined at one step.

    features   [row, pair, feature]; subtrees [row, pair, 2]; names [row, pair, 2]
    n_allowed  [row], the first ones
    """

    features: Tensor
    subtrees: Tensor
    names: Tensor
    n_allowed: Tensor


@dataclass
class Record:
    """Complete trajectories, step by step: lists over steps of tensors over the batch.

    choices     pairs to choose from; `chosen` [row] the one that was taken. None at the last step
    ends        [row, 3] the two subtrees that are joined and the third of the star
    star        [row, 6]; first, second: [row, 2] suggested laws of the lengths
    lengths     [row, 2]; present: [row, subtree] whether it is a tree of the forest before the step
    seen        [row, input] what the encoder sees of the new subtree; log_pb [row]
    """

    actions: list[Tensor] = field(default_factory=list)
    choices: list[Choice | None] = field(default_factory=list)
    chosen: list[Tensor] = field(default_factory=list)
    ends: list[Tensor] = field(default_factory=list)
    star: list[Tensor] = field(default_factory=list)
    first: list[Tensor] = field(default_factory=list)
    second: list[Tensor] = field(default_factory=list)
    lengths: list[Tensor] = field(default_factory=list)
    present: list[Tensor] = field(default_factory=list)
    seen: list[Tensor] = field(default_factory=list)
    log_pb: list[Tensor] = field(default_factory=list)


class Walk:
    """A batch of forests on the way to trees."""

    def __init__(
        self, guide: Guide, forest: Forest, order: Order, network: ForestNetwork, state: ForestState
    ) -> None:
        self.guide, self.forest, self.order, self.network = guide, forest, order, network
        self.subtrees = Subtrees(guide, state)
        n, n_taxa = state.roots.shape
        grown = state.roots >= n_taxa
        self.at = torch.arange(n_taxa).repeat(n, 1)
        self.at = torch.where(grown, n_taxa - 1 + grown.cumsum(1), self.at)
        self.next = n_taxa + grown.sum(1)
        self.complete = not bool(grown.any())
        self.record = Record()
        self._row = torch.arange(n)

    @property
    def n_subtrees(self) -> int:
        return 2 * self.guide.n_taxa - 1

    def n_trees(self, rows: Tensor) -> Int[Tensor, "row"]:
        return torch.from_numpy((self.subtrees.roots[rows.numpy()] >= 0).sum(1))

    def present(self, rows: Tensor) -> Float[Tensor, "row subtree"]:
        """Shares of the forest's trees: 1 / number for each."""
        there = torch.from_numpy(self.subtrees.roots[rows.numpy()] >= 0)
        shares = there / there.sum(1, keepdim=True)
        empty = torch.zeros(len(rows), self.n_subtrees)
        return empty.scatter_add(1, self.at[rows], shares)

    def choice(self, rows: Tensor) -> Choice:
        """The pairs of rows that have at least two trees beside the tree 0."""
        features, names, n_allowed = self.subtrees.pairs(rows, self.order == "sorted")
        width = int(n_allowed.max())
        features, names = features[:, :width], names[:, :width]
        subtrees = self.at[rows].gather(1, names.flatten(1)).view_as(names)
        return Choice(features, subtrees, names, n_allowed)

    def ends(self, rows: Tensor, names: Tensor, third: Tensor) -> Int[Tensor, "row 3"]:
        return self.at[rows].gather(1, torch.cat([names, third[:, None]], 1))

    def star(self, rows: Tensor, names: Tensor) -> tuple[Star, Float[Tensor, "row 6"]]:
        """The star of the chosen merge and its description."""
        star = self.subtrees.star(rows, *(name.contiguous() for name in names.unbind(1)))
        n_trees = self.n_trees(rows)[:, None]
        e = torch.from_numpy(star.ends).log()
        return star, torch.cat([star.law, e, n_trees.log()], 1).float()

    def seen(self, rows: Tensor, names: Tensor) -> Float[Tensor, "row input"]:
        """What the encoder sees of the trees with these names."""
        described = self.subtrees.describe(rows, names)
        return self.network.seen(described, self.subtrees.members[rows, names])

    def join(self, rows: Tensor, names: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Joins the trees; the number of the new subtree and what the encoder sees of it."""
        left, right = (name.contiguous() for name in names.unbind(1))
        self.subtrees.join(rows, left, right, lengths)
        made = self.next[rows]
        self.next[rows] += 1
        self.at[rows, left] = made
        return made, self.seen(rows, left)

    def log_backward(self, rows: Tensor, names: Tensor) -> Float[Tensor, "row"]:
        """log P_B of the merge that has just been made."""
        if self.order == "sorted":
            may = self.subtrees.last_made(rows)
        else:
            may = torch.from_numpy(self.subtrees.roots[rows.numpy()] >= self.guide.n_taxa)
        made = may.gather(1, names[:, :1]).squeeze(1)
        return torch.where(made, -may.sum(1).double().log(), -torch.inf)

    @torch.no_grad()
    def replay(self, actions: Tensor) -> Record:
        """Repeats stored actions [batch, step, ...] from single leaves to whole trees."""
        for t in range(self.forest.max_steps):
            action = actions[:, t]
            names = torch.stack(self.forest.names(action), 1)
            lengths = self._lengths(action)
            if t + 1 < self.forest.max_steps:
                choice = self.choice(self._row)
                same = (choice.names == names[:, None]).all(2)
                same &= torch.arange(same.shape[1]) < choice.n_allowed[:, None]
                chosen = torch.where(same.any(1), same.int().argmax(1), -1)
                star = self.take(self._row, choice, chosen, names)
                if star is not None:
                    self.second(star, lengths[:, 0].contiguous())
            else:
                self.take_last(self._row)
            self.finish(self._row, names, lengths, action)
        return self.record

    def _lengths(self, action: Tensor) -> Float[Tensor, "row 2"]:
        if self.forest.with_lengths:
            return action[:, 1:]
        return torch.zeros(len(action), 2, dtype=torch.float64)

    def take(self, rows: Tensor, choice: Choice, chosen: Tensor, names: Tensor) -> Star | None:
        """Notes a choice, and the star where there are lengths."""
        record = self.record
        record.present.append(self.present(rows))
        record.choices.append(choice)
        record.chosen.append(chosen)
        if not self.forest.with_lengths:
            return None
        star, seen = self.star(rows, names)
        record.ends.append(self.ends(rows, names, star.third))
        record.star.append(seen)
        record.first.append(star.law)
        return star

    def take_last(self, rows: Tensor) -> Tensor | None:
        """Notes the last step; the law of its length."""
        record = self.record
        record.present.append(self.present(rows))
        record.choices.append(None)
        if not self.forest.with_lengths:
            return None
        ends = torch.tensor([[1, 0, 0]]).expand(len(rows), -1)
        record.ends.append(self.at[rows].gather(1, ends))
        law = self.subtrees.last_law(rows)
        record.first.append(law)
        return law

    def second(self, star: Star, length: Tensor) -> Float[Tensor, "row 2"]:
        law = self.subtrees.second_law(star, length)
        self.record.second.append(law)
        return law

    def finish(
        self, rows: Tensor, names: Tensor, lengths: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Makes the merge and notes it."""
        record = self.record
        made = self.join(rows, names, lengths)
        record.actions.append(action)
        record.lengths.append(lengths)
        record.seen.append(made[1])
        record.log_pb.append(self.log_backward(rows, names))
        return made
