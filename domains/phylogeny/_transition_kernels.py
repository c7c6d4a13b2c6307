"""Compiled transition matrices of all edges of a batch of trees, for each rate category.

    P(rho t) = 1 + right (exp(eigenvalues rho t) - 1) left

The difference form keeps the relative precision of the small entries at short lengths.
"""

from __future__ import annotations

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")


@compiled
def transition_matrices(lengths, rates, right, eigenvalues, left, matrices):
    """Fills matrices [tree, category, edge, 16] (entry 4 from + to) for lengths [tree, edge]."""
    n_trees, n_edges = lengths.shape
    weight = np.empty(4)
    for tree in range(n_trees):
        for v in range(n_edges):
            for c in range(len(rates)):
                for k in range(4):
                    weight[k] = np.expm1(eigenvalues[k] * rates[c] * lengths[tree, v])
                for i in range(4):
                    for j in range(4):
                        total = 1.0 if i == j else 0.0
                        for k in range(4):
                            total += right[i, k] * weight[k] * left[k, j]
                        # Rounding may leave a tiny probability just below zero.
                        matrices[tree, c, v, 4 * i + j] = max(total, 0.0)


@compiled
def equal_matrices(lengths, rates, matrices):
    """The same for JC69, in closed form: entry 0 is that of staying, entry 1 any other; no more are
    filled."""
    n_trees, n_edges = lengths.shape
    for tree in range(n_trees):
        for v in range(n_edges):
            for c in range(len(rates)):
                other = -0.25 * np.expm1(-(4.0 / 3.0) * rates[c] * lengths[tree, v])
                matrices[tree, c, v, 0] = 1.0 - 3.0 * other
                matrices[tree, c, v, 1] = other
