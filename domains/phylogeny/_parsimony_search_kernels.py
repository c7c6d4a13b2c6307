"""Compiled parsimony search: every regraft of a subtree is scored from sets that are computed once.

On a tree that hangs from tip 0 (`tree_moves.Hanging`), low[v] is the Fitch set of all below node v and
high[v] that of all the rest, seen from v's edge. Joining the two gives the set of the whole tree at that
edge, and a subtree with set m put there costs one step for every column where m and that set are apart:

    steps(new tree) = steps(rest) + steps(subtree) + #{columns: m & join(low[e], high[e]) empty}.

(W. H. E. Day, D. Sankoff; P. A. Goloboff, "Methods for faster parsimony analysis", 1996.) Sets are bit planes
[state, word] with one bit per site; steps of the columns in `extra` [word] count twice. A subtree is either
all below v, or all above it (then the rest is what hangs below v): `target` is below v in the second case.
"""

from __future__ import annotations

import numba
import numpy as np

from domains.phylogeny._parsimony_kernels import ALL, count_bits
from domains.phylogeny._tree_move_kernels import cut_and_join, sibling_of, turn_below

compiled = numba.njit(cache=True, nogil=True)
NONE = np.int64(2**62)


@compiled
def join(a, b, extra, out):
    """Fitch set of two subtrees joined, in `out` [state, word]; returns the steps."""
    n_states, n_words = a.shape
    steps = np.uint64(0)
    for w in range(n_words):
        meet = np.uint64(0)
        for s in range(n_states):
            meet |= a[s, w] & b[s, w]
        apart = ALL ^ meet
        for s in range(n_states):
            out[s, w] = (a[s, w] & b[s, w]) | (apart & (a[s, w] | b[s, w]))
        steps += count_bits(apart) + count_bits(apart & extra[w])
    return np.int64(steps)


@compiled
def join_cost(a, b, extra):
    """The steps alone."""
    n_states, n_words = a.shape
    steps = np.uint64(0)
    for w in range(n_words):
        meet = np.uint64(0)
        for s in range(n_states):
            meet |= a[s, w] & b[s, w]
        apart = ALL ^ meet
        steps += count_bits(apart) + count_bits(apart & extra[w])
    return np.int64(steps)


@compiled
def _joint_cost(a, b, m, extra):
    """Steps of joining m to the edge between a and b, without those of a and b."""
    n_states, n_words = a.shape
    steps = np.uint64(0)
    for w in range(n_words):
        meet = np.uint64(0)
        for s in range(n_states):
            meet |= a[s, w] & b[s, w]
        apart = ALL ^ meet
        close = np.uint64(0)
        for s in range(n_states):
            close |= m[s, w] & ((a[s, w] & b[s, w]) | (apart & (a[s, w] | b[s, w])))
        far = ALL ^ close
        steps += count_bits(far) + count_bits(far & extra[w])
    return np.int64(steps)


@compiled
def preorder(child, start, n_taxa, order, stack):
    """Nodes from `start` down, each before those below it; returns how many."""
    stack[0] = start
    height, visited = 1, 0
    while height > 0:
        height -= 1
        v = stack[height]
        order[visited] = v
        visited += 1
        if v >= n_taxa:
            stack[height], stack[height + 1] = child[v, 0], child[v, 1]
            height += 2
    return visited


@compiled
def fill_low(child, n_taxa, extra, low, below, order, stack):
    """low of all inner nodes and the steps below each; returns the steps of the tree."""
    top = child[0, 0]
    n = preorder(child, top, n_taxa, order, stack)
    below[:n_taxa] = 0
    for i in range(n - 1, -1, -1):
        v = order[i]
        if v >= n_taxa:
            a, b = child[v, 0], child[v, 1]
            below[v] = below[a] + below[b] + join(low[a], low[b], extra, low[v])
    return below[top] + join_cost(low[0], low[top], extra)


@compiled
def fill_high(child, start, n_taxa, extra, low, high, order, stack):
    """high of all nodes below `start`, whose own is there already; returns how many nodes, with `start`
    the first of `order`."""
    n = preorder(child, start, n_taxa, order, stack)
    for i in range(n):
        v = order[i]
        if v >= n_taxa:
            a, b = child[v, 0], child[v, 1]
            join(high[v], low[b], extra, high[a])
            join(high[v], low[a], extra, high[b])
    return n


@compiled
def _score_low_moves(parent, child, v, n_taxa, extra, low, low_2, high_2, below, scores, work):
    """scores[target] of moving all below `v`; the links are changed and put back."""
    p, order, stack = parent[v], work[0], work[1]
    sibling, above = sibling_of(child, p, v), parent[p]
    slot = 0 if child[above, 0] == p else 1
    child[above, slot], parent[sibling] = sibling, above
    low_2[:] = low
    grown = below[sibling]
    a, came_from = above, sibling
    while a != 0:
        other = sibling_of(child, a, came_from)
        grown += below[other] + join(low_2[came_from], low_2[other], extra, low_2[a])
        a, came_from = parent[a], a
    top = child[0, 0]
    rest = grown + join_cost(low[0], low_2[top], extra)
    high_2[top] = low[0]
    n = fill_high(child, top, n_taxa, extra, low_2, high_2, order, stack)
    for i in range(n):
        e = order[i]
        if e != sibling:
            scores[e] = rest + below[v] + _joint_cost(low_2[e], high_2[e], low[v], extra)
    child[above, slot], parent[sibling] = p, p
    return n - 1


@compiled
def _score_high_moves(child, v, n_taxa, extra, low, high, high_2, below, total, scores, work):
    """scores[target] of moving all above `v` to an edge below it."""
    order, stack = work[0], work[1]
    moved = high[v]
    elsewhere = total - below[v] - join_cost(low[v], moved, extra)
    a, b = child[v, 0], child[v, 1]
    high_2[a], high_2[b] = low[b], low[a]
    n_scored = 0
    for start in (a, b):
        n = fill_high(child, start, n_taxa, extra, low, high_2, order, stack)
        for i in range(1, n):
            e = order[i]
            scores[e] = below[v] + elsewhere + _joint_cost(low[e], high_2[e], moved, extra)
        n_scored += n - 1
    return n_scored


@compiled
def score_moves(
    parent, child, v, n_taxa, extra, low, high, low_2, high_2, below, total, scores, work
):
    """scores [node] of every tree that cutting the edge above `v` and joining elsewhere gives, NONE
    where there is none; returns how many."""
    scores[:] = NONE
    n_scored = 0
    if parent[v] != 0:
        n_scored += _score_low_moves(
            parent, child, v, n_taxa, extra, low, low_2, high_2, below, scores, work
        )
    if v >= n_taxa:
        n_scored += _score_high_moves(
            child, v, n_taxa, extra, low, high, high_2, below, total, scores, work
        )
    return n_scored


@compiled
def _is_below(parent, v, target):
    w = target
    while w != 0 and w != v:
        w = parent[w]
    return w == v


@compiled
def apply_move(parent, child, v, target, lengths):
    """The rearrangement that `score_moves` scored as scores[target]."""
    if _is_below(parent, v, target):
        turn_below(parent, child, lengths, v, target)
    else:
        cut_and_join(parent, child, v, target)


@compiled
def climb(parent, child, tips, extra, visits, n_allowed):
    """Moves each subtree to its best place until none gets better, in place.

    visits [node] is the order in which subtrees are tried. Stops once `n_allowed` trees were scored.
    Returns (steps, trees scored)."""
    n_nodes = len(parent)
    n_taxa, n_states, n_words = tips.shape
    low = np.empty((n_nodes, n_states, n_words), np.uint64)
    low[:n_taxa] = tips
    high, low_2, high_2 = np.empty_like(low), np.empty_like(low), np.empty_like(low)
    below, scores = np.zeros(n_nodes, np.int64), np.empty(n_nodes, np.int64)
    work, lengths = np.empty((2, n_nodes), np.int64), np.zeros(n_nodes)
    total, n_scored, since, i = NONE, 1, 0, 0
    while since < len(visits) and n_scored < n_allowed:
        if since == 0:
            total = fill_low(child, n_taxa, extra, low, below, work[0], work[1])
            high[child[0, 0]] = low[0]
            fill_high(child, child[0, 0], n_taxa, extra, low, high, work[0], work[1])
        v = visits[i % len(visits)]
        n_scored += score_moves(
            parent, child, v, n_taxa, extra, low, high, low_2, high_2, below, total, scores, work
        )
        target = np.argmin(scores)
        since += 1
        i += 1
        if scores[target] < total:
            apply_move(parent, child, v, target, lengths)
            total, since = scores[target], 0
    return total, n_scored


@compiled
def neighbourhood(parent, child, tips, extra, scores):
    """scores [node, node] of all rearrangements of one tree; returns (its steps, trees scored)."""
    n_nodes = len(parent)
    n_taxa, n_states, n_words = tips.shape
    low = np.empty((n_nodes, n_states, n_words), np.uint64)
    low[:n_taxa] = tips
    high, low_2, high_2 = np.empty_like(low), np.empty_like(low), np.empty_like(low)
    below, work = np.zeros(n_nodes, np.int64), np.empty((2, n_nodes), np.int64)
    total = fill_low(child, n_taxa, extra, low, below, work[0], work[1])
    high[child[0, 0]] = low[0]
    fill_high(child, child[0, 0], n_taxa, extra, low, high, work[0], work[1])
    n_scored = 1
    scores[0] = NONE
    for v in range(1, n_nodes):
        n_scored += score_moves(
            parent, child, v, n_taxa, extra, low, high, low_2, high_2, below, total, scores[v], work
        )
    return total, n_scored


@compiled
def add_tips(order, tips, extra, parent, child):
    """Builds a tree by joining the tips `order` [n-1] (all but tip 0) one after the other where they
    cost least, in place. Returns (steps, trees scored)."""
    n_nodes = len(parent)
    n_taxa, n_states, n_words = tips.shape
    low = np.empty((n_nodes, n_states, n_words), np.uint64)
    low[:n_taxa] = tips
    high, below = np.empty_like(low), np.zeros(n_nodes, np.int64)
    listed, stack = np.empty(n_nodes, np.int64), np.empty(n_nodes, np.int64)
    parent[0], child[0, 0] = 0, order[0]
    parent[order[0]] = 0
    n_scored = 0
    for k in range(1, len(order)):
        v, joint, top = order[k], n_taxa + k - 1, child[0, 0]
        fill_low(child, n_taxa, extra, low, below, listed, stack)
        high[top] = low[0]
        n = fill_high(child, top, n_taxa, extra, low, high, listed, stack)
        best, target = NONE, top
        for i in range(n):
            e = listed[i]
            cost = _joint_cost(low[e], high[e], low[v], extra)
            if cost < best:
                best, target = cost, e
        n_scored += n
        above = parent[target]
        slot = 0 if child[above, 0] == target else 1
        child[above, slot], parent[joint] = joint, above
        child[joint, 0], child[joint, 1] = target, v
        parent[target], parent[v] = joint, joint
    return fill_low(child, n_taxa, extra, low, below, listed, stack), n_scored


@compiled
def edge_changes(parents, children, tips, extra, changes):
    """changes [tree, node]: on how many sites a most parsimonious history may change on the edge above
    each node, for trees that hang from tip 0; steps [tree] are returned."""
    n_trees, n_nodes = parents.shape
    n_taxa, n_states, n_words = tips.shape
    low = np.empty((n_nodes, n_states, n_words), np.uint64)
    low[:n_taxa] = tips
    high, below = np.empty_like(low), np.zeros(n_nodes, np.int64)
    order, stack = np.empty(n_nodes, np.int64), np.empty(n_nodes, np.int64)
    steps = np.empty(n_trees, np.int64)
    for t in range(n_trees):
        child = children[t]
        steps[t] = fill_low(child, n_taxa, extra, low, below, order, stack)
        top = child[0, 0]
        high[top] = low[0]
        fill_high(child, top, n_taxa, extra, low, high, order, stack)
        changes[t, 0] = 0
        for v in range(1, n_nodes):
            changes[t, v] = join_cost(low[v], high[v], extra)
    return steps
