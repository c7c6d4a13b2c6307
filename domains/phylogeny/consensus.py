"""One tree for a sample: majority-rule consensus of unrooted trees, maximum clade credibility of rooted ones.

The majority-rule consensus has the splits found in more than half of the sample, which always fit on one
tree; the extended one goes on adding the next frequent split that fits (T. Margush, F. R. McMorris, "Consensus
n-trees", 1981). The maximum clade credibility tree is the sampled tree whose clades have the largest
product of frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domains.phylogeny.newick import quoted_names
from domains.phylogeny.summaries import SplitTable, normalised_weights
from domains.phylogeny.trees import Trees
from workbench.errors import InputError


@dataclass(frozen=True, eq=False)
class LabelledTree:
    """A tree with any number of branches at a node, for drawing and writing.

    parent    [node], -1 at the root; tips are the nodes 0 .. n-1
    lengths   [node] of the edge above each node; 0 at the root
    supports  [node] of the edge above it, in [0, 1]; NaN at tips and the root and where not known
    names     taxa
    """

    parent: Int64[Tensor, "node"]
    lengths: Float[Tensor, "node"]
    supports: Float[Tensor, "node"]
    names: tuple[str, ...]

    def children(self) -> list[list[int]]:
        """The nodes below each node, in the order of their smallest tips."""
        below: list[list[int]] = [[] for _ in self.parent]
        for node, parent in enumerate(self.parent.tolist()):
            if parent >= 0:
                below[parent].append(node)
        smallest = list(range(len(below)))
        for node in self.postorder(below):
            if below[node]:
                below[node].sort(key=lambda child: smallest[child])
                smallest[node] = smallest[below[node][0]]
        return below

    def postorder(self, below: list[list[int]]) -> list[int]:
        """Nodes with each after all that hang from it, given what hangs from each."""
        root = int((self.parent < 0).nonzero()[0])
        order, stack = [], [root]
        while stack:
            node = stack.pop()
            order.append(node)
            stack.extend(below[node])
        return order[::-1]

    def newick(self, digits: int = 6) -> str:
        """Newick with supports as labels of the inner nodes."""
        below, names = self.children(), quoted_names(self.names)
        texts = [""] * len(below)
        for node in self.postorder(below):
            if below[node]:
                mark = float(self.supports[node])
                label = "" if np.isnan(mark) else f"{mark:.4g}"
                texts[node] = f"({','.join(texts[child] for child in below[node])}){label}"
            else:
                texts[node] = names[node]
            if self.parent[node] >= 0:
                texts[node] += f":{float(self.lengths[node]):.{digits}g}"
        return texts[int((self.parent < 0).nonzero()[0])] + ";"


def majority_consensus(
    table: SplitTable,
    names: tuple[str, ...],
    minimum_frequency: float = 0.5,
    extended: bool = False,
) -> LabelledTree:
    """Majority-rule consensus with supports and mean lengths.

    Splits above `minimum_frequency` (at least 0.5); `extended` adds those below that fit. The tree hangs
    from the node that tip 0 hangs from. Raises `InputError` for a minimum below 0.5.
    """
    if not 0.5 <= minimum_frequency < 1:
        raise InputError(
            f"a majority of {minimum_frequency} is none: give at least 0.5 and less than 1, or use "
            "the extended consensus"
        )
    members = table.members.numpy()
    chosen = (table.frequency > minimum_frequency).nonzero().squeeze(1).tolist()
    if extended:
        for row in range(len(chosen), len(table)):
            if all(_fits(members[row], members[other]) for other in chosen):
                chosen.append(row)
    return _assembled(table, chosen, names)


def supported_tree(
    tree: Trees, table: SplitTable, names: tuple[str, ...], keys: Int64[Tensor, "split"]
) -> LabelledTree:
    """A single binary tree, drawn from tip 0, with its splits' frequencies in a sample as supports.

    `keys` are the tree's own split keys; splits that the sample does not have get support 0.
    """
    n_taxa = tree.n_taxa
    place = {int(key): i for i, key in enumerate(table.keys)}
    found = [place.get(int(key)) for key in keys]
    supports = torch.full((2 * n_taxa - 1,), torch.nan, dtype=torch.float64)
    supports[n_taxa : 2 * n_taxa - 3] = torch.tensor(
        [0.0 if row is None else float(table.frequency[row]) for row in found], dtype=torch.float64
    )
    parent = torch.full((2 * n_taxa - 1,), -1, dtype=torch.int64)
    owner = torch.arange(n_taxa, 2 * n_taxa - 1).repeat_interleave(2)
    parent[tree.children[0].flatten()] = owner
    lengths = torch.cat([tree.lengths[0].double(), torch.zeros(1, dtype=torch.float64)])
    return LabelledTree(parent, lengths, supports, names)


def clade_keys(trees: Trees) -> Int64[Tensor, "tree clade"]:
    """A 64-bit number for the set of tips below each inner node n .. 2n-2 of rooted trees."""
    n_taxa = trees.n_taxa
    generator = torch.Generator().manual_seed(n_taxa)
    bits = torch.randint(-(2**63), 2**63 - 1, (n_taxa,), generator=generator)
    below = torch.zeros(len(trees), 2 * n_taxa - 1, dtype=torch.int64)
    below[:, :n_taxa] = bits
    for k in range(n_taxa - 1):
        left, right = below.gather(1, trees.children[:, k]).unbind(1)
        below[:, n_taxa + k] = left ^ right
    return below[:, n_taxa:]


def maximum_clade_credibility(
    trees: Trees, weights: Float[Tensor, "tree"] | None = None
) -> tuple[int, Float[Tensor, "clade"]]:
    """The row of the rooted tree with the largest product of clade frequencies, and the frequencies of
    the clades below its inner nodes."""
    share = normalised_weights(len(trees), weights)
    keys = clade_keys(trees)
    _, member = torch.unique(keys, return_inverse=True)
    frequency = torch.zeros(int(member.max()) + 1, dtype=torch.float64)
    frequency.index_add_(0, member.flatten(), share[:, None].expand_as(keys).flatten())
    of_tree = frequency[member]
    best = int(of_tree.log().sum(1).argmax())
    return best, of_tree[best]


def _fits(a: np.ndarray, b: np.ndarray) -> bool:
    """Can both splits be on one tree? Neither side holds tip 0, so one is in the other or they are apart."""
    both = (a & b).sum()
    return bool(both == 0 or both == a.sum() or both == b.sum())


def _assembled(table: SplitTable, chosen: list[int], names: tuple[str, ...]) -> LabelledTree:
    """The tree of splits that fit: each clade hangs from the smallest one that holds it."""
    n_taxa = table.members.shape[1]
    by_size = sorted(chosen, key=lambda row: int(table.members[row].sum()))
    n_nodes = n_taxa + len(by_size) + 1
    root = n_nodes - 1
    parent = torch.full((n_nodes,), root, dtype=torch.int64)
    parent[root] = -1
    lengths = torch.zeros(n_nodes, dtype=torch.float64)
    supports = torch.full((n_nodes,), torch.nan, dtype=torch.float64)
    lengths[:n_taxa] = table.tip_length
    open_tips = {tip: tip for tip in range(n_taxa)}
    for i, row in enumerate(by_size):
        node = n_taxa + i
        for tip in table.members[row].nonzero().squeeze(1).tolist():
            parent[open_tips[tip]] = node
            open_tips[tip] = node
        lengths[node] = table.mean_length[row]
        supports[node] = table.frequency[row]
    for top in open_tips.values():
        parent[top] = root
    return LabelledTree(parent, lengths, supports, names)
