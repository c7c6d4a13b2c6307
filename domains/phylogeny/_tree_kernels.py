"""Compiled loops over trees: rerooting, stepwise insertion, splits.

A tree comes as `children` [tree, n-1, 2] (see `domains.phylogeny.trees`). Its unrooted form is a table of
neighbours [2n-2, 3] over the nodes 0 .. 2n-3 (the root, 2n-2, is taken out and its two edges become
one), with the number of each edge beside: the edge above node v has number v, the root's edge that of
the root's first child. A tip uses the first of the three places.
"""

from __future__ import annotations

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@compiled
def _connect(a, b, edge, neighbours, edges, degree):
    neighbours[a, degree[a]] = b
    edges[a, degree[a]] = edge
    degree[a] += 1
    neighbours[b, degree[b]] = a
    edges[b, degree[b]] = edge
    degree[b] += 1


@compiled
def _unroot(children, neighbours, edges, degree):
    """Fills the tables of one tree."""
    n_internal = children.shape[0]
    n_taxa = n_internal + 1
    degree[:] = 0
    for k in range(n_internal - 1):
        _connect(n_taxa + k, children[k, 0], children[k, 0], neighbours, edges, degree)
        _connect(n_taxa + k, children[k, 1], children[k, 1], neighbours, edges, degree)
    left, right = children[n_internal - 1]
    _connect(left, right, left, neighbours, edges, degree)


@compiled
def _hang(a, b, edge, neighbours, edges, parent, above, smallest):
    """Hangs one tree from the edge between `a` and `b`: fills the parent of each node, the number of the
    edge to it, and the smallest tip below."""
    n_nodes = neighbours.shape[0]
    n_taxa = n_nodes // 2 + 1
    stack = np.empty(n_nodes, np.int64)
    order = np.empty(n_nodes, np.int64)
    parent[a], parent[b] = b, a
    above[a], above[b] = edge, edge
    stack[0], stack[1] = a, b
    height, visited = 2, 0
    while height > 0:
        height -= 1
        v = stack[height]
        order[visited] = v
        visited += 1
        smallest[v] = v if v < n_taxa else n_taxa
        for j in range(3 if v >= n_taxa else 0):
            w = neighbours[v, j]
            if w != parent[v]:
                parent[w], above[w] = v, edges[v, j]
                stack[height] = w
                height += 1
    for i in range(n_nodes - 1, -1, -1):
        v = order[i]
        if v != a and v != b:
            smallest[parent[v]] = min(smallest[parent[v]], smallest[v])


@compiled
def _ordered_children(v, neighbours, parent, smallest):
    """The two nodes below `v`, the one with the smaller smallest tip first."""
    x, y = -1, -1
    for j in range(3):
        w = neighbours[v, j]
        if w != parent[v]:
            x, y = w, x
    return (x, y) if smallest[x] < smallest[y] else (y, x)


@compiled
def _root_between(a, b, edge, neighbours, edges, new_children, source):
    """Numbers one tree anew with the root on the edge between `a` and `b`: the child with the smaller
    smallest tip comes first, inner nodes in postorder. Returns the new number of `a`."""
    n_nodes = neighbours.shape[0]
    n_taxa = n_nodes // 2 + 1
    parent = np.empty(n_nodes, np.int64)
    above = np.empty(n_nodes, np.int64)
    smallest = np.empty(n_nodes, np.int64)
    _hang(a, b, edge, neighbours, edges, parent, above, smallest)
    # Right before left: read backwards, the visit is a postorder with the left child first.
    left, right = (a, b) if smallest[a] < smallest[b] else (b, a)
    stack = np.empty(n_nodes, np.int64)
    order = np.empty(n_nodes, np.int64)
    stack[0], stack[1] = left, right
    height, visited = 2, 0
    while height > 0:
        height -= 1
        v = stack[height]
        order[visited] = v
        visited += 1
        if v >= n_taxa:
            stack[height], stack[height + 1] = _ordered_children(v, neighbours, parent, smallest)
            height += 2
    number = np.empty(n_nodes, np.int64)
    inner = n_taxa
    for i in range(n_nodes - 1, -1, -1):
        v = order[i]
        number[v] = v
        if v >= n_taxa:
            number[v] = inner
            x, y = _ordered_children(v, neighbours, parent, smallest)
            new_children[inner - n_taxa, 0] = number[x]
            new_children[inner - n_taxa, 1] = number[y]
            inner += 1
        source[number[v]] = above[v]
    new_children[n_taxa - 2, 0] = number[left]
    new_children[n_taxa - 2, 1] = number[right]
    return number[a]


@compiled
def reroot(children, at):
    """Every tree with the root on the edge above node `at[tree]`.

    Returns children [tree, n-1, 2], `source` [tree, 2n-2] (the old number of the edge above each new
    node) and `under` [tree] (the new number of the node `at`, a child of the new root).
    """
    n_trees, n_internal, _ = children.shape
    n_taxa = n_internal + 1
    n_nodes = 2 * n_taxa - 2
    new_children = np.empty_like(children)
    source = np.empty((n_trees, n_nodes), np.int64)
    under = np.empty(n_trees, np.int64)
    neighbours = np.empty((n_nodes, 3), np.int64)
    edges = np.empty((n_nodes, 3), np.int64)
    degree = np.empty(n_nodes, np.int64)
    for t in range(n_trees):
        _unroot(children[t], neighbours, edges, degree)
        left, right = children[t, n_internal - 1]
        a, edge = at[t], at[t]
        if a in (left, right):
            edge = left
            b = right if a == left else left
        else:
            b = a
            for j in range(degree[a]):
                if edges[a, j] == a:
                    b = neighbours[a, j]
        under[t] = _root_between(a, b, edge, neighbours, edges, new_children[t], source[t])
    return new_children, source, under


@compiled
def insert_tips(places, n_taxa):
    """Trees built by adding tips 3, 4, ... to the tree of tips 0, 1, 2, each on one of the edges there
    are: `places` [tree, n-3], place k in 0 .. 2k+2. Returns children rooted at tip 0."""
    n_trees = places.shape[0]
    n_nodes = 2 * n_taxa - 2
    children = np.empty((n_trees, n_taxa - 1, 2), np.int64)
    source = np.empty(n_nodes, np.int64)
    parent = np.empty(n_nodes, np.int64)
    listed = np.empty(n_nodes, np.int64)
    neighbours = np.empty((n_nodes, 3), np.int64)
    edges = np.empty((n_nodes, 3), np.int64)
    degree = np.empty(n_nodes, np.int64)
    for t in range(n_trees):
        parent[1], parent[2], parent[n_taxa] = n_taxa, n_taxa, 0
        listed[0], listed[1], listed[2] = 1, 2, n_taxa
        for k in range(n_taxa - 3):
            below, joint = listed[places[t, k]], n_taxa + 1 + k
            parent[joint] = parent[below]
            parent[below] = joint
            parent[k + 3] = joint
            listed[3 + 2 * k], listed[4 + 2 * k] = k + 3, joint
        degree[:] = 0
        top = 0
        for v in range(1, n_nodes):
            _connect(v, parent[v], v, neighbours, edges, degree)
            if parent[v] == 0:
                top = v
        _root_between(0, top, 0, neighbours, edges, children[t], source)
    return children


@compiled
def split_words(children, n_words):
    """Bit masks [tree, n-3, word] of the tips on the side without tip 0 of the edge above node n+i."""
    n_trees, n_internal, _ = children.shape
    n_taxa = n_internal + 1
    masks = np.empty((n_trees, max(n_taxa - 3, 0), n_words), np.uint64)
    below = np.empty((2 * n_taxa - 1, n_words), np.uint64)
    everything = np.zeros(n_words, np.uint64)
    one = np.uint64(1)
    below[:] = np.uint64(0)
    for v in range(n_taxa):
        below[v, v // 64] = one << np.uint64(v % 64)
        everything[v // 64] |= one << np.uint64(v % 64)
    for t in range(n_trees):
        for k in range(n_taxa - 3):
            for w in range(n_words):
                mask = below[children[t, k, 0], w] | below[children[t, k, 1], w]
                below[n_taxa + k, w] = mask
            turned = (below[n_taxa + k, 0] & one) == one
            for w in range(n_words):
                mask = below[n_taxa + k, w]
                masks[t, k, w] = mask ^ everything[w] if turned else mask
    return masks


@compiled
def _mixed(x):
    """A bijection of 64-bit words that spreads every bit over all others (splitmix64)."""
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def split_hashes(children):
    """One word [tree, n-3] per split of `split_words`: the exclusive or of a random word per tip."""
    n_trees, n_internal, _ = children.shape
    n_taxa = n_internal + 1
    hashes = np.empty((n_trees, max(n_taxa - 3, 0)), np.uint64)
    below = np.empty(2 * n_taxa - 1, np.uint64)
    has_first = np.zeros(2 * n_taxa - 1, np.bool_)
    has_first[0] = True
    everything = np.uint64(0)
    for v in range(n_taxa):
        below[v] = _mixed(np.uint64(v + 1))
        everything ^= below[v]
    for t in range(n_trees):
        for k in range(n_taxa - 3):
            left, right = children[t, k]
            below[n_taxa + k] = below[left] ^ below[right]
            has_first[n_taxa + k] = has_first[left] or has_first[right]
            turned = has_first[n_taxa + k]
            hashes[t, k] = _mixed(below[n_taxa + k] ^ everything if turned else below[n_taxa + k])
    return hashes


@compiled
def count_shared(left, right):
    """How many words of the sorted rows left[i] and right[i] agree: [tree]."""
    n_trees, n_splits = left.shape
    shared = np.zeros(n_trees, np.int64)
    for t in range(n_trees):
        i, j = 0, 0
        while i < n_splits and j < n_splits:
            if left[t, i] == right[t, j]:
                shared[t] += 1
                i += 1
                j += 1
            elif left[t, i] < right[t, j]:
                i += 1
            else:
                j += 1
    return shared


@compiled
def midpoints(children, lengths):
    """The node [tree] above which the middle of the longest path between two tips lies, and its
    distance [tree] from that node."""
    n_trees, n_internal, _ = children.shape
    n_taxa = n_internal + 1
    at, below = np.empty(n_trees, np.int64), np.empty(n_trees)
    height = np.zeros(2 * n_taxa - 1)
    deepest = np.arange(2 * n_taxa - 1)
    parent = np.empty(2 * n_taxa - 1, np.int64)
    for t in range(n_trees):
        longest, end = -1.0, 0
        for k in range(n_internal):
            left, right = children[t, k]
            parent[left], parent[right] = n_taxa + k, n_taxa + k
            reach_left = height[left] + lengths[t, left]
            reach_right = height[right] + lengths[t, right]
            farther = left if reach_left >= reach_right else right
            height[n_taxa + k] = max(reach_left, reach_right)
            deepest[n_taxa + k] = deepest[farther]
            if reach_left + reach_right > longest:
                longest, end = reach_left + reach_right, farther
        # Half of the path never reaches beyond `end`, the child of its highest node on the longer side.
        node, rest = deepest[end], longest / 2
        while node != end and rest > lengths[t, node]:
            rest -= lengths[t, node]
            node = parent[node]
        at[t], below[t] = node, min(rest, lengths[t, node])
    return at, below
