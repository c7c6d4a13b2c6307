"""Compiled search for the least unusual neutral choice of oxidation states."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def least_unusual(first_state, state, cost, kinds, counts, penalty, chosen):
    """Fill `chosen` with an oxidation state for each of `kinds` (ascending in electronegativity) such that the
    charges of `counts` atoms cancel, at the lowest sum of `cost` and of `penalty` for each pair in which
    the more electronegative one is positive and the other negative. False where no choice is neutral."""
    n = len(kinds)
    place = np.zeros(n, dtype=np.int64)
    best, found = np.inf, False
    while True:
        charge, total = 0, 0.0
        for i in range(n):
            own = first_state[kinds[i]] + place[i]
            charge += counts[i] * state[own]
            total += cost[own]
        if charge == 0 and total < best:
            for i in range(n):
                for j in range(i):
                    below = state[first_state[kinds[j]] + place[j]]
                    if below < 0 and state[first_state[kinds[i]] + place[i]] > 0:
                        total += penalty
            if total < best:
                best, found = total, True
                for i in range(n):
                    chosen[i] = state[first_state[kinds[i]] + place[i]]
        last = n - 1
        while last >= 0:
            place[last] += 1
            if first_state[kinds[last]] + place[last] < first_state[kinds[last] + 1]:
                break
            place[last] = 0
            last -= 1
        if last < 0:
            return found
