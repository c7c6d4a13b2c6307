"""Compiled kernels of the environments: what may be added to a set, what may be taken back, what it is worth.

Rows of a batch are (graph, chosen [width]); the arrays of `Graphs` come first, in the order of
`Graphs.arrays`. Outputs [row, width] are zero where a graph has no such vertex. Nothing is random here.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled: Any = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")


@compiled
def independent_allowed(
    first, pointer, neighbour, edge_weight, weight, fixed, graph, chosen, allowed
):
    """Vertices that are not chosen, not fixed out and have no chosen neighbour."""
    for r in range(len(graph)):
        base = first[graph[r]]
        n = first[graph[r] + 1] - base
        for v in range(n):
            allowed[r, v] = fixed[base + v] != 2
        for v in range(n):
            if chosen[r, v]:
                allowed[r, v] = False
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    allowed[r, neighbour[e]] = False


@compiled
def clique_allowed(first, pointer, neighbour, edge_weight, weight, fixed, graph, chosen, allowed):
    """Vertices that are not chosen, not fixed out and adjacent to every chosen one."""
    count = np.zeros(allowed.shape[1], np.int32)
    for r in range(len(graph)):
        base = first[graph[r]]
        n = first[graph[r] + 1] - base
        count[:] = 0
        size = 0
        for v in range(n):
            if chosen[r, v]:
                size += 1
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    count[neighbour[e]] += 1
        for v in range(n):
            allowed[r, v] = count[v] == size and not chosen[r, v] and fixed[base + v] != 2


@compiled
def domination(
    first, pointer, neighbour, edge_weight, weight, fixed, graph, chosen, allowed, needy, gain
):
    """needy: vertices without a chosen one in their closed neighbourhood; gain: how many of those a vertex
    would dominate; allowed: not chosen, not fixed out, gain above zero."""
    for r in range(len(graph)):
        base = first[graph[r]]
        n = first[graph[r] + 1] - base
        for v in range(n):
            needy[r, v] = True
            gain[r, v] = 0.0
        for v in range(n):
            if chosen[r, v]:
                needy[r, v] = False
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    needy[r, neighbour[e]] = False
        for v in range(n):
            if needy[r, v]:
                gain[r, v] += 1.0
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    gain[r, neighbour[e]] += 1.0
        for v in range(n):
            allowed[r, v] = gain[r, v] > 0 and not chosen[r, v] and fixed[base + v] != 2


@compiled
def private_members(
    first, pointer, neighbour, edge_weight, weight, fixed, graph, chosen, removable
):
    """Chosen vertices, not fixed in, that alone dominate some vertex."""
    count = np.zeros(removable.shape[1], np.int32)
    for r in range(len(graph)):
        base = first[graph[r]]
        n = first[graph[r] + 1] - base
        count[:] = 0
        for v in range(n):
            if chosen[r, v]:
                count[v] += 1
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    count[neighbour[e]] += 1
        for v in range(n):
            removable[r, v] = False
            if chosen[r, v] and fixed[base + v] != 1:
                alone = count[v] == 1
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    alone = alone or count[neighbour[e]] == 1
                removable[r, v] = alone


@compiled
def cut_gains(first, pointer, neighbour, edge_weight, weight, fixed, graph, chosen, allowed, gain):
    """gain: change of the cut when the vertex joins the chosen ones."""
    for r in range(len(graph)):
        base = first[graph[r]]
        n = first[graph[r] + 1] - base
        for v in range(n):
            total = 0.0
            for e in range(pointer[base + v], pointer[base + v + 1]):
                if chosen[r, neighbour[e]]:
                    total -= edge_weight[e]
                else:
                    total += edge_weight[e]
            gain[r, v] = total
            allowed[r, v] = not chosen[r, v] and fixed[base + v] != 2


@compiled
def cut_values(first, pointer, neighbour, edge_weight, weight, fixed, graph, chosen, value):
    """Weight of the edges between chosen and other vertices."""
    for r in range(len(graph)):
        base = first[graph[r]]
        n = first[graph[r] + 1] - base
        total = 0.0
        for v in range(n):
            if chosen[r, v]:
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    if not chosen[r, neighbour[e]]:
                        total += edge_weight[e]
        value[r] = total


@compiled
def set_weights(first, pointer, neighbour, edge_weight, weight, fixed, graph, chosen, value):
    """Sum of the weights of the chosen vertices."""
    for r in range(len(graph)):
        base = first[graph[r]]
        total = 0.0
        for v in range(first[graph[r] + 1] - base):
            if chosen[r, v]:
                total += weight[base + v]
        value[r] = total


@compiled
def residual_sizes(first, pointer, neighbour, graph, kept, needy, nodes, entries):
    """Nodes of each row's open problem, and entries of its adjacency: edges between kept vertices of which
    at least one is needy."""
    for r in range(len(graph)):
        base = first[graph[r]]
        nodes[r] = 0
        entries[r] = 0
        for v in range(first[graph[r] + 1] - base):
            if kept[r, v]:
                nodes[r] += 1
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    u = neighbour[e]
                    if kept[r, u] and (needy[r, v] or needy[r, u]):
                        entries[r] += 1


@compiled
def residual_graphs(
    first, pointer, neighbour, edge_weight, graph, kept, needy,
    row, vertex, out_pointer, out_neighbour, out_weight,
):  # fmt: skip
    """The open problems of all rows as one graph in compressed rows, nodes numbered through."""
    place = np.zeros(kept.shape[1], np.int32)
    node, entry = 0, 0
    out_pointer[0] = 0
    for r in range(len(graph)):
        base = first[graph[r]]
        n = first[graph[r] + 1] - base
        number = node
        for v in range(n):
            if kept[r, v]:
                place[v] = number
                number += 1
        for v in range(n):
            if kept[r, v]:
                row[node] = r
                vertex[node] = v
                for e in range(pointer[base + v], pointer[base + v + 1]):
                    u = neighbour[e]
                    if kept[r, u] and (needy[r, v] or needy[r, u]):
                        out_neighbour[entry] = place[u]
                        out_weight[entry] = edge_weight[e]
                        entry += 1
                node += 1
                out_pointer[node] = entry


@compiled
def sums_around(pointer, neighbour, x, total):
    """Sum of `x` over the neighbours of each node."""
    for v in range(len(x)):
        t = 0.0
        for e in range(pointer[v], pointer[v + 1]):
            t += x[neighbour[e]]
        total[v] = t


@compiled
def triangles(pointer, neighbour, total):
    """How many ordered pairs of adjacent neighbours each node has."""
    is_near = np.zeros(len(total), np.bool_)
    for v in range(len(total)):
        count = 0
        for e in range(pointer[v], pointer[v + 1]):
            is_near[neighbour[e]] = True
        for e in range(pointer[v], pointer[v + 1]):
            u = neighbour[e]
            for f in range(pointer[u], pointer[u + 1]):
                count += is_near[neighbour[f]]
        for e in range(pointer[v], pointer[v + 1]):
            is_near[neighbour[e]] = False
        total[v] = count


@compiled
def mean_field(pointer, neighbour, weight, gain, slope, n_rounds, lost):
    """Rounds of m_v <- m_v / 2 + sigmoid(slope (gain_v - lost_v)) / 2, m the chance that a node is chosen later
    on and lost_v = 2 sum_u w_uv m_u what its gain loses by that; from m = 1/2."""
    n = len(gain)
    chance = np.full(n, 0.5)
    for step in range(n_rounds + 1):
        for v in range(n):
            t = 0.0
            for e in range(pointer[v], pointer[v + 1]):
                t += weight[e] * chance[neighbour[e]]
            lost[v] = 2.0 * t
        if step < n_rounds:
            for v in range(n):
                chance[v] = 0.5 * chance[v] + 0.5 / (1.0 + np.exp(-slope * (gain[v] - lost[v])))


@compiled
def first_to_ring(rows, first, log_prob, clock, at):
    """For each state, whose row is `rows`, the choice whose clock rings first: clock / exp(log_prob), where
    `clock` has a draw of rate one for each choice of each state. Choices as in `policy.Choices`."""
    n_nodes, used = first[-1], 0
    stops = len(log_prob) > n_nodes
    for s in range(len(rows)):
        r = rows[s]
        best, best_key = -1, -np.inf
        for c in range(first[r], first[r + 1]):
            if log_prob[c] > -np.inf:
                key = log_prob[c] - np.log(clock[used])
                if key > best_key:
                    best, best_key = c, key
            used += 1
        if stops:
            key = log_prob[n_nodes + r] - np.log(clock[used])
            if key > best_key:
                best = n_nodes + r
            used += 1
        at[s] = best


@compiled
def state_hashes(graph, chosen, stopped, key):
    """A number for each row, equal for equal rows; different rows share one with odds of 2^-64 or so."""
    for r in range(len(graph)):
        total = np.uint64(graph[r]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(stopped[r])
        for v in range(chosen.shape[1]):
            if chosen[r, v]:
                x = np.uint64(v + 1) * np.uint64(0xBF58476D1CE4E5B9)
                x ^= x >> np.uint64(31)
                x *= np.uint64(0x94D049BB133111EB)
                x ^= x >> np.uint64(29)
                total += x * (x ^ np.uint64(0x2545F4914F6CDD1D))
        key[r] = np.int64(total)
