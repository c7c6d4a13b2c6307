"""Compiled Felsenstein pruning: log-likelihoods of trees, many topologies at a time.

    L_v(s) = prod_{child c of v} sum_x P_c(s, x) L_c(x)          partials, from the tips up

Work is done on blocks of `LANES` patterns, innermost, so that the partials of a tree stay in the cache; a
node's partials are one row [state * LANES]. For each block the trees are taken one after the other,
whose tips are then in the cache too. The inner functions read such rows and write to one of them.

Underflow: a lower bound of each node's partials follows from the smallest entries of the transition
matrices. Only where it falls below 2^-332 are partials looked at, and patterns that are that small
multiplied by 2^332; so a few dozen taxa cost nothing. Edges shorter than about 1e-100 count as zero.
"""

from __future__ import annotations

import numba
import numpy as np

LANES = 64
SMALL = 2.0**-332
BIG = 2.0**332
LOG_BIG = 332.0 * np.log(2.0)
# No "nnan" or "ninf": a site that is impossible has likelihood zero and must stay detectable.
FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")


@compiled
def smallest(matrix, equal):
    if equal:
        return matrix[1]
    least = matrix[0]
    for k in range(1, 16):
        least = min(least, matrix[k])
    return least


@compiled
def _merge_equal(rows, i, j, out, stay_a, other_a, stay_b, other_b):
    """JC69: row out = (P_a row i) * (P_b row j), with P = (stay - other) identity + other everywhere."""
    keep_a = stay_a - other_a
    keep_b = stay_b - other_b
    for p in range(LANES):
        a0, a1, a2, a3 = (
            rows[i, p],
            rows[i, p + LANES],
            rows[i, p + 2 * LANES],
            rows[i, p + 3 * LANES],
        )
        b0, b1, b2, b3 = (
            rows[j, p],
            rows[j, p + LANES],
            rows[j, p + 2 * LANES],
            rows[j, p + 3 * LANES],
        )
        base_a = other_a * ((a0 + a1) + (a2 + a3))
        base_b = other_b * ((b0 + b1) + (b2 + b3))
        rows[out, p] = (keep_a * a0 + base_a) * (keep_b * b0 + base_b)
        rows[out, p + LANES] = (keep_a * a1 + base_a) * (keep_b * b1 + base_b)
        rows[out, p + 2 * LANES] = (keep_a * a2 + base_a) * (keep_b * b2 + base_b)
        rows[out, p + 3 * LANES] = (keep_a * a3 + base_a) * (keep_b * b3 + base_b)


@compiled
def apply_equal(a, stay, other, out):
    """JC69: out = P a."""
    keep = stay - other
    for p in range(LANES):
        a0, a1, a2, a3 = a[p], a[p + LANES], a[p + 2 * LANES], a[p + 3 * LANES]
        base = other * ((a0 + a1) + (a2 + a3))
        out[p] = keep * a0 + base
        out[p + LANES] = keep * a1 + base
        out[p + 2 * LANES] = keep * a2 + base
        out[p + 3 * LANES] = keep * a3 + base


@compiled
def apply(a, matrix, out):
    """out = P a."""
    m00, m01, m02, m03 = matrix[0], matrix[1], matrix[2], matrix[3]
    m10, m11, m12, m13 = matrix[4], matrix[5], matrix[6], matrix[7]
    m20, m21, m22, m23 = matrix[8], matrix[9], matrix[10], matrix[11]
    m30, m31, m32, m33 = matrix[12], matrix[13], matrix[14], matrix[15]
    for p in range(LANES):
        a0, a1, a2, a3 = a[p], a[p + LANES], a[p + 2 * LANES], a[p + 3 * LANES]
        out[p] = m00 * a0 + m01 * a1 + m02 * a2 + m03 * a3
        out[p + LANES] = m10 * a0 + m11 * a1 + m12 * a2 + m13 * a3
        out[p + 2 * LANES] = m20 * a0 + m21 * a1 + m22 * a2 + m23 * a3
        out[p + 3 * LANES] = m30 * a0 + m31 * a1 + m32 * a2 + m33 * a3


@compiled
def _merge(a, b, matrix, out):
    """out = (P a) * b."""
    m00, m01, m02, m03 = matrix[0], matrix[1], matrix[2], matrix[3]
    m10, m11, m12, m13 = matrix[4], matrix[5], matrix[6], matrix[7]
    m20, m21, m22, m23 = matrix[8], matrix[9], matrix[10], matrix[11]
    m30, m31, m32, m33 = matrix[12], matrix[13], matrix[14], matrix[15]
    for p in range(LANES):
        a0, a1, a2, a3 = a[p], a[p + LANES], a[p + 2 * LANES], a[p + 3 * LANES]
        out[p] = (m00 * a0 + m01 * a1 + m02 * a2 + m03 * a3) * b[p]
        out[p + LANES] = (m10 * a0 + m11 * a1 + m12 * a2 + m13 * a3) * b[p + LANES]
        out[p + 2 * LANES] = (m20 * a0 + m21 * a1 + m22 * a2 + m23 * a3) * b[p + 2 * LANES]
        out[p + 3 * LANES] = (m30 * a0 + m31 * a1 + m32 * a2 + m33 * a3) * b[p + 3 * LANES]


@compiled
def lift(row, factors):
    """Multiplies patterns whose largest entry is below `SMALL` by a power of `BIG`, recorded in
    `factors` [LANES] (1 where nothing was done). Returns the smallest of the largest entries then."""
    least = np.inf
    for p in range(LANES):
        factors[p] = 1.0
        top = max(max(row[p], row[p + LANES]), max(row[p + 2 * LANES], row[p + 3 * LANES]))
        if 0.0 < top < SMALL:
            factors[p] = BIG
            for s in range(4):
                row[p + s * LANES] *= BIG
            top *= BIG
        least = min(least, top)
    return least


@compiled
def add_lifts(factors, n_lifts):
    """Counts the factors above one into `n_lifts`; returns 1 where there are any, else 0."""
    found = 0.0
    for p in range(LANES):
        if factors[p] > 1.0:
            n_lifts[p] += 1.0
            found = 1.0
    return found


@compiled
def _partials(children, matrices, equal, partials, bound, scratch, n_lifts):
    """Fills partials [node, 4 LANES] from the tips up; the tips are there. `n_lifts` [LANES] counts
    the multiplications by `BIG` of each pattern. Returns whether partials were looked at."""
    n = len(children) + 1
    checked = False
    n_lifts[:] = 0.0
    bound[:n] = 1.0
    for k in range(n - 1):
        i, j = children[k, 0], children[k, 1]
        if equal:
            mi, mj = matrices[i, 1], matrices[j, 1]
            _merge_equal(partials, i, j, n + k, matrices[i, 0], mi, matrices[j, 0], mj)
            low = mi * bound[i] * (mj * bound[j])
        else:
            m, o = matrices[i], matrices[j]
            apply(partials[i], m, scratch[0])
            _merge(partials[j], scratch[0], o, partials[n + k])
            low = smallest(m, equal) * bound[i] * (smallest(o, equal) * bound[j])
        if low < SMALL:
            low = lift(partials[n + k], scratch[0])
            add_lifts(scratch[0], n_lifts)
            checked = True
        bound[n + k] = low
    return checked


@compiled
def project(row, frequencies, out):
    """out [LANES] = sum_s pi_s row(s)."""
    pi0, pi1, pi2, pi3 = frequencies[0], frequencies[1], frequencies[2], frequencies[3]
    for p in range(LANES):
        out[p] = (pi0 * row[p] + pi1 * row[p + LANES]) + (
            pi2 * row[p + 2 * LANES] + pi3 * row[p + 3 * LANES]
        )


@compiled
def _add_scaled(weight, row, out):
    for p in range(LANES):
        out[p] += weight * row[p]


@compiled
def mix(sites, n_lifts, checked, category_weights, invariant, mixed):
    """mixed[0] * 2^(-332 mixed[1]) = site likelihoods, from those of the categories [category, LANES],
    each with its number of lifts, and the share of invariant sites."""
    for p in range(LANES):
        mixed[0, p] = invariant[p]
        mixed[1, p] = 0.0
    if not checked:
        for c in range(len(sites)):
            _add_scaled(category_weights[c], sites[c], mixed[0])
        return
    for p in range(LANES):
        fewest = 0.0 if invariant[p] > 0.0 else np.inf
        for c in range(len(sites)):
            fewest = min(fewest, n_lifts[c, p])
        mixed[1, p] = fewest
        for c in range(len(sites)):
            mixed[0, p] += category_weights[c] * sites[c, p] * SMALL ** (n_lifts[c, p] - fewest)


# Reassociation would take the two summands of an exponent apart, which cancel.
@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _log(values, out, work):
    """out = log(values), vectorised: log(2^e m) = e log 2 + 2 artanh((m - 1) / (m + 1)), m around 1.

    `work` [2, LANES or more] is scratch. Zero, subnormal and non-finite values go through the library."""
    bits = values.view(np.int64)
    exponent = work[0].view(np.int64)
    mantissa = work[1].view(np.int64)
    lowest, highest = np.inf, 0.0
    for p in range(LANES):
        lowest = min(lowest, values[p])
        highest = max(highest, values[p])
    if not (lowest > 1e-300 and highest < 1e300):
        for p in range(LANES):
            out[p] = np.log(values[p])
        return
    # Shifted so that the mantissa comes out between sqrt(1/2) and sqrt(2).
    for p in range(LANES):
        shifted = bits[p] + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
        exponent[p] = (shifted >> 52) | 0x4330000000000000
        mantissa[p] = (shifted & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD
    e, m = work[0], work[1]
    for p in range(LANES):
        f = (m[p] - 1.0) / (m[p] + 1.0)
        s = f * f
        series = 1.0 / 13.0 + s * (1.0 / 15.0 + s * (1.0 / 17.0 + s * (1.0 / 19.0 + s / 21.0)))
        series = 1.0 / 7.0 + s * (1.0 / 9.0 + s * (1.0 / 11.0 + s * series))
        series = s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * series))
        power = e[p] - (4503599627370496.0 + 1023.0)
        out[p] = power * 0.6931471805599453 + 2.0 * (f + f * series)


@compiled
def weighted_log(weights, mixed, scratch):
    """Sum over the patterns of weight * log(site likelihood)."""
    _log(mixed[0], mixed[2], scratch)
    total = 0.0
    for p in range(LANES):
        total += weights[p] * (mixed[2, p] - LOG_BIG * mixed[1, p])
    return total


@compiled
def log_likelihoods(children, matrices, equal, tips, weights, invariant, model, out):
    """Adds to out [tree] the log-likelihood of every tree.

    children [tree, internal, 2], matrices [tree, category, edge, 16], tips [block, taxon, 4 LANES],
    weights and invariant [block, LANES], model = (frequencies [4], category weights)."""
    frequencies, category_weights = model
    n_blocks, n = tips.shape[0], tips.shape[1]
    n_categories = len(category_weights)
    partials = np.empty((2 * n - 1, 4 * LANES))
    bound = np.empty(2 * n - 1)
    scratch = np.empty((2, 4 * LANES))
    sites = np.empty((n_categories, LANES))
    n_lifts = np.zeros((n_categories, LANES))
    mixed = np.empty((3, LANES))
    for block in range(n_blocks):
        partials[:n] = tips[block]
        for tree in range(len(children)):
            checked = False
            for c in range(n_categories):
                checked |= _partials(
                    children[tree],
                    matrices[tree, c],
                    equal,
                    partials,
                    bound,
                    scratch,
                    n_lifts[c],
                )
                project(partials[2 * n - 2], frequencies, sites[c])
            mix(sites, n_lifts, checked, category_weights, invariant[block], mixed)
            out[tree] += weighted_log(weights[block], mixed, scratch)
