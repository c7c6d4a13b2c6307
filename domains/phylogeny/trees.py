"""Binary trees as arrays, many at a time, and what tells one unrooted topology from another.

Tips are the nodes 0 .. n-1 in the order of the alignment's names; row k of `children` holds the two nodes
below node n+k, both with smaller numbers, so the rows are a postorder; the last node, 2n-2, is the
root. `lengths[:, v]` is the edge above node v in expected substitutions per site. An unrooted tree is
the same array with the root on any of its edges: the two edges at the root are then one edge, whose
length is their sum.

A split is an edge of the unrooted tree seen as the set of tips on its side without tip 0. Nodes
n .. 2n-4 carry the n-3 non-trivial ones, each once, wherever the root is: node 2n-3 is always a child
of the root, and its edge is that of its sibling. A topology is known by the set of its splits
(P. Buneman, "The recovery of trees from measures of dissimilarity", 1971).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt64
from torch import Tensor

from domains.phylogeny import _tree_kernels


@dataclass(frozen=True)
class Trees:
    """A batch of binary trees over the same tips; see the module's text for the layout."""

    children: Int64[Tensor, "tree internal 2"]
    lengths: Float[Tensor, "tree edge"]

    @property
    def n_taxa(self) -> int:
        return self.children.shape[1] + 1

    def __len__(self) -> int:
        return self.children.shape[0]

    def __getitem__(self, index: slice | Tensor | list[int]) -> Trees:
        """Some of the trees, chosen along the batch."""
        return Trees(self.children[index], self.lengths[index])


def concatenated(parts: list[Trees]) -> Trees:
    """The trees of all parts, in order."""
    return Trees(
        torch.cat([part.children for part in parts]), torch.cat([part.lengths for part in parts])
    )


def unrooted_lengths(trees: Trees) -> Float[Tensor, "tree unrooted_edge"]:
    """Lengths [tree, 2n-3] of the edges of the unrooted trees: the edge above node v at place v. The
    root's edge stands at the place of the root's child other than node 2n-3, once and in full."""
    lengths = trees.lengths[:, :-1].clone()
    sibling = trees.children[:, -1].amin(1, keepdim=True)
    return lengths.scatter_add_(1, sibling, trees.lengths[:, -1:])


def rerooted(trees: Trees, at: Int[Tensor, "tree"], below: Float[Tensor, "tree"]) -> Trees:
    """The same trees with the root on the edge above node `at`, at distance `below` from that node.

    Nodes are numbered anew: of two children the one with the smallest tip below comes first, inner
    nodes follow in postorder. `below` lies between zero and the length of that (unrooted) edge.
    """
    return reroot_with_source(trees, at, below)[0]


def reroot_with_source(
    trees: Trees, at: Int[Tensor, "tree"], below: Float[Tensor, "tree"]
) -> tuple[Trees, Int64[Tensor, "tree edge"]]:
    """As `rerooted`, with the old number [tree, 2n-2] of the edge above each new node: what moves
    values on edges, such as supports, along. The root's edge has the number of the root's first child."""
    whole = trees.lengths.clone()
    ends = trees.children[:, -1]
    whole.scatter_(1, ends, whole.gather(1, ends).sum(1, keepdim=True).expand(-1, 2))
    children, source, under = (
        torch.from_numpy(array)
        for array in _tree_kernels.reroot(trees.children.numpy(), at.long().numpy())
    )
    lengths = whole.gather(1, source)
    beyond = children[:, -1].sum(1) - under
    full = lengths.gather(1, under[:, None])
    lengths.scatter_(1, under[:, None], below[:, None])
    lengths.scatter_(1, beyond[:, None], full - below[:, None])
    return Trees(children, lengths), source


def canonical(trees: Trees) -> Trees:
    """One form for each unrooted tree: the root in the middle of tip 0's edge, children ordered by
    their smallest tip, inner nodes in postorder. Equal topologies give equal `children`."""
    first_tip = torch.zeros(len(trees), dtype=torch.int64)
    touches = (trees.children[:, -1] == 0).any(1)
    at_root = trees.lengths.gather(1, trees.children[:, -1]).sum(1)
    return rerooted(trees, first_tip, torch.where(touches, at_root, trees.lengths[:, 0]) / 2)


def splits(trees: Trees) -> UInt64[np.ndarray, "tree split word"]:
    """Bit masks [tree, n-3, word] of the non-trivial splits: bit v % 64 of word v // 64 is set for the tips
    v on the side without tip 0. Split i is the edge above node n+i."""
    return _tree_kernels.split_words(trees.children.numpy(), (trees.n_taxa + 63) // 64)


def split_keys(trees: Trees) -> Int64[Tensor, "tree split"]:
    """A 64-bit number [tree, n-3] for each split of `splits`, equal for equal splits; two different
    ones agree with probability 2^-64."""
    return torch.from_numpy(_tree_kernels.split_hashes(trees.children.numpy()).view(np.int64))


def topology_keys(trees: Trees, longer_than: float | None = None) -> Int64[Tensor, "tree"]:
    """A 64-bit number for the unrooted topology of each tree: the sum of its split keys.

    With `longer_than`, only splits whose edge is longer count: shorter ones are collapsed, and trees
    that resolve the same multifurcation in different ways get equal keys.
    """
    keys = split_keys(trees)
    if longer_than is None:
        return keys.sum(1)
    inner = unrooted_lengths(trees)[:, trees.n_taxa :]
    return torch.where(inner > longer_than, keys, 0).sum(1)


def robinson_foulds(left: Trees, right: Trees) -> Int64[Tensor, "tree"]:
    """The number of splits that are in one of left[i], right[i] and not in the other: 0 .. 2(n-3).

    D. F. Robinson, L. R. Foulds, "Comparison of phylogenetic trees", Math. Biosci. 53, 131 (1981).
    A batch of one is compared with every tree of the other.
    """
    a, b = torch.broadcast_tensors(split_keys(left), split_keys(right))
    ordered = (a.sort(1).values.numpy(), b.sort(1).values.numpy())
    shared = torch.from_numpy(_tree_kernels.count_shared(*ordered))
    return 2 * (left.n_taxa - 3) - 2 * shared
