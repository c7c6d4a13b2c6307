"""Compiled greedy rules on one graph, many times over: each row of `noise` breaks the ties of one try.

Arrays of a graph: compressed rows `pointer`, `neighbour`, `edge_weight`, then vertex weights and what is fixed
(1 in, 2 out). `chosen` [try, vertex] is filled. With `blind` the rule is left out and the noise alone decides:
random maximal sets, random starts of a local search.
"""

from __future__ import annotations

import numba
import numpy as np

FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")


@compiled
def _rule_out(v, pointer, neighbour, is_open, degree):
    """Closes a vertex; its open neighbours lose a neighbour."""
    is_open[v] = False
    for e in range(pointer[v], pointer[v + 1]):
        degree[neighbour[e]] -= 1


@compiled
def _take_independent(v, pointer, neighbour, chosen, is_open, degree):
    chosen[v] = True
    if is_open[v]:
        _rule_out(v, pointer, neighbour, is_open, degree)
    for e in range(pointer[v], pointer[v + 1]):
        u = neighbour[e]
        if is_open[u]:
            _rule_out(u, pointer, neighbour, is_open, degree)


@compiled
def independent(pointer, neighbour, edge_weight, weight, fixed, noise, blind, chosen):
    """Again and again the open vertex of the largest weight / (open degree + 1)."""
    n = len(weight)
    for t in range(len(noise)):
        is_open = np.ones(n, np.bool_)
        degree = np.empty(n, np.int64)
        for v in range(n):
            chosen[t, v] = False
            degree[v] = pointer[v + 1] - pointer[v]
        for v in range(n):
            if fixed[v] == 1:
                _take_independent(v, pointer, neighbour, chosen[t], is_open, degree)
            elif fixed[v] == 2 and is_open[v]:
                _rule_out(v, pointer, neighbour, is_open, degree)
        while True:
            best, best_score, best_noise = -1, -1.0, -1.0
            for v in range(n):
                if is_open[v]:
                    score = 1.0 if blind else weight[v] / (degree[v] + 1.0)
                    if score > best_score or (score == best_score and noise[t, v] > best_noise):
                        best, best_score, best_noise = v, score, noise[t, v]
            if best < 0:
                break
            _take_independent(best, pointer, neighbour, chosen[t], is_open, degree)


@compiled
def _cover(v, by, pointer, neighbour, count):
    """Counts how often each vertex is dominated, `by` = +1 or -1 for a member that comes or goes."""
    count[v] += by
    for e in range(pointer[v], pointer[v + 1]):
        count[neighbour[e]] += by


@compiled
def _open_gain(v, pointer, neighbour, count):
    gain = 1 if count[v] == 0 else 0
    for e in range(pointer[v], pointer[v + 1]):
        gain += count[neighbour[e]] == 0
    return gain


@compiled
def is_redundant(v, pointer, neighbour, count):
    """Whether all that a member dominates is dominated by others too."""
    if count[v] < 2:
        return False
    for e in range(pointer[v], pointer[v + 1]):  # noqa: SIM110
        if count[neighbour[e]] < 2:
            return False
    return True


@compiled
def prune(pointer, neighbour, weight, fixed, noise, chosen, count):
    """Drops members that are not needed, the heaviest first."""
    while True:
        worst, worst_weight, worst_noise = -1, -1.0, -1.0
        for v in range(len(weight)):
            if chosen[v] and fixed[v] != 1 and is_redundant(v, pointer, neighbour, count):
                heavier = weight[v] > worst_weight
                if heavier or (weight[v] == worst_weight and noise[v] > worst_noise):
                    worst, worst_weight, worst_noise = v, weight[v], noise[v]
        if worst < 0:
            return
        chosen[worst] = False
        _cover(worst, -1, pointer, neighbour, count)


@compiled
def dominating(pointer, neighbour, edge_weight, weight, fixed, noise, blind, chosen):
    """Again and again the vertex that newly dominates most per weight; then what is not needed is dropped."""
    n = len(weight)
    for t in range(len(noise)):
        count = np.zeros(n, np.int64)
        for v in range(n):
            chosen[t, v] = fixed[v] == 1
            if fixed[v] == 1:
                _cover(v, 1, pointer, neighbour, count)
        gain = np.empty(n, np.int64)
        for v in range(n):
            gain[v] = _open_gain(v, pointer, neighbour, count)
        while True:
            best, best_score, best_noise = -1, -1.0, -1.0
            for v in range(n):
                if gain[v] > 0 and not chosen[t, v] and fixed[v] != 2:
                    score = 1.0 if blind else gain[v] / weight[v]
                    if score > best_score or (score == best_score and noise[t, v] > best_noise):
                        best, best_score, best_noise = v, score, noise[t, v]
            if best < 0:
                break
            _dominate(best, pointer, neighbour, chosen[t], count, gain)
        prune(pointer, neighbour, weight, fixed, noise[t], chosen[t], count)


@compiled
def _dominate(v, pointer, neighbour, chosen, count, gain):
    """Adds a member and lowers the gains around what it newly dominates."""
    chosen[v] = True
    for k in range(pointer[v] - 1, pointer[v + 1]):
        u = v if k < pointer[v] else neighbour[k]
        if count[u] == 0:
            gain[u] -= 1
            for e in range(pointer[u], pointer[u + 1]):
                gain[neighbour[e]] -= 1
        count[u] += 1


@compiled
def cut(pointer, neighbour, edge_weight, weight, fixed, noise, blind, chosen):
    """Vertices by falling degree (all by the noise where `blind`), each on the side where it cuts more of
    what is placed; blind: on a random side."""
    n = len(weight)
    for t in range(len(noise)):
        key = np.empty(n)
        for v in range(n):
            degree = 0 if blind else pointer[v + 1] - pointer[v]
            key[v] = -(degree + noise[t, v])
        order = np.argsort(key)
        side = np.zeros(n)
        for v in range(n):
            if fixed[v] > 0:
                side[v] = 1.0 if fixed[v] == 1 else -1.0
        for v in order:
            if side[v] == 0.0:
                pull = 0.0
                for e in range(pointer[v], pointer[v + 1]):
                    pull -= edge_weight[e] * side[neighbour[e]]
                if blind or pull == 0.0:
                    pull = noise[t, v] - 0.5
                side[v] = 1.0 if pull > 0 else -1.0
        for v in range(n):
            chosen[t, v] = side[v] > 0
