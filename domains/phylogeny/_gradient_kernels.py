"""Compiled gradients of log-likelihoods in the branch lengths: a pass up the tree and one down.

    M_v = P_v L_v,  L_v = prod of the M of v's children            messages, from the tips up
    U_c(x) = sum_s P_c(x, s) U_v(s) M_d(s),  d sibling of c        from the root down (reversible model)
    dL/dt_c = rho sum_s pi_s U_v(s) M_d(s) (Q M_c)(s)

At the root U is the pattern's weight divided by its likelihood, so that derivatives are those of log L, and
no U underflows. Layout, blocks and lifts out of underflow as in `_likelihood_kernels`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

from domains.phylogeny._likelihood_kernels import (
    FAST,
    LANES,
    SMALL,
    add_lifts,
    apply,
    apply_equal,
    lift,
    mix,
    project,
    smallest,
    weighted_log,
)

# Not cached by themselves: see `_compiled`.
inner = numba.njit(nogil=True, fastmath=FAST, error_model="numpy")


@inner
def _join_equal(a, b, stay, other, out):
    """JC69: out = P (a * b)."""
    keep = stay - other
    for p in range(LANES):
        x0, x1 = a[p] * b[p], a[p + LANES] * b[p + LANES]
        x2, x3 = a[p + 2 * LANES] * b[p + 2 * LANES], a[p + 3 * LANES] * b[p + 3 * LANES]
        base = other * ((x0 + x1) + (x2 + x3))
        out[p] = keep * x0 + base
        out[p + LANES] = keep * x1 + base
        out[p + 2 * LANES] = keep * x2 + base
        out[p + 3 * LANES] = keep * x3 + base


@inner
def _join(a, b, matrix, out):
    """out = P (a * b)."""
    m00, m01, m02, m03 = matrix[0], matrix[1], matrix[2], matrix[3]
    m10, m11, m12, m13 = matrix[4], matrix[5], matrix[6], matrix[7]
    m20, m21, m22, m23 = matrix[8], matrix[9], matrix[10], matrix[11]
    m30, m31, m32, m33 = matrix[12], matrix[13], matrix[14], matrix[15]
    for p in range(LANES):
        x0, x1 = a[p] * b[p], a[p + LANES] * b[p + LANES]
        x2, x3 = a[p + 2 * LANES] * b[p + 2 * LANES], a[p + 3 * LANES] * b[p + 3 * LANES]
        out[p] = m00 * x0 + m01 * x1 + m02 * x2 + m03 * x3
        out[p + LANES] = m10 * x0 + m11 * x1 + m12 * x2 + m13 * x3
        out[p + 2 * LANES] = m20 * x0 + m21 * x1 + m22 * x2 + m23 * x3
        out[p + 3 * LANES] = m30 * x0 + m31 * x1 + m32 * x2 + m33 * x3


@inner
def _slopes_equal(u, a, b):
    """JC69: sums over states and patterns of pi u b (Q a) and of pi u a (Q b)."""
    slope_a, slope_b = 0.0, 0.0
    for p in range(LANES):
        u0, u1, u2, u3 = u[p], u[p + LANES], u[p + 2 * LANES], u[p + 3 * LANES]
        a0, a1, a2, a3 = a[p], a[p + LANES], a[p + 2 * LANES], a[p + 3 * LANES]
        b0, b1, b2, b3 = b[p], b[p + LANES], b[p + 2 * LANES], b[p + 3 * LANES]
        x0, x1, x2, x3 = u0 * a0, u1 * a1, u2 * a2, u3 * a3
        both = 4.0 * ((x0 * b0 + x1 * b1) + (x2 * b2 + x3 * b3))
        rest = (u0 * b0 + u1 * b1) + (u2 * b2 + u3 * b3)
        slope_a += ((a0 + a1) + (a2 + a3)) * rest - both
        slope_b += ((b0 + b1) + (b2 + b3)) * ((x0 + x1) + (x2 + x3)) - both
    return slope_a / 12.0, slope_b / 12.0


@inner
def _slope(u, a, b, flux):
    """Sum over states and patterns of u b (flux a), with flux = diag(pi) Q, symmetric."""
    f00, f01, f02, f03, f11 = flux[0], flux[1], flux[2], flux[3], flux[5]
    f12, f13, f22, f23, f33 = flux[6], flux[7], flux[10], flux[11], flux[15]
    slope = 0.0
    for p in range(LANES):
        a0, a1, a2, a3 = a[p], a[p + LANES], a[p + 2 * LANES], a[p + 3 * LANES]
        x0 = u[p] * b[p] * (f00 * a0 + f01 * a1 + f02 * a2 + f03 * a3)
        x1 = u[p + LANES] * b[p + LANES] * (f01 * a0 + f11 * a1 + f12 * a2 + f13 * a3)
        x2 = u[p + 2 * LANES] * b[p + 2 * LANES] * (f02 * a0 + f12 * a1 + f22 * a2 + f23 * a3)
        x3 = u[p + 3 * LANES] * b[p + 3 * LANES] * (f03 * a0 + f13 * a1 + f23 * a2 + f33 * a3)
        slope += (x0 + x1) + (x2 + x3)
    return slope


@inner
def _product(a, b, out):
    for p in range(4 * LANES):
        out[p] = a[p] * b[p]


@inner
def _messages(children, matrices, equal, tips, messages, root, bound, scratch, lifts, n_lifts):
    """messages [edge, 4 LANES] = P_v L_v of every edge, root [4 LANES] = the root's partials.

    lifts [internal, LANES + 1]: the factors that a node's partials were multiplied by, and in the last
    place whether there were any. Returns whether there were any checks."""
    n = len(tips)
    checked = False
    n_lifts[:] = 0.0
    bound[:n] = 1.0
    for v in range(n):
        if equal:
            apply_equal(tips[v], matrices[v, 0], matrices[v, 1], messages[v])
        else:
            apply(tips[v], matrices[v], messages[v])
    for k in range(n - 1):
        v, i, j = n + k, children[k, 0], children[k, 1]
        low = smallest(matrices[i], equal) * bound[i] * (smallest(matrices[j], equal) * bound[j])
        lifts[k, LANES] = 0.0
        if k < n - 2 and low >= SMALL:
            if equal:
                _join_equal(messages[i], messages[j], matrices[v, 0], matrices[v, 1], messages[v])
            else:
                _join(messages[i], messages[j], matrices[v], messages[v])
        else:
            row = root if k == n - 2 else scratch[0]
            _product(messages[i], messages[j], row)
            if low < SMALL:
                low = lift(row, lifts[k])
                lifts[k, LANES] = add_lifts(lifts[k], n_lifts)
                checked = True
            if k < n - 2 and equal:
                apply_equal(row, matrices[v, 0], matrices[v, 1], messages[v])
            elif k < n - 2:
                apply(row, matrices[v], messages[v])
        bound[v] = low
    return checked


@inner
def _descend(children, matrices, equal, flux, rate, messages, lifts, upper, gradient):
    """Adds one category's share to gradient [edge]; upper [internal, 4 LANES] holds the root's row."""
    n = len(children) + 1
    for k in range(n - 2, -1, -1):
        i, j = children[k, 0], children[k, 1]
        row = upper[k]
        if lifts[k, LANES] > 0.0:
            for p in range(4 * LANES):
                row[p] *= lifts[k, p % LANES]
        if equal:
            slope_i, slope_j = _slopes_equal(row, messages[i], messages[j])
        else:
            slope_i = _slope(row, messages[i], messages[j], flux)
            slope_j = _slope(row, messages[j], messages[i], flux)
        gradient[i] += rate * slope_i
        gradient[j] += rate * slope_j
        for v, other in ((i, j), (j, i)):
            if v >= n and equal:
                _join_equal(row, messages[other], matrices[v, 0], matrices[v, 1], upper[v - n])
            elif v >= n:
                _join(row, messages[other], matrices[v], upper[v - n])


@inner
def _start_descent(weights, category_weight, mixed, n_lifts, row):
    """row [4 LANES] = site weight * category weight / site likelihood, the same for all states."""
    for p in range(LANES):
        share = weights[p] * category_weight / mixed[0, p]
        extra = n_lifts[p] - mixed[1, p]
        if extra > 0.0:
            share *= SMALL**extra
        for s in range(4):
            row[p + s * LANES] = share


def _kernel_sources_digest() -> int:
    """A number that changes when either kernel file does."""
    digest = hashlib.sha256()
    for name in ("_likelihood_kernels.py", "_gradient_kernels.py"):
        digest.update((Path(__file__).parent / name).read_bytes())
    return int.from_bytes(digest.digest()[:4], "big")


def _compiled(sources_digest: int) -> Callable[..., int]:
    """The compiled loop over blocks and trees.

    Numba's disk cache notices a change of this file only, not of the kernels that are called from
    here; the digest in the closure is part of the cache key, so no stale code is run.
    """

    @numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
    def evaluate(children, matrices, equal, tips, weights, invariant, model, out, gradients):
        """As `log_likelihoods`, and adds to gradients [tree, edge] the derivatives in the lengths.

        model = (frequencies [4], category weights, category rates, diag(frequencies) Q [16])."""
        frequencies, category_weights, rates, flux = model
        n_blocks, n = tips.shape[0], tips.shape[1]
        n_categories = len(category_weights)
        messages = np.empty((n_categories, 2 * n - 2, 4 * LANES))
        lifts = np.empty((n_categories, n - 1, LANES + 1))
        upper = np.empty((n - 1, 4 * LANES))
        root = np.empty(4 * LANES)
        bound = np.empty(2 * n - 1)
        scratch = np.empty((2, 4 * LANES))
        sites = np.empty((n_categories, LANES))
        n_lifts = np.zeros((n_categories, LANES))
        mixed = np.empty((3, LANES))
        for block in range(n_blocks):
            for tree in range(len(children)):
                checked = False
                for c in range(n_categories):
                    checked |= _messages(
                        children[tree],
                        matrices[tree, c],
                        equal,
                        tips[block],
                        messages[c],
                        root,
                        bound,
                        scratch,
                        lifts[c],
                        n_lifts[c],
                    )
                    project(root, frequencies, sites[c])
                mix(sites, n_lifts, checked, category_weights, invariant[block], mixed)
                out[tree] += weighted_log(weights[block], mixed, scratch)
                for c in range(n_categories):
                    _start_descent(
                        weights[block], category_weights[c], mixed, n_lifts[c], upper[n - 2]
                    )
                    _descend(
                        children[tree],
                        matrices[tree, c],
                        equal,
                        flux,
                        rates[c],
                        messages[c],
                        lifts[c],
                        upper,
                        gradients[tree],
                    )
        return sources_digest

    return evaluate


log_likelihoods_and_gradients = _compiled(_kernel_sources_digest())
