"""What a weighted sample of unrooted trees says: frequencies of splits and topologies, and how far two
samples differ in them.

Everything works on 64-bit keys of splits and topologies (`trees.split_keys`, `trees.topology_keys`), so
that a sample of any size is two sorts. The average standard deviation of split frequencies (ASDSF) of
several runs is the mean, over the splits that reach a frequency of 0.1 in at least one run, of the standard
deviation of their frequencies over the runs (F. Ronquist et al., "MrBayes 3.2", 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domains.phylogeny.tree_mcmc import Trace
from domains.phylogeny.trees import (
    Trees,
    concatenated,
    split_keys,
    splits,
    topology_keys,
    unrooted_lengths,
)
from workbench.errors import InputError
from workbench.mcmc.diagnostics import Diagnosis, diagnose

MINIMUM_FREQUENCY = 0.1


@dataclass(frozen=True, eq=False)
class SplitTable:
    """The non-trivial splits of a sample, most frequent first, and the edges of the tips.

    keys                  as `trees.split_keys`
    members               tips on the side without tip 0
    frequency             share of the weight of the trees that have the split
    mean_length, sd       of its edge, over those trees
    tip_length, tip_sd    of the edges of the tips
    n_trees               how many trees the sample has
    """

    keys: Int64[Tensor, "split"]
    members: Bool[Tensor, "split taxon"]
    frequency: Float[Tensor, "split"]
    mean_length: Float[Tensor, "split"]
    sd: Float[Tensor, "split"]
    tip_length: Float[Tensor, "taxon"]
    tip_sd: Float[Tensor, "taxon"]
    n_trees: int

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, eq=False)
class TopologyTable:
    """The distinct topologies of a sample, most frequent first.

    keys          as `trees.topology_keys`
    frequency     share of the weight
    first         row of the first tree that has the topology
    """

    keys: Int64[Tensor, "topology"]
    frequency: Float[Tensor, "topology"]
    first: Int64[Tensor, "topology"]

    def __len__(self) -> int:
        return len(self.keys)

    def credible(self, level: float = 0.95) -> int:
        """How many topologies the smallest set has that holds `level` of the weight."""
        if not 0 < level <= 1:
            raise InputError(f"a credible set of level {level} does not exist: give one in (0, 1]")
        # Sums of frequencies may miss the level by rounding alone.
        return 1 + int((self.frequency.cumsum(0) < level - 1e-12).sum())


@dataclass(frozen=True)
class Convergence:
    """asdsf between runs (None for a single one), and the scalars watched along them."""

    asdsf: float | None
    log_posterior: Diagnosis
    tree_length: Diagnosis


def normalised_weights(
    n_trees: int, weights: Float[Tensor, "tree"] | None
) -> Float[Tensor, "tree"]:
    """Weights that sum to one; equal ones for None. Raises `InputError` for none above zero."""
    if n_trees == 0:
        raise InputError("there are no trees to summarise: sample at least one")
    if weights is None:
        return torch.full((n_trees,), 1.0 / n_trees, dtype=torch.float64)
    weights = weights.double()
    if len(weights) != n_trees or bool((weights < 0).any()) or not float(weights.sum()) > 0:
        raise InputError(
            f"{len(weights)} weights for {n_trees} trees: give one each, none negative, not all zero"
        )
    return weights / weights.sum()


def split_table(
    trees: Trees,
    weights: Float[Tensor, "tree"] | None = None,
    longer_than: float | None = None,
) -> SplitTable:
    """All splits of a sample with the frequencies and lengths of their edges; with `longer_than`, shorter
    edges are collapsed and their splits do not count."""
    n_taxa = trees.n_taxa
    share = normalised_weights(len(trees), weights)
    lengths = unrooted_lengths(trees).double()
    keys, inner = split_keys(trees), lengths[:, n_taxa:]
    distinct, first, member = _distinct(keys.flatten())
    n = len(distinct)
    weight = share[:, None].expand_as(inner).flatten()
    if longer_than is not None:
        weight = torch.where(inner.flatten() > longer_than, weight, 0.0)
    zeros = torch.zeros(n, dtype=torch.float64)
    # Sums of shares may exceed one by rounding alone.
    frequency = zeros.index_add(0, member, weight).clamp(max=1.0)
    mean = zeros.index_add(0, member, weight * inner.flatten()) / frequency
    # Trees of weight zero may hold splits that then have no length.
    mean = torch.where(frequency > 0, mean, 0.0)
    spread = weight * (inner.flatten() - mean[member]).square()
    variance = zeros.index_add(0, member, spread) / frequency.clamp(min=1e-300)
    tips = lengths[:, :n_taxa]
    tip_mean = share @ tips
    order = torch.argsort(frequency, descending=True, stable=True)
    if longer_than is not None:
        order = order[frequency[order] > 0]
    n_splits = max(n_taxa - 3, 1)
    rows, columns = first // n_splits, first % n_splits
    words = splits(trees[rows])[np.arange(n), columns.numpy()]
    return SplitTable(
        keys=distinct[order],
        members=_bits(words, n_taxa)[order],
        frequency=frequency[order],
        mean_length=mean[order],
        sd=variance.sqrt()[order],
        tip_length=tip_mean,
        tip_sd=(share @ (tips - tip_mean).square()).sqrt(),
        n_trees=len(trees),
    )


def topology_table(
    trees: Trees,
    weights: Float[Tensor, "tree"] | None = None,
    longer_than: float | None = None,
) -> TopologyTable:
    """Frequencies of the topologies; with `longer_than`, of those after shorter edges are collapsed."""
    share = normalised_weights(len(trees), weights)
    keys, first, member = _distinct(topology_keys(trees, longer_than))
    frequency = torch.zeros(len(keys), dtype=torch.float64).index_add(0, member, share)
    order = torch.argsort(frequency, descending=True, stable=True)
    return TopologyTable(keys[order], frequency[order], first[order])


def best_distinct(
    trees: Trees,
    scores: Float[Tensor, "tree"],
    longer_than: float | None = None,
) -> Int64[Tensor, "kept"]:
    """Rows of the distinct topologies (after shorter edges are collapsed), each by its tree of the lowest
    score, best first."""
    order = torch.argsort(scores, stable=True)
    first = _distinct(topology_keys(trees[order], longer_than))[1]
    return order[first.sort().values]


def mean_tree(trees: Trees, key: int, weights: Float[Tensor, "tree"] | None = None) -> Trees:
    """The topology `key` of a sample, with the mean lengths of its trees: a batch of one."""
    share = normalised_weights(len(trees), weights)
    rows = (topology_keys(trees) == key).nonzero().squeeze(1)
    if len(rows) == 0:
        raise InputError(f"no tree of the sample has the topology {key}: take a key of its table")
    chosen = trees[rows]
    share = share[rows]
    # A topology of weight zero has plain means.
    table = split_table(chosen, share if float(share.sum()) > 0 else None)
    place = {int(k): i for i, k in enumerate(table.keys)}
    template = chosen[[0]]
    inner = [place[int(k)] for k in split_keys(template)[0]]
    lengths = torch.cat([table.tip_length, table.mean_length[inner]])[None]
    return _with_unrooted_lengths(template, lengths)


def asdsf(samples: Sequence[SplitTable], minimum_frequency: float = MINIMUM_FREQUENCY) -> float:
    """Average standard deviation of split frequencies; 0 where no split reaches the minimum.

    Raises `InputError` for fewer than two samples.
    """
    if len(samples) < 2:
        raise InputError("one sample has no spread of split frequencies: compare at least two")
    table = frequencies_side_by_side(samples)
    counted = table[(table >= minimum_frequency).any(1)]
    return float(counted.std(1).mean()) if len(counted) else 0.0


def frequencies_side_by_side(samples: Sequence[SplitTable]) -> Float[Tensor, "split sample"]:
    """Frequency of every split that occurs in any sample, in each of them (zero where absent)."""
    keys = torch.cat([sample.keys for sample in samples]).unique()
    table = torch.zeros(len(keys), len(samples), dtype=torch.float64)
    for column, sample in enumerate(samples):
        table[torch.searchsorted(keys, sample.keys), column] = sample.frequency
    return table


def with_splits_of(table: SplitTable, other: SplitTable) -> SplitTable:
    """`table` and, behind, the splits that only `other` has: of frequency zero and no length (NaN)."""
    new = ~torch.isin(other.keys, table.keys)
    none = torch.zeros(int(new.sum()), dtype=torch.float64)
    return replace(
        table,
        keys=torch.cat([table.keys, other.keys[new]]),
        members=torch.cat([table.members, other.members[new]]),
        frequency=torch.cat([table.frequency, none]),
        mean_length=torch.cat([table.mean_length, none + torch.nan]),
        sd=torch.cat([table.sd, none + torch.nan]),
    )


def frequencies_in(table: SplitTable, other: SplitTable) -> Float[Tensor, "split"]:
    """Frequencies in `other` of the splits of `table`, in its order (zero where absent)."""
    known = dict(zip(other.keys.tolist(), other.frequency.tolist(), strict=True))
    found = [known.get(key, 0.0) for key in table.keys.tolist()]
    return torch.tensor(found, dtype=torch.float64)


def topology_distance(left: TopologyTable, right: TopologyTable) -> float:
    """Total variation between the laws of topologies of two samples, in [0, 1]."""
    keys = torch.cat([left.keys, right.keys]).unique()
    difference = torch.zeros(len(keys), dtype=torch.float64)
    difference[torch.searchsorted(keys, left.keys)] += left.frequency
    difference[torch.searchsorted(keys, right.keys)] -= right.frequency
    return 0.5 * float(difference.abs().sum())


def convergence(trace: Trace, minimum_frequency: float = MINIMUM_FREQUENCY) -> Convergence:
    """ASDSF between the ladders of a trace, and R-hat and effective sample sizes over them."""
    n_ladders = trace.log_likelihood.shape[1]
    tables = [split_table(trace.ladder_trees(ladder)) for ladder in range(n_ladders)]
    return Convergence(
        asdsf=asdsf(tables, minimum_frequency) if n_ladders > 1 else None,
        log_posterior=diagnose(trace.log_posterior),
        tree_length=diagnose(trace.tree_length[..., 0]),
    )


def sample_of(trace: Trace) -> Trees:
    """Trees of rung 0 of all ladders."""
    n_ladders = trace.log_likelihood.shape[1]
    return concatenated([trace.ladder_trees(ladder) for ladder in range(n_ladders)])


def _with_unrooted_lengths(trees: Trees, whole: Tensor) -> Trees:
    """Trees with these lengths [tree, 2n-3] (`unrooted_lengths`), the root in the middle of its edge."""
    lengths = torch.cat([whole, torch.zeros_like(whole[:, :1])], 1)
    ends = trees.children[:, -1]
    half = lengths.gather(1, ends).sum(1, keepdim=True) / 2
    return Trees(trees.children, lengths.scatter(1, ends, half.expand(-1, 2)))


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted distinct keys, the place where each is first, and the number of each key among them."""
    distinct, first, member = np.unique(keys.numpy(), return_index=True, return_inverse=True)
    return (
        torch.from_numpy(distinct),
        torch.from_numpy(first),
        torch.from_numpy(member.reshape(-1)),
    )


def _bits(words: np.ndarray, n_taxa: int) -> Tensor:
    """[split, taxon] from [split, word]."""
    tips = np.arange(n_taxa)
    bits = (words[:, tips // 64] >> (tips % 64).astype(np.uint64)) & np.uint64(1)
    return torch.from_numpy(bits.astype(bool))
