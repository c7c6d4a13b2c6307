"""Compiled searches that go on from a local optimum: moves that may lose, and a memory against going round.

    chunk(pointer, neighbour, edge_weight, weight, fixed, draws, now, record, chosen, best, memory) -> record

makes one step for each row of `draws` [step, 2], uniform numbers. `chosen` [vertex] goes on from chunk to
chunk, `best` keeps the set of the record (its weight, or minus that where it is minimised), `memory`
[3, vertex] what is remembered of each vertex, zero at first; `now` counts the steps before. Arrays of a
graph as in `_greedy_kernels`. Nothing is random here.

    independent  adds a vertex, swaps one for its only chosen neighbour, or drops one, whatever changes the
                 weight best; who leaves may not come back for some steps. Wu, Hao and Glover,
                 "Multi-neighborhood tabu search for the maximum weight clique problem" (2012)
    dominating   drops members until something is not dominated, then adds what dominates most of it, where
                 vertices weigh more the longer they are left over. Gao, Weise and Li, "An efficient local
                 search heuristic with row weighting for the unicost set covering problem" (2015)
    cut          the best vertex changes sides and may not for some steps. Kochenberger et al., "Solving
                 large scale max cut problems via tabu search" (2013)
"""

from __future__ import annotations

import numpy as np

from domains.graphs._search_kernels import SMALLEST_GAIN, compiled, flip, flip_gains

SHORTEST_TENURE = 7  # of a vertex that left an independent set
LONGEST_TENURE = 10  # of a flip, drawn from 1 on and added to a fiftieth of the vertices
_UNTIL, _CHANGED, _PENALTY = 0, 1, 2  # rows of the memory


@compiled
def _copied(chosen, best):
    for v in range(len(chosen)):
        best[v] = chosen[v]


@compiled
def _enters(v, by, pointer, neighbour, chosen, tight, held):
    """A vertex enters (by = 1) or leaves (by = -1); `tight` counts chosen neighbours, `held` sums their
    numbers: where there is one, it is that."""
    chosen[v] = by > 0
    for e in range(pointer[v], pointer[v + 1]):
        tight[neighbour[e]] += by
        held[neighbour[e]] += by * v


@compiled
def _best_move(first, step, weight, fixed, chosen, tight, held, until):
    """The move (vertex that enters or -1, vertex that leaves or -1) of the largest gain, of equal ones the next
    from vertex `first` on, and the number of swaps there are."""
    n = len(weight)
    enters, leaves, best_gain, n_swaps = -1, -1, -np.inf, 0
    for k in range(n):
        v = first + k
        v = v - n if v >= n else v
        if fixed[v] != 0:
            continue
        if chosen[v]:
            if -weight[v] > best_gain:
                enters, leaves, best_gain = -1, v, -weight[v]
        elif tight[v] == 0:
            if weight[v] > best_gain and until[v] <= step:
                enters, leaves, best_gain = v, -1, weight[v]
        elif tight[v] == 1 and fixed[held[v]] == 0:
            n_swaps += 1
            gain = weight[v] - weight[held[v]]
            if gain > best_gain and until[v] <= step:
                enters, leaves, best_gain = v, held[v], gain
    return enters, leaves, n_swaps


@compiled
def independent(
    pointer, neighbour, edge_weight, weight, fixed, draws, now, record, chosen, best, memory
):
    n = len(weight)
    tight, held = np.zeros(n, np.int64), np.zeros(n, np.int64)
    total = 0.0
    for v in range(n):
        if chosen[v]:
            total += weight[v]
            _enters(v, 1, pointer, neighbour, chosen, tight, held)
    until = memory[_UNTIL]
    for step in range(len(draws)):
        first = int(draws[step, 0] * n)
        enters, leaves, n_swaps = _best_move(
            first, now + step, weight, fixed, chosen, tight, held, until
        )
        if leaves >= 0:
            total -= weight[leaves]
            _enters(leaves, -1, pointer, neighbour, chosen, tight, held)
            longer = 0 if enters < 0 else int(draws[step, 1] * n_swaps)
            until[leaves] = now + step + 1 + SHORTEST_TENURE + longer
        if enters >= 0:
            total += weight[enters]
            _enters(enters, 1, pointer, neighbour, chosen, tight, held)
        if total > record + SMALLEST_GAIN:
            record = total
            _copied(chosen, best)
    return record


@compiled
def _covers(v, by, pointer, neighbour, chosen, count, held, score, penalty, left):
    """A member comes (by = 1) or goes (by = -1). `count` of those that dominate a vertex, `held` the sum of
    their numbers; `score` of a member is the penalty of what it alone dominates, of another vertex that of
    what it would newly dominate. `left` [0] counts what nothing dominates."""
    chosen[v] = by > 0
    for k in range(pointer[v] - 1, pointer[v + 1]):
        u = v if k < pointer[v] else neighbour[k]
        before = count[u]
        count[u] += by
        if before + by == 0 or before == 0:  # of u's neighbourhood, all others gain or lose it
            left[0] -= by
            score[u] -= by * penalty[u]
            for e in range(pointer[u], pointer[u + 1]):
                score[neighbour[e]] -= by * penalty[u]
            score[v] += by * penalty[u]
            held[u] += by * v
        else:
            other = held[u]
            held[u] += by * v
            if by > 0 and before == 1:
                score[other] -= penalty[u]
            elif by < 0 and before == 2:
                score[held[u]] += penalty[u]


@compiled
def _least_needed(weight, fixed, chosen, score, changed, newest):
    """The member whose going leaves least per weight, the oldest of equal ones; none that came at or after step
    `newest`."""
    worst, worst_ratio = -1, np.inf
    for v in range(len(weight)):
        if chosen[v] and fixed[v] == 0 and changed[v] < newest:
            ratio = score[v] / weight[v]
            if ratio < worst_ratio or (ratio == worst_ratio and changed[v] < changed[worst]):
                worst, worst_ratio = v, ratio
    return worst


@compiled
def _most_wanted(u, pointer, neighbour, weight, fixed, score, changed, frozen):
    """The vertex that dominates u and most beside it per weight, the oldest of equal ones; one that left and
    saw no change since only where there is no other."""
    found, found_ratio, found_free = -1, -1.0, False
    for k in range(pointer[u] - 1, pointer[u + 1]):
        v = u if k < pointer[u] else neighbour[k]
        if fixed[v] != 0:
            continue
        free = frozen[v] == 0
        ratio = score[v] / weight[v]
        better = ratio > found_ratio or (ratio == found_ratio and changed[v] < changed[found])
        if (free and not found_free) or (free == found_free and better):
            found, found_ratio, found_free = v, ratio, free
    return found


@compiled
def _thaw(v, pointer, neighbour, frozen):
    """Vertices within two steps of one that changed may come back."""
    for k in range(pointer[v] - 1, pointer[v + 1]):
        u = v if k < pointer[v] else neighbour[k]
        frozen[u] = 0
        for e in range(pointer[u], pointer[u + 1]):
            frozen[neighbour[e]] = 0


@compiled
def _nth_left(place, count):
    """A vertex that nothing dominates, the next from a place on."""
    n = len(count)
    for k in range(n):
        u = place + k
        u = u - n if u >= n else u
        if count[u] == 0:
            return u
    return -1


@compiled
def _dominated(pointer, neighbour, weight, chosen, count, held, score, penalty, left):
    """Fills counts and scores from `chosen`; returns its weight."""
    n = len(weight)
    total = 0.0
    left[0] = n
    for v in range(n):
        score[v] = penalty[v]
        for e in range(pointer[v], pointer[v + 1]):
            score[v] += penalty[neighbour[e]]
    for v in range(n):
        if chosen[v]:
            total += weight[v]
            _covers(v, 1, pointer, neighbour, chosen, count, held, score, penalty, left)
    return total


@compiled
def dominating(
    pointer, neighbour, edge_weight, weight, fixed, draws, now, record, chosen, best, memory
):
    n = len(weight)
    frozen, changed, penalty = memory[_UNTIL], memory[_CHANGED], memory[_PENALTY]
    if now == 0:
        penalty[:] = 1.0
    count, held, left = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(1, np.int64)
    score = np.empty(n)
    total = _dominated(pointer, neighbour, weight, chosen, count, held, score, penalty, left)
    for step in range(len(draws)):
        time = now + step + 2
        while True:  # until something is left over, and then one more
            full = left[0] == 0
            newest = np.inf if full else time - 1.0
            v = _least_needed(weight, fixed, chosen, score, changed, newest)
            if v < 0:
                break
            total -= weight[v]
            _covers(v, -1, pointer, neighbour, chosen, count, held, score, penalty, left)
            _thaw(v, pointer, neighbour, frozen)
            frozen[v], changed[v] = 1, time
            if not full:
                break
        while left[0] > 0:
            u = _nth_left(int(draws[step, 0] * n), count)
            v = _most_wanted(u, pointer, neighbour, weight, fixed, score, changed, frozen)
            if v < 0 or -(total + weight[v]) < record + SMALLEST_GAIN:
                break
            total += weight[v]
            _covers(v, 1, pointer, neighbour, chosen, count, held, score, penalty, left)
            _thaw(v, pointer, neighbour, frozen)
            changed[v] = time
        if left[0] == 0 and -total > record + SMALLEST_GAIN:
            record = -total
            _copied(chosen, best)
        for u in range(n if left[0] > 0 else 0):
            if count[u] == 0:
                penalty[u] += 1.0
                score[u] += 1.0
                for e in range(pointer[u], pointer[u + 1]):
                    score[neighbour[e]] += 1.0
    return record


@compiled
def cut(pointer, neighbour, edge_weight, weight, fixed, draws, now, record, chosen, best, memory):
    """A vertex whose move gives a new record may always move."""
    n = len(fixed)
    gain, until = np.empty(n), memory[_UNTIL]
    flip_gains(pointer, neighbour, edge_weight, chosen, gain)
    total = 0.0
    for v in range(n):
        for e in range(pointer[v], pointer[v + 1]):
            if chosen[v] and not chosen[neighbour[e]]:
                total += edge_weight[e]
    for step in range(len(draws)):
        first = int(draws[step, 0] * n)
        top = -1
        for k in range(n):
            v = first + k
            v = v - n if v >= n else v
            if fixed[v] > 0:
                continue
            allowed = until[v] <= now + step or total + gain[v] > record + SMALLEST_GAIN
            if allowed and (top < 0 or gain[v] > gain[top]):
                top = v
        if top < 0:
            continue
        total += gain[top]
        flip(top, pointer, neighbour, edge_weight, chosen, gain)
        tenure = n // 50 + 1 + int(draws[step, 1] * LONGEST_TENURE)
        until[top] = now + step + 1 + tenure
        if total > record + SMALLEST_GAIN:
            record = total
            _copied(chosen, best)
    return record
