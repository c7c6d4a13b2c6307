"""Compiled proposals on one tree that hangs from tip 0 (`_partial_kernels`): how it changes, and back.

Every proposal leaves in `Undo` what it takes to undo it, and returns the log of its Hastings ratio
(probability density of the way back over that of the way there), the change of the sum of lengths, and the
two nodes from which the partial likelihoods have to be computed anew.

    length   one edge times e^w, w uniform in +- window / 2: Hastings ratio e^w
    walk     a subtree is cut off and walks along the rest of the tree over k >= 1 nodes, turning left or
             right with equal probability and going on with probability `extension`; the edge in front of
             it is carried along and keeps its length, so the map of lengths has Jacobian one; k = 1 is
             a nearest-neighbour interchange
    regraft  a subtree is cut off and joined to any edge, cut in two at a uniform place: Jacobian
             (length of the edge cut) / (length of the edge healed)
    scale    all lengths times e^w: e^{(2n-3) w}

The walk and its Hastings ratio: C. Lakner, P. van der Mark, J. P. Huelsenbeck, B. Larget, F. Ronquist,
"Efficiency of Markov chain Monte Carlo tree proposals in Bayesian phylogenetics" (2008), extending SPR.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from domains.phylogeny._partial_kernels import compiled

N_MOVES = 5
LENGTH, INTERCHANGE, WALK, REGRAFT, SCALE = range(N_MOVES)
# One uniform number holds the turns of a walk, bit by bit.
LONGEST_WALK = 50
N_DRAWS = 7
_MOVE, _NODE, _PLACE, _TURNS, _FIRST, _SECOND, ACCEPT = range(N_DRAWS)


class Undo(NamedTuple):
    """`nodes`, `lengths` [4]: old lengths of the first `n_set[0]` nodes; `moved` [2]: the subtree that moved
    (or -1) and the node below the edge it came from; `all_lengths`: copy made by `scale`."""

    nodes: np.ndarray
    lengths: np.ndarray
    n_set: np.ndarray
    moved: np.ndarray
    all_lengths: np.ndarray


@compiled
def make_undo(n_nodes):
    return Undo(
        np.empty(6, np.int64),
        np.empty(6),
        np.zeros(1, np.int64),
        np.full(2, -1, np.int64),
        np.empty(n_nodes),
    )


@compiled
def _set_length(work, undo, v, value):
    """Sets the length of the edge above `v`; returns by how much it grew."""
    i = undo.n_set[0]
    old = work.length[v]
    undo.nodes[i], undo.lengths[i] = v, old
    undo.n_set[0] = i + 1
    work.length[v] = value
    return value - old


@compiled
def sibling_of(child, p, v):
    return child[p, 1] if child[p, 0] == v else child[p, 0]


@compiled
def _replace_child(child, p, old, new):
    if child[p, 0] == old:
        child[p, 0] = new
    else:
        child[p, 1] = new


@compiled
def cut_and_join(parent, child, v, target):
    """Moves `v` and the node above it onto the edge above `target`, which is not below `v` and not next
    to it. Doing it again with the former sibling as target undoes it."""
    p = parent[v]
    sibling, above = sibling_of(child, p, v), parent[p]
    _replace_child(child, above, p, sibling)
    parent[sibling] = above
    above = parent[target]
    _replace_child(child, above, target, p)
    _replace_child(child, p, sibling, target)
    parent[p], parent[target] = above, p


@compiled
def turn_below(parent, child, length, v, target):
    """Moves inner node `v` onto the middle of the edge above `target`, which lies below `v` but is none of
    its children: the subtree below `v` keeps its unrooted form and hangs by another edge."""
    a = target
    while parent[a] != v:
        a = parent[a]
    b = sibling_of(child, v, a)
    half = 0.5 * length[target]
    node = parent[target]
    # Along the path from `target` up to `a` every edge turns over and keeps its length.
    came_from, new_parent, carried = target, v, half
    while True:
        next_node, above = parent[node], length[node]
        other = b if node == a else next_node
        _replace_child(child, node, came_from, other)
        parent[node], length[node] = new_parent, carried
        if node == a:
            length[b] += above
            parent[b] = a
            break
        came_from, new_parent, carried = node, node, above
        node = next_node
    child[v, 0], child[v, 1] = target, parent[target]
    parent[target], length[target] = v, half


@compiled
def undo_move(work, undo):
    """The tree as it was before the proposal."""
    if undo.moved[0] >= 0:
        cut_and_join(work.parent, work.child, undo.moved[0], undo.moved[1])
        undo.moved[0] = -1
    if undo.n_set[0] < 0:
        work.length[:] = undo.all_lengths
    # Backwards: a length that was set twice goes back to what it was first.
    for i in range(undo.n_set[0] - 1, -1, -1):
        work.length[undo.nodes[i]] = undo.lengths[i]


@compiled
def _pick(draw, n):
    """A number 0 .. n-1 from a uniform one below 1, which rounding may carry to n."""
    i = int(draw * n)
    return i if i < n else n - 1


@compiled
def _factor(draw, window):
    return math.exp(window * (draw - 0.5))


@compiled
def change_length(work, undo, v, draw, window):
    """Returns (log Hastings ratio, change of the sum of lengths, low node, other node)."""
    factor = _factor(draw, window)
    grown = _set_length(work, undo, v, work.length[v] * factor)
    return math.log(factor), grown, work.parent[v], np.int64(0)


@compiled
def scale_all(work, undo, draw, window):
    factor = _factor(draw, window)
    undo.all_lengths[:] = work.length
    undo.n_set[0] = -1
    grown = 0.0
    n_edges = len(work.length) - 1
    for v in range(1, n_edges + 1):
        grown += work.length[v] * (factor - 1.0)
        work.length[v] *= factor
    return n_edges * math.log(factor), grown, np.int64(0), np.int64(0)


@compiled
def _walk(work, v, n_steps, turns, n_taxa):
    """Where a walk of `n_steps` nodes from subtree `v` ends: (node below the edge or -1 where there is no
    way, whether the edge was reached from below, whether it could go on, whether the edge it came
    from is open behind, whether the walk set out upwards)."""
    parent, child = work.parent, work.child
    p = parent[v]
    sibling, above = sibling_of(child, p, v), parent[p]
    may_rise, may_sink = above != 0, sibling >= n_taxa
    turns *= 2.0
    rising = may_rise and (turns < 1.0 or not may_sink)
    if not may_rise and not may_sink:
        return np.int64(-1), False, False, False, False
    turns -= 1.0 if turns >= 1.0 else 0.0
    set_out_rising = rising
    open_behind = may_sink if rising else may_rise
    came_from, node = (p, above) if rising else (p, sibling)
    target = node
    goes_on = True
    step = 0
    while step < n_steps and goes_on:
        turns *= 2.0
        first = turns < 1.0
        turns -= 0.0 if first else 1.0
        if rising and first:
            target, came_from, node = node, node, parent[node]
            goes_on = node != 0
        else:
            if rising:
                target = sibling_of(child, node, came_from)
            else:
                target = child[node, 0] if first else child[node, 1]
            rising, node = False, target
            goes_on = node >= n_taxa
        step += 1
    return target, rising, goes_on, open_behind, set_out_rising


@compiled
def walk_subtree(work, undo, v, n_steps, turns, extension, n_taxa):
    """Moves subtree `v` along the tree. Returns (possible, log Hastings ratio, carried node, low, other).

    The sum of lengths stays; `carried` is the node whose edge was carried along."""
    p = work.parent[v]
    none = np.int64(0)
    if p == 0 or n_steps > LONGEST_WALK:
        return False, 0.0, none, none, none
    target, from_below, goes_on, open_behind, rose = _walk(work, v, n_steps, turns, n_taxa)
    if target < 0:
        return False, 0.0, none, none, none
    sibling, above = sibling_of(work.child, p, v), work.parent[p]
    front = work.length[p] if rose else work.length[sibling]
    rear = work.length[sibling] if rose else work.length[p]
    beyond = work.length[target]
    # Where the walk could turn both ways or go on, either end has a factor (1 - extension) and a half.
    free_end = math.log(0.5 / (1.0 - extension))
    log_hastings = (free_end if goes_on else 0.0) - (free_end if open_behind else 0.0)
    cut_and_join(work.parent, work.child, v, target)
    undo.moved[0], undo.moved[1] = v, sibling
    _set_length(work, undo, sibling, rear)
    carried = target if from_below else p
    _set_length(work, undo, target, front if from_below else beyond)
    _set_length(work, undo, p, beyond if from_below else front)
    return True, log_hastings, carried, above, p


@compiled
def regraft(work, undo, v, target, place, n_taxa):
    """Joins subtree `v` to the edge above `target`, cut at the share `place`.

    Returns (possible, log Hastings ratio, low, other)."""
    p = work.parent[v]
    none = np.int64(0)
    if p == 0 or target == p:
        return False, 0.0, none, none
    w = target
    while w != 0 and w != v:
        w = work.parent[w]
    sibling, above = sibling_of(work.child, p, v), work.parent[p]
    if w == v or target == sibling:
        return False, 0.0, none, none
    healed, cut = work.length[p] + work.length[sibling], work.length[target]
    cut_and_join(work.parent, work.child, v, target)
    undo.moved[0], undo.moved[1] = v, sibling
    _set_length(work, undo, sibling, healed)
    _set_length(work, undo, target, place * cut)
    _set_length(work, undo, p, (1.0 - place) * cut)
    return True, math.log(cut / healed), above, p


@compiled
def move_subtree(work, undo, move, draws, windows, extension, n_taxa):
    """A move of topology, with new lengths of the edges that move along.

    Returns (possible, log Hastings ratio, change of the sum of lengths, low, other)."""
    n_nodes = len(work.length)
    v = 1 + _pick(draws[_NODE], n_nodes - 1)
    if move == REGRAFT:
        target = 1 + _pick(draws[_PLACE], n_nodes - 1)
        possible, log_hastings, low, other = regraft(work, undo, v, target, draws[_TURNS], n_taxa)
        carried = v
    else:
        going_on = extension if move == WALK else 0.0
        n_steps = 1
        if going_on > 0.0:
            length = 1.0 + math.log(1.0 - draws[_PLACE]) / math.log(going_on)
            n_steps = int(min(length, LONGEST_WALK + 1.0))
        possible, log_hastings, carried, low, other = walk_subtree(
            work, undo, v, n_steps, draws[_TURNS], going_on, n_taxa
        )
    if not possible:
        return False, 0.0, 0.0, low, other
    factor = _factor(draws[_FIRST], windows[1])
    grown = _set_length(work, undo, v, work.length[v] * factor)
    log_hastings += math.log(factor)
    if carried != v:
        factor = _factor(draws[_SECOND], windows[1])
        grown += _set_length(work, undo, carried, work.length[carried] * factor)
        log_hastings += math.log(factor)
    return True, log_hastings, grown, low, other


@compiled
def propose(work, undo, draws, cumulative, windows, extension, n_taxa):
    """One proposal. `draws` [N_DRAWS] uniform numbers, `cumulative` [N_MOVES] shares of the moves,
    `windows` [3] of lengths, of lengths in moves of topology, and of the scale.

    Returns (move, possible, log Hastings ratio, change of the sum of lengths, low, other)."""
    undo.n_set[0], undo.moved[0] = 0, -1
    move = 0
    while move < N_MOVES - 1 and draws[_MOVE] >= cumulative[move]:
        move += 1
    n_nodes = len(work.length)
    if move == LENGTH:
        v = 1 + _pick(draws[_NODE], n_nodes - 1)
        log_hastings, grown, low, other = change_length(work, undo, v, draws[_FIRST], windows[0])
        return move, True, log_hastings, grown, low, other
    if move == SCALE:
        log_hastings, grown, low, other = scale_all(work, undo, draws[_FIRST], windows[2])
        return move, True, log_hastings, grown, low, other
    possible, log_hastings, grown, low, other = move_subtree(
        work, undo, move, draws, windows, extension, n_taxa
    )
    return move, possible, log_hastings, grown, low, other
