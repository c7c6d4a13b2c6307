"""Compiled local searches on one graph: `chosen` [set, vertex] is improved in place, row by row.

Arrays as in `_greedy_kernels`. Every search stops at a local optimum; nothing is random.
"""

from __future__ import annotations

import numba
import numpy as np

from domains.graphs._greedy_kernels import _cover, is_redundant, prune

FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
SMALLEST_GAIN = 1e-9


@compiled
def _insert(v, by, pointer, neighbour, chosen, tight):
    """A vertex enters (by = 1) or leaves (by = -1) the set; `tight` counts chosen neighbours."""
    chosen[v] = by > 0
    for e in range(pointer[v], pointer[v + 1]):
        tight[neighbour[e]] += by


@compiled
def _fill(pointer, neighbour, weight, fixed, chosen, tight):
    """Adds vertices without chosen neighbours, the heaviest first."""
    while True:
        best = -1
        for v in range(len(weight)):
            if tight[v] == 0 and not chosen[v] and fixed[v] != 2:  # noqa: SIM102
                if best < 0 or weight[v] > weight[best]:
                    best = v
        if best < 0:
            return
        _insert(best, 1, pointer, neighbour, chosen, tight)


@compiled
def _swap_for(x, pointer, neighbour, weight, fixed, tight, mark):
    """One or two vertices, x their only chosen neighbour, that weigh more than x and are not adjacent;
    (-1, -1) where there are none."""
    for e in range(pointer[x], pointer[x + 1]):
        u = neighbour[e]
        if tight[u] != 1 or fixed[u] == 2:
            continue
        if weight[u] > weight[x] + SMALLEST_GAIN:
            return u, -1
        for f in range(pointer[u], pointer[u + 1]):
            mark[neighbour[f]] = True
        found = -1
        for f in range(e + 1, pointer[x + 1]):
            v = neighbour[f]
            fits = tight[v] == 1 and fixed[v] != 2 and not mark[v]
            if fits and weight[u] + weight[v] > weight[x] + SMALLEST_GAIN:
                found = v
                break
        for f in range(pointer[u], pointer[u + 1]):
            mark[neighbour[f]] = False
        if found >= 0:
            return u, found
    return -1, -1


@compiled
def independent(pointer, neighbour, edge_weight, weight, fixed, chosen):
    """(1,2)-swaps: one member leaves for two vertices that had no other chosen neighbour (or for a heavier
    one), until there is none. Andrade, Resende and Werneck, "Fast local search for the maximum independent
    set problem" (2012), without their perturbations."""
    n = len(weight)
    mark = np.zeros(n, np.bool_)
    for t in range(len(chosen)):
        tight = np.zeros(n, np.int64)
        for v in range(n):
            if chosen[t, v]:
                for e in range(pointer[v], pointer[v + 1]):
                    tight[neighbour[e]] += 1
        _fill(pointer, neighbour, weight, fixed, chosen[t], tight)
        improved = True
        while improved:
            improved = False
            for x in range(n):
                if not chosen[t, x] or fixed[x] == 1:
                    continue
                u, v = _swap_for(x, pointer, neighbour, weight, fixed, tight, mark)
                if u < 0:
                    continue
                _insert(x, -1, pointer, neighbour, chosen[t], tight)
                _insert(u, 1, pointer, neighbour, chosen[t], tight)
                if v >= 0:
                    _insert(v, 1, pointer, neighbour, chosen[t], tight)
                _fill(pointer, neighbour, weight, fixed, chosen[t], tight)
                improved = True


@compiled
def dominating(pointer, neighbour, edge_weight, weight, fixed, chosen):
    """(k,1)-swaps: a vertex enters, members it makes superfluous leave, and this is kept where the set has
    become lighter; until there is none."""
    n = len(weight)
    level = np.zeros(n)
    for t in range(len(chosen)):
        count = np.zeros(n, np.int64)
        for v in range(n):
            if chosen[t, v]:
                _cover(v, 1, pointer, neighbour, count)
        prune(pointer, neighbour, weight, fixed, level, chosen[t], count)
        gone = np.empty(n, np.int64)
        improved = True
        while improved:
            improved = False
            for v in range(n):
                if chosen[t, v] or fixed[v] == 2:
                    continue
                _cover(v, 1, pointer, neighbour, count)
                n_gone, saved = 0, -weight[v]
                for u in range(n):
                    removable = chosen[t, u] and fixed[u] != 1
                    if removable and is_redundant(u, pointer, neighbour, count):
                        chosen[t, u] = False
                        _cover(u, -1, pointer, neighbour, count)
                        gone[n_gone] = u
                        n_gone += 1
                        saved += weight[u]
                if saved > SMALLEST_GAIN:
                    chosen[t, v] = True
                    improved = True
                    continue
                for k in range(n_gone):
                    chosen[t, gone[k]] = True
                    _cover(gone[k], 1, pointer, neighbour, count)
                _cover(v, -1, pointer, neighbour, count)


@compiled
def flip_gains(pointer, neighbour, edge_weight, chosen, gain):
    """Change of the cut when each vertex changes sides."""
    for v in range(len(gain)):
        gain[v] = 0.0
        for e in range(pointer[v], pointer[v + 1]):
            same = chosen[v] == chosen[neighbour[e]]
            gain[v] += edge_weight[e] if same else -edge_weight[e]


@compiled
def flip(v, pointer, neighbour, edge_weight, chosen, gain):
    chosen[v] = not chosen[v]
    gain[v] = -gain[v]
    for e in range(pointer[v], pointer[v + 1]):
        u = neighbour[e]
        gain[u] += -2 * edge_weight[e] if chosen[u] != chosen[v] else 2 * edge_weight[e]


@compiled
def cut(pointer, neighbour, edge_weight, weight, fixed, chosen):
    """Vertices change sides, the one that gains most first, until none gains."""
    gain = np.empty(len(weight))
    for t in range(len(chosen)):
        flip_gains(pointer, neighbour, edge_weight, chosen[t], gain)
        while True:
            best = -1
            for v in range(len(weight)):
                if fixed[v] == 0 and gain[v] > SMALLEST_GAIN:  # noqa: SIM102
                    if best < 0 or gain[v] > gain[best]:
                        best = v
            if best < 0:
                break
            flip(best, pointer, neighbour, edge_weight, chosen[t], gain)
