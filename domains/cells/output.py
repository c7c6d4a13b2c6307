"""What is written: AnnData files that scanpy, scvelo and cellrank read as they are.

cells.h5ad         the observed cells: obsm['X_latent'], obsm['X_velocity_latent'] and its deviation over the
                   ensemble, layers['velocity'] and layers['Ms'] where genes can be reached, neighbours
trajectories.h5ad  simulated paths, a row per path and time: obs['trajectory'], obs['time']
imputed.h5ad       cells at times that were not seen, with their deviation
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from domains.cells.representation import Representation
from domains.cells.timecourse import Timecourse
from workbench.bridge.couplings.plan import Plan

LATENT, VELOCITY = "X_latent", "X_velocity_latent"
NEIGHBOURS = 30


def cells_file(
    course: Timecourse,
    space: Representation,
    points: Float[Tensor, "cell feature"],
    velocity: Float[Tensor, "cell feature"],
    deviation: Float[Tensor, "cell feature"],
    about: Mapping[str, Any],
) -> AnnData:
    """The observed cells with their velocities per time unit. Where genes can be reached the file is cut
    to the genes used: `velocity` and `Ms` (expression in the same space) are full matrices."""
    data = course.data.copy()
    if space.loadings is not None:
        data = data[:, space.columns].copy()
        data.layers["velocity"] = space.gene_velocity(velocity).astype(np.float32)
        data.layers["Ms"] = space.genes(points).astype(np.float32)
        data.var["velocity_genes"] = True
        data.obsm["X_pca"] = points.numpy()
        data.varm["PCs"] = space.loadings
    data.obsm[LATENT] = points.numpy()
    data.obsm[VELOCITY] = velocity.numpy()
    data.obsm[f"{VELOCITY}_std"] = deviation.numpy()
    add_neighbours(data, points.numpy())
    data.uns["workbench"] = dict(about)
    return data


def add_neighbours(data: AnnData, points: np.ndarray) -> None:
    """The k nearest cells as scanpy stores them; connectivities are Gaussians of each cell's own width,
    made symmetric."""
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBOURS, len(points) - 1)
    search = NearestNeighbors(n_neighbors=k + 1).fit(points)
    distance, index = search.kneighbors(points)
    distance, index = distance[:, 1:], index[:, 1:]
    width = np.maximum(np.median(distance, axis=1, keepdims=True), 1e-12)
    weight = np.exp(-((distance / width) ** 2))
    rows = np.repeat(np.arange(len(points)), k)
    shape = (len(points), len(points))
    distances = sparse.csr_matrix((distance.ravel(), (rows, index.ravel())), shape=shape)
    near = sparse.csr_matrix((weight.ravel(), (rows, index.ravel())), shape=shape)
    data.obsp["distances"] = distances
    data.obsp["connectivities"] = near.maximum(near.T).tocsr()
    data.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {
            "n_neighbors": k + 1,
            "method": "gauss",
            "metric": "euclidean",
            "use_rep": LATENT,
        },
    }


def points_file(
    space: Representation,
    genes: pd.Index,
    points: Float[Tensor, "row feature"],
    obs: pd.DataFrame,
    about: Mapping[str, Any],
    deviation: Float[Tensor, "row feature"] | None = None,
) -> AnnData:
    """Simulated cells: expression of the genes used in X where they can be reached, else the latent.
    `deviation` is per cell, in obsm['X_latent_std'] and, for genes, in layers['std']."""
    obs = obs.set_axis([f"row{i}" for i in range(len(obs))], axis=0)
    if space.loadings is not None:
        values, var = space.genes(points), pd.DataFrame(index=genes[space.columns])
    else:
        values = points.numpy()
        var = pd.DataFrame(index=[f"feature{i}" for i in range(points.shape[1])])
    data = AnnData(values.astype(np.float32), obs=obs, var=var)
    data.obsm[LATENT] = points.numpy()
    if deviation is not None:
        data.obsm[f"{LATENT}_std"] = deviation.numpy()
        if space.loadings is not None:
            # independent deviations of the features
            spread = np.sqrt(deviation.numpy() ** 2 @ (space.loadings**2).T)
            data.layers["std"] = spread.astype(np.float32)
        else:
            data.layers["std"] = deviation.numpy()
    data.uns["workbench"] = dict(about)
    return data


def add_couplings(data: AnnData, course: Timecourse, plans: list[Plan]) -> None:
    """The plans as obsp['coupling']: mass from the row's cell to the column's, at the next time."""
    rows, columns, masses = [], [], []
    for k, plan in enumerate(plans):
        rows.append(course.at(k)[plan.source.numpy()])
        columns.append(course.at(k + 1)[plan.target.numpy()])
        masses.append(plan.mass.numpy())
    place = (np.concatenate(rows), np.concatenate(columns))
    shape = (data.n_obs, data.n_obs)
    data.obsp["coupling"] = sparse.csr_matrix((np.concatenate(masses), place), shape=shape)
