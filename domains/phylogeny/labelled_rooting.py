"""Roots of trees with any number of branches at a node, as consensus trees are.

The new root stands in the middle of an edge: that of an outgroup, or the one that holds the midpoint of the
longest path between two tips (J. S. Farris, "Estimating phylogenetic trees from distance matrices", Am. Nat.
106, 645 (1972)). Supports belong to edges, so those on the way between the two roots change their nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from domains.phylogeny.consensus import LabelledTree
from domains.phylogeny.rooting import outgroup_tips


def labelled_at_outgroup(tree: LabelledTree, outgroup: Sequence[str]) -> LabelledTree:
    """Rooted on the edge that separates the outgroup from all others, or, where the tree has none, on that
    of its first taxon. Raises InputError for an unknown name and for none or all taxa."""
    inside = outgroup_tips(tree.names, outgroup)
    below = _tips_below(tree)
    fits = (below == inside).all(1) | (below == ~inside).all(1)
    fits &= tree.parent >= 0
    at = int(fits.int().argmax()) if bool(fits.any()) else tree.names.index(outgroup[0])
    return rooted_above(tree, at, float(tree.lengths[at]) / 2)


def labelled_at_midpoint(tree: LabelledTree) -> LabelledTree:
    """Rooted halfway between the two tips that are farthest apart."""
    paths = [_path_up(tree, tip) for tip in range(len(tree.names))]
    heights = [dict(zip(path, _heights(tree, path), strict=True)) for path in paths]
    longest, ends = -1.0, (0, 1)
    for i, first in enumerate(heights):
        for j in range(i):
            top = next(node for node in paths[j] if node in first)
            length = first[top] + heights[j][top]
            if length > longest:
                longest, ends = length, ((i, j) if first[top] >= heights[j][top] else (j, i))
    walked = 0.0
    for node in paths[ends[0]][:-1]:
        step = float(tree.lengths[node])
        if walked + step >= longest / 2:
            break
        walked += step
    return rooted_above(tree, node, longest / 2 - walked)


def rooted_above(tree: LabelledTree, at: int, below: float) -> LabelledTree:
    """The tree with a new root on the edge above node `at`, at distance `below` from it. A root that is left
    with one branch goes."""
    path = _path_up(tree, at)
    parent, lengths, supports = (
        torch.cat([values, values.new_zeros(1)])
        for values in (tree.parent, tree.lengths, tree.supports)
    )
    new, old = len(tree.parent), path[-1]
    parent[new], lengths[new], supports[new] = -1, 0.0, torch.nan
    above, length, support = new, float(tree.lengths[at]) - below, float(tree.supports[at])
    parent[at], lengths[at] = new, below
    for node in path[1:]:
        following = float(tree.lengths[node]), float(tree.supports[node])
        parent[node], lengths[node], supports[node] = above, length, support
        above, (length, support) = node, following
    rest = (parent == old).nonzero().squeeze(1)
    if len(rest) > 1:
        return LabelledTree(parent, lengths, supports, tree.names)
    only = int(rest[0])
    parent[only] = parent[old]
    lengths[only] += lengths[old]
    return _without(LabelledTree(parent, lengths, supports, tree.names), old)


def _without(tree: LabelledTree, node: int) -> LabelledTree:
    kept = torch.arange(len(tree.parent)) != node
    parent = torch.where(tree.parent > node, tree.parent - 1, tree.parent)[kept]
    return LabelledTree(parent, tree.lengths[kept], tree.supports[kept], tree.names)


def _path_up(tree: LabelledTree, node: int) -> list[int]:
    """The nodes from `node` to the root, both included."""
    path = [node]
    while int(tree.parent[path[-1]]) >= 0:
        path.append(int(tree.parent[path[-1]]))
    return path


def _heights(tree: LabelledTree, path: list[int]) -> list[float]:
    """Distances of the nodes of a path from its first."""
    heights = [0.0]
    for node in path[:-1]:
        heights.append(heights[-1] + float(tree.lengths[node]))
    return heights


def _tips_below(tree: LabelledTree) -> Bool[Tensor, "node taxon"]:
    below = torch.zeros(len(tree.parent), len(tree.names), dtype=torch.bool)
    for tip in range(len(tree.names)):
        below[_path_up(tree, tip), tip] = True
    return below
