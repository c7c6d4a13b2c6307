"""Networks from expression alone, without time: what a learned network must beat.

Spearman   |rank correlation| of regulator and target: it has no direction
trees      importances of the other genes in a random forest that predicts the target (GENIE3:
           Huynh-Thu et al. 2010)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

N_TREES = 100


def spearman_edges(cells: Float[np.ndarray, "cell gene"]) -> Float[np.ndarray, "source target"]:
    """Absolute rank correlations; zero for a gene that does not vary, and on the diagonal."""
    ranks = cells.argsort(0, kind="stable").argsort(0, kind="stable").astype(float)
    for gene in range(cells.shape[1]):  # equal values share their mean rank
        _, group = np.unique(cells[:, gene], return_inverse=True)
        means = np.bincount(group, ranks[:, gene]) / np.bincount(group)
        ranks[:, gene] = means[group]
    centred = ranks - ranks.mean(0)
    size = np.sqrt((centred**2).sum(0))
    edges = np.abs(centred.T @ centred) / np.maximum(np.outer(size, size), 1e-12)
    np.fill_diagonal(edges, 0.0)
    return edges


def tree_edges(
    cells: Float[np.ndarray, "cell gene"], seed: int
) -> Float[np.ndarray, "source target"]:
    """Importances of a random forest per target, columns summing to one."""
    from sklearn.ensemble import RandomForestRegressor

    n = cells.shape[1]
    edges = np.zeros((n, n))
    for target in range(n):
        others = [gene for gene in range(n) if gene != target]
        forest = RandomForestRegressor(N_TREES, max_features="sqrt", random_state=seed, n_jobs=1)
        fitted = forest.fit(cells[:, others], cells[:, target])
        edges[others, target] = fitted.feature_importances_
    return edges
