"""How far predicted cells are from observed ones.

    W_p     ( min_plan sum_ij plan_ij |x_i - y_j|^p )^(1/p), Euclidean, exact plan (POT), rooted
    MMD     ( E k(x,x') + E k(y,y') - 2 E k(x,y) )^(1/2), unbiased and cut at zero, Gaussian kernels of
            1/2, 1 and 2 times the median distance within the observed cells
    PQMass  p-value of counts in random Voronoi cells (Lemos et al. 2024, arXiv 2402.04355)

The split-half floor of a distance is what it reads between two disjoint random parts of the observed
cells, each of the size under test.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError

Metric = Callable[[Tensor, Tensor], float]
MOST_ITERATIONS = 5_000_000
PQM_REGIONS = 30
PQM_REPEATS = 20


def wasserstein(
    a: Float[Tensor, "n feature"],
    b: Float[Tensor, "m feature"],
    order: int = 1,
    weights_a: Float[Tensor, "n"] | None = None,
    weights_b: Float[Tensor, "m"] | None = None,
) -> float:
    """Exact W_order, rooted. Raises InputError where the plan was not solved to the end."""
    import ot

    x, y = a.detach().double().numpy(), b.detach().double().numpy()
    mass_a = np.full(len(x), 1 / len(x)) if weights_a is None else _normal(weights_a)
    mass_b = np.full(len(y), 1 / len(y)) if weights_b is None else _normal(weights_b)
    cost = ot.dist(x, y, metric="euclidean") ** order
    value, log = ot.emd2(mass_a, mass_b, cost, numItermax=MOST_ITERATIONS, log=True)
    if log["warning"]:
        raise InputError(
            f"the exact plan of {len(x)} x {len(y)} cells was not solved ({log['warning']}): compare "
            "fewer cells"
        )
    return float(max(value, 0.0) ** (1 / order))


def w1(a: Float[Tensor, "n feature"], b: Float[Tensor, "m feature"]) -> float:
    return wasserstein(a, b, 1)


def w2(a: Float[Tensor, "n feature"], b: Float[Tensor, "m feature"]) -> float:
    return wasserstein(a, b, 2)


def mmd(a: Float[Tensor, "n feature"], observed: Float[Tensor, "m feature"]) -> float:
    """Rooted; zero where the unbiased estimate of the square is below zero."""
    x, y = a.detach().double(), observed.detach().double()
    yy = torch.cdist(y, y)
    upper = torch.triu_indices(len(y), len(y), offset=1)
    median = float(yy[upper[0], upper[1]].median())
    if median <= 0:
        raise InputError("more than half of the observed cells are equal: no kernel has a width")
    xx, xy = torch.cdist(x, x), torch.cdist(x, y)
    total = 0.0
    for factor in (0.5, 1.0, 2.0):
        width = 2 * (factor * median) ** 2
        total += _off_diagonal_mean((-xx.square() / width).exp())
        total += _off_diagonal_mean((-yy.square() / width).exp())
        total -= 2 * float((-xy.square() / width).exp().mean())
    return max(total / 3, 0.0) ** 0.5


def pqmass(
    a: Float[Tensor, "n feature"], observed: Float[Tensor, "m feature"], seed: int = 0
) -> float:
    """Mean p-value that both sets follow one law; about 1/2 where they do."""
    from pqm import pqm_pvalue

    # the library draws its regions from NumPy's global generator, which is put back afterwards
    before = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(seed)  # noqa: NPY002
        regions = min(PQM_REGIONS, max(3, min(len(a), len(observed)) // 4))
        # and draws a bar on standard error
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            values = pqm_pvalue(
                a.detach().double().numpy(),
                observed.detach().double().numpy(),
                num_refs=regions,
                re_tessellation=PQM_REPEATS,
            )
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return float(np.mean(values))


def correlation_and_slope(
    found: Float[Tensor, "cell"], truth: Float[Tensor, "cell"]
) -> tuple[float, float]:
    """Pearson correlation, and the slope of `found` on `truth`; for growth rates per cell."""
    x, y = truth.double() - truth.double().mean(), found.double() - found.double().mean()
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if xx <= 0:
        raise InputError("the true values are all equal: nothing correlates with them")
    return (xy / (xx * yy) ** 0.5 if yy > 0 else 0.0), xy / xx


def _normal(weights: Tensor) -> np.ndarray:
    values = weights.detach().double().numpy()
    return values / values.sum()


def _off_diagonal_mean(kernel: Tensor) -> float:
    n = len(kernel)
    return float((kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1)))
