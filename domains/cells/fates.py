"""Fate probabilities: where the stochastic paths of a cell end.

    P(population | cell) = mean over paths of the share of that population among the nearest observed
                           cells of the last time

The populations of the last time are given as labels, or are k-means clusters with the best silhouette.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError

NEIGHBOURS = 15
MOST_CLUSTERS = 5
MOST_CLUSTERED = 3000


@dataclass(frozen=True, eq=False)
class Populations:
    """names [population], and the number of each observed cell's own [cell]."""

    names: tuple[str, ...]
    member: np.ndarray
    source: str


def labelled(labels: Sequence[str] | np.ndarray, source: str) -> Populations:
    """Populations by label."""
    names, member = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    return Populations(tuple(str(name) for name in names), member, source)


def clustered(cells: Float[Tensor, "cell feature"], seed: int = 0) -> Populations:
    """k-means clusters, 2 to 5 of them, by silhouette."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    points = cells.double().numpy()
    if len(points) < 4:
        raise InputError(
            f"{len(points)} cells at the last time cannot be clustered: name --fates.key"
        )
    rows = np.arange(len(points))
    if len(rows) > MOST_CLUSTERED:
        rows = np.random.default_rng(seed).choice(rows, MOST_CLUSTERED, replace=False)
    best, chosen = -2.0, None
    for k in range(2, min(MOST_CLUSTERS, len(points) - 1) + 1):
        fitted = KMeans(k, n_init=5, random_state=seed).fit(points[rows])
        if len(np.unique(fitted.labels_)) < 2:
            continue
        score = float(silhouette_score(points[rows], fitted.labels_))
        if score > best:
            best, chosen = score, fitted
    if chosen is None:
        raise InputError("the cells of the last time are all at one place: there are no fates")
    names = tuple(f"cluster {i + 1}" for i in range(chosen.n_clusters))
    source = f"{chosen.n_clusters} k-means clusters of the last time, silhouette {best:.2f}"
    return Populations(names, chosen.predict(points), source)


def fate_probabilities(
    ends: Float[Tensor, "path cell feature"],
    last: Float[Tensor, "last feature"],
    populations: Populations,
) -> Float[Tensor, "cell population"]:
    """Rows sum to one."""
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBOURS, len(last))
    search = NearestNeighbors(n_neighbors=k).fit(last.numpy())
    n_paths, n_cells, dim = ends.shape
    found = search.kneighbors(ends.reshape(-1, dim).numpy(), return_distance=False)
    share = np.eye(len(populations.names))[populations.member[found]].mean(1)
    return torch.from_numpy(share.reshape(n_paths, n_cells, -1).mean(0))
