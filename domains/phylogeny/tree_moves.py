"""Trees hung from tip 0, and the trees one rearrangement away: interchanges (NNI) and regrafts (SPR).

`Hanging` is what Markov chains and searches change in place: tip 0 is the root, every other node v of
0 .. 2n-3 has `parent[v]` and one edge above it, so that the 2n-3 edges of the unrooted tree are the
nodes 1 .. 2n-3. An unrooted tree of n tips has 2(n-3) neighbours by nearest-neighbour interchange and
2(n-3)(2n-7) by subtree pruning and regrafting (B. L. Allen, M. Steel, "Subtree transfer operations and
their induced metrics on evolutionary trees", 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domains.phylogeny._tree_chain_kernels import children_from_parents
from domains.phylogeny._tree_move_kernels import cut_and_join, sibling_of, turn_below
from domains.phylogeny.trees import Trees, canonical, topology_keys, unrooted_lengths


@dataclass(frozen=True, eq=False)
class Hanging:
    """Trees that hang from tip 0.

    parent   [tree, 2n-2]; parent[0] is 0
    child    [tree, 2n-2, 2]; of tip 0 the first is the node below it, the rest of tips is -1
    lengths  [tree, 2n-2] of the edge above each node; lengths[0] is 0
    """

    parent: Int64[Tensor, "tree node"]
    child: Int64[Tensor, "tree node 2"]
    lengths: Float[Tensor, "tree node"]


def hang(trees: Trees) -> Hanging:
    """The unrooted trees, hung from tip 0."""
    trees = canonical(trees)
    n_taxa, n_nodes = trees.n_taxa, 2 * trees.n_taxa - 2
    parent = torch.zeros(len(trees), n_nodes, dtype=torch.int64)
    child = torch.full((len(trees), n_nodes, 2), -1, dtype=torch.int64)
    inner = trees.children[:, :-1]
    child[:, n_taxa:] = inner
    owner = torch.arange(n_taxa, n_nodes).repeat_interleave(2).expand(len(trees), -1)
    parent.scatter_(1, inner.flatten(1), owner)
    # In canonical form the root joins tip 0 with node 2n-3.
    child[:, 0, 0] = n_nodes - 1
    lengths = torch.zeros(len(trees), n_nodes, dtype=torch.float64)
    whole = unrooted_lengths(trees).double()
    lengths[:, 1:-1] = whole[:, 1:]
    lengths[:, -1] = whole[:, 0]
    return Hanging(parent, child, lengths)


def unhang(parent: Int64[Tensor, "*batch node"], lengths: Float[Tensor, "*batch node"]) -> Trees:
    """`Trees` rooted in the middle of tip 0's edge; leading axes become one batch."""
    n_nodes = parent.shape[-1]
    flat = parent.reshape(-1, n_nodes).contiguous()
    children = torch.empty(len(flat), n_nodes // 2, 2, dtype=torch.int64)
    edges = torch.empty(len(flat), n_nodes, dtype=torch.float64)
    children_from_parents(
        flat.numpy(),
        lengths.reshape(-1, n_nodes).double().contiguous().numpy(),
        children.numpy(),
        edges.numpy(),
    )
    return Trees(children, edges)


def interchange_neighbours(tree: Trees) -> Trees:
    """The 2(n-3) trees one nearest-neighbour interchange away from a single tree. All edges keep their
    lengths."""
    hung = hang(tree)
    parent, child = hung.parent[0].numpy(), hung.child[0].numpy()
    n_taxa, n_nodes = tree.n_taxa, len(parent)
    changed = []
    for v in range(n_taxa, n_nodes):
        if parent[v] == 0:
            continue
        aunt = int(sibling_of(child, parent[v], v))
        for w in child[v]:
            moved = parent.copy()
            moved[w], moved[aunt] = parent[v], v
            changed.append(moved)
    parents = torch.from_numpy(np.array(changed, dtype=np.int64).reshape(-1, n_nodes))
    return unhang(parents, hung.lengths.expand(len(parents), -1))


def regraft_neighbours(tree: Trees) -> Trees:
    """Every topology one subtree regraft away from a single tree, each once.

    The edge that is healed gets the sum of its parts, the edge that receives is cut in the middle."""
    hung = hang(tree)
    parent, child = hung.parent[0].numpy(), hung.child[0].numpy()
    lengths = hung.lengths[0].numpy()
    below = _below(child)
    parents, edges = [], []
    for v in range(1, len(parent)):
        for target in range(1, len(parent)):
            new = parent.copy(), child.copy(), lengths.copy()
            move = turn_subtree if below[v, target] else move_subtree_to
            if move(*new, v, target):
                parents.append(new[0])
                edges.append(new[2])
    n_nodes = len(parent)
    trees = unhang(
        torch.from_numpy(np.array(parents, dtype=np.int64).reshape(-1, n_nodes)),
        torch.from_numpy(np.array(edges).reshape(-1, n_nodes)),
    )
    keys = topology_keys(trees).numpy()
    first = np.unique(keys, return_index=True)[1]
    own = int(topology_keys(tree)[0])
    kept = sorted(int(i) for i in first if keys[i] != own)
    return trees[torch.tensor(kept, dtype=torch.int64)]


def move_subtree_to(
    parent: np.ndarray, child: np.ndarray, lengths: np.ndarray, v: int, target: int
) -> bool:
    """Joins the subtree below `v` to the middle of the edge above `target`, in place; False, and nothing
    done, where that is where it is."""
    p = int(parent[v])
    if p == 0 or target == p:
        return False
    sibling = int(sibling_of(child, p, v))
    if target == sibling:
        return False
    lengths[sibling] += lengths[p]
    lengths[p] = lengths[target] = lengths[target] / 2
    cut_and_join(parent, child, v, target)
    return True


def turn_subtree(
    parent: np.ndarray, child: np.ndarray, lengths: np.ndarray, v: int, target: int
) -> bool:
    """Joins all that is above `v` to the middle of the edge above `target`, which is below `v`, in place;
    False, and nothing done, where that is where it is."""
    if target == v or parent[target] == v:
        return False
    turn_below(parent, child, lengths, v, target)
    return True


def _below(child: np.ndarray) -> np.ndarray:
    """[node, node]: is the second node in the subtree of the first, itself included?"""
    inside = np.eye(len(child), dtype=bool)
    order, stack = [], [int(child[0, 0])]
    while stack:
        v = stack.pop()
        order.append(v)
        stack.extend(int(w) for w in child[v] if w >= 0)
    for v in reversed(order):
        for w in child[v]:
            if w >= 0:
                inside[v] |= inside[w]
    return inside
