"""The space cells live in, fitted on chosen cells alone, and the way back to genes where it is linear.

    z = ((log-normalised x)[genes] - mean) @ loadings        HVG + PCA
    x = z @ loadings^T + mean                                 back to the same genes

A held-out time takes no part in the choice of genes, in the mean or in the loadings. A representation
of `obsm` is taken as it is: whether it was fitted on all times is the user's knowledge, so it is marked.
Genes are ranked by dispersion within bins of mean expression (Satija et al. 2015, as in scanpy's
"seurat" flavour), in fewer than its 20 bins where there are few genes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import psutil
import torch
from anndata import AnnData
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from domains.cells.snapshots import CellSnapshots, make_snapshots
from domains.cells.timecourse import Timecourse
from workbench.errors import InputError, nearest

Normalise = Literal["auto", "counts", "log", "none"]
LARGEST_LOG = 30.0
TARGET_SUM = 1e4
N_BINS = 20


@dataclass(frozen=True)
class RepresentationOptions:
    """How cells become points.

    use_rep        key of `obsm` to take as it is; None = genes and PCA
    layer          layer that holds expression; None = X
    normalise      counts: to 10,000 per cell, then log(1 + x); log: log(1 + x) alone; none: as it is;
                   auto: counts where values are whole numbers, none where no value is above 30, else
                   counts
    n_genes        variable genes kept
    n_components   principal components
    """

    use_rep: str | None = None
    layer: str | None = None
    normalise: Normalise = "auto"
    n_genes: int = 2000
    n_components: int = 5


@dataclass(frozen=True, eq=False)
class Representation:
    """A fitted map from expression to points.

    columns   [gene] columns of `var` used; empty for a key of obsm
    loadings  [gene, feature], orthonormal columns; None for a key of obsm
    leaks     a sentence where held-out times may have been seen in fitting it, else empty
    """

    name: str
    use_rep: str | None
    normalise: Normalise
    layer: str | None
    columns: np.ndarray
    mean: np.ndarray
    loadings: np.ndarray | None
    leaks: str = ""

    def points(self, data: AnnData, rows: np.ndarray) -> Float[Tensor, "cell feature"]:
        """The cells `rows` of `data` in this space."""
        if self.use_rep is not None:
            return torch.from_numpy(np.array(data.obsm[self.use_rep][rows], dtype=np.float32))
        assert self.loadings is not None
        values = log_expression(data, rows, self.columns, self.normalise, self.layer)
        return torch.from_numpy(((values - self.mean) @ self.loadings).astype(np.float32))

    def genes(self, points: Float[Tensor, "*batch feature"]) -> np.ndarray:
        """Points back in the space of `columns` [*batch, gene]. InputError where no map is linear."""
        if self.loadings is None:
            raise InputError(
                f"{self.name} has no linear map back to genes: leave out --use-rep to use PCA"
            )
        return points.cpu().numpy() @ self.loadings.T + self.mean

    def gene_velocity(self, velocity: Float[Tensor, "*batch feature"]) -> np.ndarray:
        """Velocities of points as velocities of `columns`: the loadings without the mean."""
        return self.genes(velocity) - self.mean


def fit_representation(
    course: Timecourse, options: RepresentationOptions, left_out: int | None = None
) -> Representation:
    """Fitted on the cells of all times but `left_out`. Raises InputError for a missing key or layer,
    values of which no logarithm can be taken, or too few genes."""
    data = course.data
    if options.use_rep is not None:
        return _given(data, options.use_rep)
    _check_layer(data, options.layer)
    rows = course.rows(left_out)
    kind = resolved_normalisation(data, options)
    every = np.arange(data.n_vars)
    _check_memory(len(rows), min(options.n_genes, data.n_vars))
    columns = every
    if data.n_vars > options.n_genes:
        columns = _variable_genes(data, rows, options, kind)
    values = log_expression(data, rows, columns, kind, options.layer)
    n_components = min(options.n_components, len(columns), len(rows) - 1)
    mean, loadings = _principal_components(values, n_components)
    name = f"{n_components} principal components of {len(columns):,} genes"
    return Representation(name, None, kind, options.layer, columns, mean, loadings)


def snapshots_of(
    course: Timecourse, representation: Representation, weights: np.ndarray | None = None
) -> CellSnapshots:
    """All times of `course` in this space. `weights` [cell], equal where None."""
    rows = [course.at(i) for i in range(course.n_times)]
    masses = None if weights is None else [torch.from_numpy(weights[r]).double() for r in rows]
    return make_snapshots(
        [representation.points(course.data, r) for r in rows],
        course.times.tolist(),
        course.time_unit,
        course.names,
        masses,
    )


def log_expression(
    data: AnnData,
    rows: np.ndarray,
    columns: np.ndarray,
    normalise: Normalise,
    layer: str | None = None,
) -> np.ndarray:
    """[cell, gene] float32. Sums for normalisation are over all genes of the file."""
    matrix = data.X if layer is None else data.layers[layer]
    block = matrix[rows]
    totals = np.asarray(block.sum(1), dtype=np.float64).ravel() if normalise == "counts" else None
    part = block[:, columns]
    values = np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=np.float32)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(1).sum())
        raise InputError(f"{bad} cells hold NaN or infinite expression: leave them out of the file")
    if normalise == "none":
        return values
    if (values < 0).any():
        raise InputError(
            "expression holds negative values, of which no logarithm is taken: give counts, or "
            "--normalise none for values that are logarithms already"
        )
    if totals is not None:
        values = values * (TARGET_SUM / np.maximum(totals, 1e-12))[:, None].astype(np.float32)
    return np.log1p(values)


def _given(data: AnnData, key: str) -> Representation:
    if key not in data.obsm:
        keys = [str(name) for name in data.obsm]
        there = ", ".join(keys) or "none"
        raise InputError(
            f'there is no representation "{key}" in obsm{nearest(key, keys)}: it has {there}'
        )
    n_features = np.asarray(data.obsm[key]).shape[1]
    leaks = f"{key} was given: fitted on all times, it has seen the held-out cells"
    empty = np.zeros(0, dtype=int)
    name = f"{key} ({n_features} features)"
    return Representation(name, key, "none", None, empty, np.zeros(0), None, leaks)


def _check_layer(data: AnnData, layer: str | None) -> None:
    if layer is None and data.X is None:
        raise InputError("the file has no X: name a layer with --layer, or a key with --use-rep")
    if layer is not None and layer not in data.layers:
        there = ", ".join(data.layers) or "none"
        raise InputError(
            f'there is no layer "{layer}"{nearest(layer, data.layers)}: it has {there}'
        )


def resolved_normalisation(data: AnnData, options: RepresentationOptions) -> Normalise:
    """`options.normalise`, with auto decided by the values. Raises InputError for values that hold NaN
    or are negative, of which no logarithm is taken."""
    if options.normalise != "auto":
        return options.normalise
    matrix: Any = data.X if options.layer is None else data.layers[options.layer]
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix)
    if values.size and not np.isfinite(values).all():
        raise InputError("expression holds NaN or infinity: leave those cells or genes out")
    if values.size and values.min() < 0:
        raise InputError(
            "expression holds negative values, of which no logarithm is taken: give counts, or "
            "--normalise none for values that are logarithms already"
        )
    whole = bool((values == np.round(values)).all())
    return "counts" if whole or values.max(initial=0) > LARGEST_LOG else "none"


def _check_memory(n_cells: int, n_genes: int) -> None:
    needed, free = 3 * 4 * n_cells * n_genes, psutil.virtual_memory().available
    if needed > free:
        fits = max(50, int(n_genes * free / needed))
        raise InputError(
            f"{n_cells:,} cells x {n_genes:,} genes need {needed / 2**30:.1f} GiB and "
            f"{free / 2**30:.1f} are free: give --n-genes {fits}, or a representation by --use-rep"
        )


def _variable_genes(
    data: AnnData, rows: np.ndarray, options: RepresentationOptions, kind: Normalise
) -> np.ndarray:
    """Columns of the genes with the largest dispersion for their mean, in the order of the file."""
    mean, variance = np.empty(data.n_vars), np.empty(data.n_vars)
    width = max(1, int(2**27 / max(1, len(rows))))
    for start in range(0, data.n_vars, width):
        part = np.arange(start, min(start + width, data.n_vars))
        values = np.expm1(log_expression(data, rows, part, kind, options.layer).clip(max=50.0))
        mean[part], variance[part] = (
            values.mean(0, dtype=np.float64),
            values.var(0, dtype=np.float64),
        )
    return np.sort(np.argsort(-scaled_dispersion(mean, variance), kind="stable")[: options.n_genes])


def scaled_dispersion(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """log(variance / mean) of each gene, standardised within bins of its mean; -inf where it is 0."""
    seen = (mean > 1e-12) & (variance > 0)
    score = np.full(len(mean), -np.inf)
    if not seen.any():
        return score
    log_mean, log_dispersion = np.log1p(mean[seen]), np.log(variance[seen] / mean[seen])
    n_bins = int(np.clip(len(log_mean) // N_BINS, 1, N_BINS))
    edges = np.linspace(log_mean.min(), log_mean.max() + 1e-9, n_bins + 1)
    bins = np.digitize(log_mean, edges) - 1
    scaled = np.empty_like(log_dispersion)
    for one in np.unique(bins):
        inside = bins == one
        values = log_dispersion[inside]
        # a bin with one gene has no spread: such a gene counts as one deviation above its like
        spread = values.std(ddof=1) if inside.sum() > 1 and np.ptp(values) > 0 else None
        scaled[inside] = 1.0 if spread is None else (values - values.mean()) / spread
    score[seen] = scaled
    return score


def _principal_components(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [gene] and orthonormal loadings [gene, n], the largest entry of each positive."""
    if n < 1:
        raise InputError("principal components need two or more cells and a gene that varies")
    mean = values.mean(0, dtype=np.float64)
    centred = values.astype(np.float64) - mean
    if len(centred) < centred.shape[1]:
        _, vectors = np.linalg.eigh(centred @ centred.T)
        loadings = centred.T @ vectors[:, ::-1][:, :n]
        loadings = np.linalg.qr(loadings)[0]
    else:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        loadings = vectors[:, ::-1][:, :n]
    signs = np.sign(loadings[np.abs(loadings).argmax(0), np.arange(loadings.shape[1])])
    return mean, loadings * signs
