"""Fitch parsimony: the smallest number of state changes on a tree, unordered states of unit cost.

    steps(tree) = sum over columns of min over states at the inner nodes of #{edges whose ends differ}

W. M. Fitch, Toward defining the course of evolution: minimum change for a specific tree topology, 1971. Many
trees at a time, 64 columns to a machine word.

What a gap is, is a convention that changes scores several-fold:

    missing          gap and ? may be any base
    fifth-state      a gap is a state of its own, ? may be any base: the published benchmark of DS1-DS8,
                     where most steps are then gap steps
    fifth-state-any  the same, but ? may be a gap too (PHYLIP's dnapars)

Columns whose cost is the same on every tree are counted once: a taxon whose states no other taxon shares
costs one step wherever it hangs; if what is left has a state in common, the column is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from domains.phylogeny import _parsimony_kernels
from domains.phylogeny.characters import GAP, UNKNOWN
from domains.phylogeny.patterns import Patterns
from workbench.errors import InputError, nearest

Gaps = Literal["missing", "fifth-state", "fifth-state-any"]
# convention -> (what a gap may be, what an unknown may be), as sets of A, C, G, T, gap
READINGS = {"missing": (15, 15), "fifth-state": (16, 15), "fifth-state-any": (16, 31)}
WORDS = _parsimony_kernels.WORDS


class Parsimony:
    """Fitch steps of trees over the taxa of `patterns`, in the order of their names.

    constant       steps that every tree needs, included in `score`
    n_columns      columns that differ between trees, counted with their bits (see `score`)
    n_evaluations  trees scored so far; merges of a forest count 1 / (n_taxa - 1) each

    Raises `InputError` for an unknown gap convention or weights that are not whole numbers.
    """

    def __init__(self, patterns: Patterns, gaps: Gaps = "missing") -> None:
        if gaps not in READINGS:
            raise InputError(
                f'unknown gap convention "{gaps}"{nearest(gaps, READINGS)}: known are '
                f"{', '.join(READINGS)}"
            )
        weights = patterns.weights.numpy()
        if not np.array_equal(weights, weights.round()):
            bad = weights[weights != weights.round()][0]
            raise InputError(f"parsimony needs whole pattern weights, not {bad}")
        self.gaps = gaps
        self.n_taxa = len(patterns.names)
        sets = state_sets(patterns.states.numpy(), gaps)
        least, varies = constant_steps(sets)
        counts = weights.astype(np.int64)
        self.constant = int((least * counts)[~varies].sum())
        self._planes = _planes(sets[:, varies], counts[varies], 4 if gaps == "missing" else 5)
        self.n_columns = self._planes.n_columns
        self._n_merges = 0

    @property
    def n_evaluations(self) -> float:
        return self._n_merges / (self.n_taxa - 1)

    def score(self, children: Int64[Tensor, "tree internal 2"]) -> Int64[Tensor, "tree"]:
        """Steps of every tree. Rooting does not matter. Raises `InputError` for another number of
        taxa."""
        if children.shape[1] + 1 != self.n_taxa:
            raise InputError(
                f"the trees have {children.shape[1] + 1} tips but the alignment has {self.n_taxa} "
                "taxa: prune the one or select from the other"
            )
        self._n_merges += len(children) * (self.n_taxa - 1)
        steps = np.full(len(children), self.constant, dtype=np.int64)
        nodes = np.ascontiguousarray(children.cpu().numpy(), dtype=np.int64)
        _parsimony_kernels.scores(nodes, self._planes.tips, self._planes.multiplicity, steps)
        return torch.from_numpy(steps).to(children.device)

    def tip_sets(self) -> Int64[Tensor, "taxon block word"]:
        """Bit planes of the taxa, for `merge`: the subtrees that a forest starts from. CPU."""
        return torch.from_numpy(
            np.ascontiguousarray(self._planes.tips.swapaxes(0, 1)).view(np.int64)
        )

    def merge(
        self,
        left: Int64[Tensor, "batch block word"],
        right: Int64[Tensor, "batch block word"],
    ) -> tuple[Int64[Tensor, "batch block word"], Int64[Tensor, "batch"]]:
        """Bit planes of the joint subtrees, and the steps that joining them costs. A whole tree's
        score is the sum over its merges, plus `constant`."""
        self._n_merges += len(left)
        out = torch.empty_like(left, memory_format=torch.contiguous_format)
        steps = torch.empty(len(left), dtype=torch.int64)
        _parsimony_kernels.merge(
            left.contiguous().numpy().view(np.uint64),
            right.contiguous().numpy().view(np.uint64),
            self._planes.multiplicity,
            out.numpy().view(np.uint64),
            steps.numpy(),
        )
        return out, steps

    def features(
        self, sets: Int64[Tensor, "*batch block word"]
    ) -> Float[Tensor, "*batch state column"]:
        """The planes as zeros and ones, float32, one column for each distinct varying pattern."""
        n_states = sets.shape[-1] // WORDS
        words = sets.unflatten(-1, (n_states, WORDS)).transpose(-3, -2).flatten(-2)
        at = self._planes.first_bit.to(sets.device)
        return ((words[..., at // 64] >> (at % 64)) & 1).float()


def state_sets(states: NDArray[np.uint8], gaps: Gaps) -> NDArray[np.uint8]:
    """Characters as sets of A, C, G, T, gap (bits 1, 2, 4, 8, 16) under a gap convention."""
    gap, unknown = READINGS[gaps]
    as_gap = np.where(states == GAP, np.uint8(gap), states)
    return np.where(states == UNKNOWN, np.uint8(unknown), as_gap).astype(np.uint8)


def constant_steps(
    sets: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each column of sets [taxon, column]: steps that every tree needs, and whether trees may
    differ beyond them (then the steps are those of the taxa with states of their own)."""
    n_columns = sets.shape[1]
    steps = np.zeros(n_columns, dtype=np.int64)
    present = np.ones(sets.shape, dtype=bool)
    while True:
        visible = np.where(present, sets, 0).astype(np.uint8)
        none = np.zeros((1, n_columns), dtype=np.uint8)
        before = np.concatenate([none, np.bitwise_or.accumulate(visible[:-1], axis=0)])
        after = np.concatenate([np.bitwise_or.accumulate(visible[:0:-1], axis=0)[::-1], none])
        alone = present & ((visible & (before | after)) == 0)
        # Where no two taxa share a state, one of them stays and costs nothing.
        all_alone = (alone == present).all(axis=0)
        keeper = np.argmax(alone, axis=0)
        columns = np.flatnonzero(all_alone)
        alone[keeper[columns], columns] = False
        if not alone.any():
            break
        steps += alone.sum(axis=0)
        present &= ~alone
    shared = np.bitwise_and.reduce(np.where(present, sets, 31).astype(np.uint8), axis=0)
    return steps, shared == 0


@dataclass(frozen=True)
class _Planes:
    """Bit planes of the varying columns.

    tips          [block, taxon, state * WORDS]
    multiplicity  [block, WORDS]: how many sites a step in this word stands for, a power of two
    first_bit     [pattern]: where a pattern stands (for the first time): 64 * word + bit
    n_columns     bits in use
    """

    tips: NDArray[np.uint64]
    multiplicity: NDArray[np.uint64]
    first_bit: Int64[Tensor, "pattern"]
    n_columns: int


def _planes(sets: NDArray[np.uint8], counts: NDArray[np.int64], n_states: int) -> _Planes:
    """A pattern of weight 13 = 8 + 4 + 1 stands in a word of each of these multiplicities."""
    n_taxa = len(sets)
    places: list[NDArray[np.int64]] = []
    multiplicities: list[int] = []
    for power in range(int(counts.max(initial=0)).bit_length()):
        members = np.flatnonzero((counts >> power) & 1)
        n_words = -(-len(members) // 64)
        padded = np.full(64 * n_words, -1, dtype=np.int64)
        padded[: len(members)] = members
        places.append(padded)
        multiplicities += [1 << power] * n_words
    n_blocks = -(-len(multiplicities) // WORDS)
    n_words = n_blocks * WORDS
    columns = np.full(64 * n_words, -1, dtype=np.int64)
    filled = np.concatenate([*places, np.zeros(0, dtype=np.int64)])
    columns[: len(filled)] = filled
    # Unused bits (column -1: the last one here) are in every set, so that they never cost a step.
    masks = np.concatenate([sets, np.full((n_taxa, 1), 31, dtype=np.uint8)], axis=1)[:, columns]
    bits = (masks[:, None, :] >> np.arange(n_states, dtype=np.uint8)[:, None]) & 1
    packed = np.packbits(bits, axis=-1, bitorder="little").view("<u8")
    by_block = packed.reshape(n_taxa, n_states, n_blocks, WORDS).transpose(2, 0, 1, 3)
    multiplicity = np.zeros(n_words, dtype=np.uint64)
    multiplicity[: len(multiplicities)] = multiplicities
    used = np.flatnonzero(columns >= 0)
    _, first = np.unique(columns[used], return_index=True)
    return _Planes(
        tips=np.ascontiguousarray(by_block).reshape(n_blocks, n_taxa, n_states * WORDS),
        multiplicity=multiplicity.reshape(n_blocks, WORDS),
        first_bit=torch.from_numpy(used[first]),
        n_columns=len(used),
    )
