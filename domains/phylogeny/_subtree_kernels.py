"""Compiled loops over forests: see `domains.phylogeny.forest` for the names of trees and nodes."""

from __future__ import annotations

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@compiled
def postorder(children, n_taxa, start, order, stack):
    """Fills `order` with the merged nodes at and below `start`, children first; returns their number.
    children [merge, 2] by node - n_taxa."""
    height, count = 1, 0
    stack[0] = start
    while height > 0:
        height -= 1
        node = stack[height]
        if node >= n_taxa:
            order[count] = node
            count += 1
            stack[height] = children[node - n_taxa, 0]
            stack[height + 1] = children[node - n_taxa, 1]
            height += 2
    for k in range(count // 2):
        order[k], order[count - 1 - k] = order[count - 1 - k], order[k]
    return count


@compiled
def to_postorder(children, lengths):
    """Terminal forests as the arrays of `Trees`: children [tree, n-1, 2], lengths [tree, 2n-2]."""
    n_trees, n_merges, _ = children.shape
    n_taxa = n_merges + 1
    new_children = np.empty((n_trees, n_merges, 2), np.int64)
    new_lengths = np.zeros((n_trees, 2 * n_taxa - 2))
    order = np.empty(n_merges, np.int64)
    stack = np.empty(2 * n_taxa, np.int64)
    number = np.arange(2 * n_taxa - 1)
    for tree in range(n_trees):
        postorder(children[tree], n_taxa, n_taxa, order, stack)
        for k in range(n_merges):
            number[order[k]] = n_taxa + k
            for side in range(2):
                below = children[tree, order[k] - n_taxa, side]
                new_children[tree, k, side] = number[below]
                new_lengths[tree, number[below]] = lengths[tree, below]
    return new_children, new_lengths


@compiled
def from_postorder(children, lengths):
    """Trees in canonical form (rooted on taxon 0's edge) as the arrays of terminal forests: children,
    roots [tree, n], lengths [tree, 2n-1]."""
    n_trees, n_merges, _ = children.shape
    n_taxa = n_merges + 1
    new_children = np.empty((n_trees, n_merges, 2), np.int64)
    roots = np.full((n_trees, n_taxa), -1, np.int64)
    new_lengths = np.zeros((n_trees, 2 * n_taxa - 1))
    name = np.arange(2 * n_taxa - 1)
    smallest = np.arange(2 * n_taxa - 1)
    for tree in range(n_trees):
        roots[tree, 0] = n_taxa
        for k in range(n_merges):
            left, right = children[tree, k, 0], children[tree, k, 1]
            if smallest[left] > smallest[right]:
                left, right = right, left
            node = n_taxa + smallest[right] - 1
            smallest[n_taxa + k], name[n_taxa + k] = smallest[left], node
            new_children[tree, node - n_taxa, 0] = name[left]
            new_children[tree, node - n_taxa, 1] = name[right]
            new_lengths[tree, name[left]] = lengths[tree, left]
            new_lengths[tree, name[right]] = lengths[tree, right]
        last = name[children[tree, n_merges - 1].max()]
        new_lengths[tree, last] += new_lengths[tree, 0]
        new_lengths[tree, 0] = 0.0
    return new_children, roots, new_lengths
