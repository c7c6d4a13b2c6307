"""Compiled features of the subtrees of a forest, from their partials: what a policy looks at.

All of it is under the equal-input model with base frequencies pi and y = exp(-beta t),

    P(t)_xz = y [x = z] + (1 - y) pi_z:

JC69 and F81 exactly, any other model as a guide. Partials a [state, pattern] are scaled so that
sum_x pi_x a_x = 1; then two roots at distance t have, relative to unrelated ones,

    log L = sum_p w_p log(1 + y c_p),   c_p = sum_x pi_x a_x b_x - 1,

concave in y. The maximum is found by Newton steps in log e, e = 1 - y: with N changes on an edge log L is
about N log e - L e.
"""

from __future__ import annotations

import numba
import numpy as np

from domains.phylogeny._subtree_kernels import postorder

# No "nnan" or "ninf": impossible patterns must stay detectable.
FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")

SMALLEST, LARGEST = 1e-5, 0.995  # of e
N_FEATURES = 8
_STEP = 1.5  # of log e
RISE = 2e-6  # least difference between the keys of a node and of its parts
TIE = 1e-6  # keys that differ by less are equal: their merges come in any order


@compiled
def _overlap_four(a, b, f0, f1, f2, f3, out):
    for p in range(len(out)):
        known = f0 * a[0, p] * b[0, p] + f1 * a[1, p] * b[1, p] + f2 * a[2, p] * b[2, p]
        out[p] = known + f3 * a[3, p] * b[3, p] - np.float32(1.0)


@compiled
def _row_overlap(a, b, share, out):
    for p in range(len(out)):
        out[p] += share * a[p] * b[p]


@compiled
def overlap(a, b, pi, out):
    """c of every pattern."""
    f0, f1, f2, f3 = np.float32(pi[0]), np.float32(pi[1]), np.float32(pi[2]), np.float32(pi[3])
    _overlap_four(a, b, f0, f1, f2, f3, out)
    for x in range(4, len(pi)):
        _row_overlap(a[x], b[x], np.float32(pi[x]), out)


@compiled
def slopes(c, y, weights):
    """First derivative of sum w log(1 + y c) and minus the second."""
    first, second = np.float32(0.0), np.float32(0.0)
    y32 = np.float32(y)
    for p in range(len(c)):
        u = c[p] / (np.float32(1.0) + y32 * c[p])
        first += weights[p] * u
        second += weights[p] * u * u
    return first, second


@compiled
def newton(e, first, second):
    """A Newton step in log e from the derivatives in y (the second with its sign turned)."""
    slope = -e * first
    curvature = slope - e * e * second
    step = -slope / curvature if curvature < 0.0 else np.sign(slope) * _STEP
    step = min(max(step, -_STEP), _STEP)
    return min(max(e * np.exp(step), SMALLEST), LARGEST)


@compiled
def distance(c, weights, beta, start, n_steps):
    """The most likely distance, `start` being a first guess of it."""
    e = min(max(-np.expm1(-beta * start), SMALLEST), LARGEST)
    for _ in range(n_steps):
        first, second = slopes(c, 1.0 - e, weights)
        e = newton(e, first, second)
    return -np.log1p(-e) / beta


@compiled
def _row_product(a, b, keep_a, rest_a, keep_b, rest_b, out):
    for p in range(len(out)):
        out[p] = (keep_a * a[p] + rest_a) * (keep_b * b[p] + rest_b)


@compiled
def _row_add(row, share, out):
    for p in range(len(out)):
        out[p] += share * row[p]


@compiled
def _row_divide(total, out):
    for p in range(len(out)):
        out[p] /= total[p]


@compiled
def _row_meet(a, b, out):
    for p in range(len(out)):
        out[p] = np.float32(1.0) if a[p] > 0 and b[p] > 0 else np.float32(0.0)


@compiled
def _row_unite(a, b, meets, out):
    for p in range(len(out)):
        either = np.float32(1.0) if a[p] > 0 or b[p] > 0 else np.float32(0.0)
        out[p] = out[p] if meets[p] > 0 else either


@compiled
def join(a, b, e_a, e_b, pi, fitch, scratch, out):
    """Partials of the joint subtree, scaled; or, if `fitch`, its Fitch sets as partials. `out` is
    neither part; scratch [2, pattern]."""
    real = out.dtype.type
    total = scratch[0]
    total[:] = real(0.0)
    for x in range(len(pi)):
        if fitch:
            _row_meet(a[x], b[x], out[x])
            _row_add(out[x], real(1.0), total)
        else:
            keep_a, keep_b = real(1.0 - e_a), real(1.0 - e_b)
            _row_product(a[x], b[x], keep_a, real(e_a), keep_b, real(e_b), out[x])
    if fitch:
        scratch[1] = total
        for x in range(len(pi)):
            _row_unite(a[x], b[x], scratch[1], out[x])
        total[:] = real(0.0)
    for x in range(len(pi)):
        _row_add(out[x], real(pi[x]), total)
    for x in range(len(pi)):
        _row_divide(total, out[x])


@compiled
def _depth(d_left, d_right, d_between):
    """Distance of the joint node from taxon 0; float64, so that no order of summation matters."""
    return 0.5 * (np.float64(d_left) + np.float64(d_right) - np.float64(d_between))


@compiled
def depth_key(d_left, d_right, d_between, key_left, key_right):
    """Place of a merge in the sorted build order: minus the distance of the joint node from taxon 0, and
    above the keys of both parts."""
    return max(-_depth(d_left, d_right, d_between), max(key_left, key_right) + RISE)


@compiled
def _pair(a, b, pi, weights, beta, c):
    """Distance of two roots, from the pattern-wise overlap."""
    overlap(a, b, pi, c)
    return np.float32(distance(c, weights, beta, 0.1, 4))


@compiled
def tip_distances(tips, pi, weights, beta):
    """d [taxon, taxon] of tips [taxon, state, pattern]."""
    n = len(tips)
    d = np.zeros((n, n), np.float32)
    c = np.empty(tips.shape[2], np.float32)
    for i in range(n):
        for j in range(i):
            d[i, j] = d[j, i] = _pair(tips[i], tips[j], pi, weights, beta, c)
    return d


@compiled
def merge(parts, d, keys, roots, rows, left, right, lengths, pi, weights, beta, fitch):
    """Joins the trees left < right of the given rows of the arena, in place.

    parts [row, n, state, pattern], d [row, n, n], keys [row, n], roots [row, n] after the merge (-1: no tree),
    lengths [k, 2]
    """
    n_patterns = parts.shape[3]
    scratch = np.empty((2, n_patterns), np.float32)
    joint = np.empty((parts.shape[2], n_patterns), np.float32)
    for k in range(len(rows)):
        row, i, j = rows[k], left[k], right[k]
        e_i, e_j = -np.expm1(-beta * lengths[k, 0]), -np.expm1(-beta * lengths[k, 1])
        keys[row, i] = depth_key(
            d[row, 0, i], d[row, 0, j], d[row, i, j], keys[row, i], keys[row, j]
        )
        join(parts[row, i], parts[row, j], e_i, e_j, pi, fitch, scratch, joint)
        parts[row, i] = joint
        for other in range(roots.shape[1]):
            if roots[row, other] >= 0 and other != i:
                value = _pair(joint, parts[row, other], pi, weights, beta, scratch[0])
                d[row, i, other] = value
                d[row, other, i] = value


@compiled
def _row_centred(row, share, scale, out):
    for p in range(len(out)):
        out[p] = share * scale[p] * (row[p] - np.float32(1.0))


@compiled
def describe(parts, rows, slots, pi, scale, out):
    """State probabilities of roots less their prior, times `scale` [pattern], without the last state:
    out [k, state - 1, pattern]."""
    for k in range(len(rows)):
        for x in range(len(pi) - 1):
            _row_centred(parts[rows[k], slots[k], x], np.float32(pi[x]), scale, out[k, x])


@compiled
def load(
    children, roots, lengths, tips, d_tips, pi, weights, beta, fitch, parts, d, keys, node_keys
):
    """Fills an arena [row, ...] with the trees of given forests. node_keys [row, merge] by node - n."""
    n_taxa, n_states, n_patterns = tips.shape
    nodes = np.empty((2 * n_taxa - 1, n_states, n_patterns), np.float32)
    nodes[:n_taxa] = tips
    key = np.full(2 * n_taxa - 1, -np.inf)
    scratch = np.empty((2, n_patterns), np.float32)
    order = np.empty(n_taxa, np.int64)
    stack = np.empty(2 * n_taxa, np.int64)
    for row in range(len(roots)):
        for i in range(n_taxa):
            root = roots[row, i]
            if root < 0:
                continue
            count = postorder(children[row], n_taxa, root, order, stack)
            for k in range(count):
                at = order[k] - n_taxa
                a, b = children[row, at, 0], children[row, at, 1]
                e_a, e_b = -np.expm1(-beta * lengths[row, a]), -np.expm1(-beta * lengths[row, b])
                d_ab = _pair(nodes[a], nodes[b], pi, weights, beta, scratch[0])
                d_a = _pair(nodes[0], nodes[a], pi, weights, beta, scratch[0])
                d_b = _pair(nodes[0], nodes[b], pi, weights, beta, scratch[0])
                key[order[k]] = depth_key(d_a, d_b, d_ab, key[a], key[b])
                node_keys[row, at] = key[order[k]]
                join(nodes[a], nodes[b], e_a, e_b, pi, fitch, scratch, nodes[order[k]])
            parts[row, i], keys[row, i] = nodes[root], key[root]
        for i in range(n_taxa):
            for j in range(i):
                if roots[row, i] >= 0 and roots[row, j] >= 0:
                    d[row, i, j] = d[row, j, i] = (
                        d_tips[i, j]
                        if roots[row, i] < n_taxa and roots[row, j] < n_taxa
                        else _pair(parts[row, i], parts[row, j], pi, weights, beta, scratch[0])
                    )


@compiled
def _smallest_two(values, at, names, skip):
    """Over names other than `at` and `skip`: the smallest of values[at, name], the second, and where
    the smallest is."""
    best, second, where = np.inf, np.inf, -1
    for name in names:
        if name in (at, skip):
            continue
        value = values[at, name]
        if value < best:
            best, second, where = value, best, name
        elif value < second:
            second = value
    return best, second, where


@compiled
def _margins(values, names, skip, out):
    """out [name, 3]: `_smallest_two` of every name."""
    for i in names:
        best, second, where = _smallest_two(values, i, names, skip)
        out[i, 0], out[i, 1], out[i, 2] = best, second, where


@compiled
def _ahead(values, margins, i, j):
    """How far values[i, j] is above the best that i, and j, has with another."""
    rest_i = margins[i, 1] if margins[i, 2] == j else margins[i, 0]
    rest_j = margins[j, 1] if margins[j, 2] == i else margins[j, 0]
    return values[i, j] - rest_i, values[i, j] - rest_j


@compiled
def _joining(d, names, q):
    """Neighbour joining's criterion q_ij = d_ij - (r_i + r_j) / (m - 2)."""
    total = np.zeros(len(d))
    for i in names:
        for j in names:
            total[i] += d[i, j]
    scale = 1.0 / max(len(names) - 2, 1)
    for i in names:
        for j in names:
            q[i, j] = d[i, j] - scale * (total[i] + total[j])


@compiled
def _softened(x):
    return x / np.sqrt(4.0 + abs(x))


@compiled
def pair_features(d, keys, roots, rows, n_sites, ordered, features, names, n_allowed):
    """What there is to know of every pair of trees that may be joined.

    features [k, pair, 8] (`N_FEATURES`), names [k, pair, 2]; if `ordered`, allowed pairs come first, by their
    key, and n_allowed [k] is their number. Numbers of changes x come as x / sqrt(4 + |x|).
    """
    n = roots.shape[1]
    q, depth = np.zeros((n, n)), np.zeros((n, n))
    by_q, by_depth = np.zeros((n, 3)), np.zeros((n, 3))
    first = np.empty(n * n, np.int64)
    second = np.empty(n * n, np.int64)
    key = np.empty(n * n)
    for k in range(len(rows)):
        row = rows[k]
        present = np.flatnonzero(roots[row] >= 0)
        _joining(d[row], present, q)
        top = -np.inf
        for i in present:
            top = max(top, keys[row, i])
            for j in present:
                depth[i, j] = -_depth(d[row, 0, i], d[row, 0, j], d[row, i, j])
        _margins(q, present, -1, by_q)
        _margins(depth, present, 0, by_depth)
        lowest = np.inf
        for i in present:
            lowest = min(lowest, by_q[i, 0])
        count = 0
        for i in present[1:]:
            for j in present[1:]:
                if i < j:
                    first[count], second[count] = i, j
                    key[count] = max(depth[i, j], max(keys[row, i], keys[row, j]) + RISE)
                    if ordered and key[count] < top - TIE:
                        key[count] = np.inf
                    count += 1
        n_allowed[k] = count
        order = np.arange(count)
        if ordered:
            order = np.argsort(key[:count])
            n_allowed[k] = np.sum(key[:count] < np.inf)
        for place in range(n_allowed[k]):
            i, j = first[order[place]], second[order[place]]
            names[k, place, 0], names[k, place, 1] = i, j
            one, other = _ahead(q, by_q, i, j)
            near, far = 0.0, 0.0
            if len(present) > 3:
                near, far = _ahead(depth, by_depth, i, j)
            out = features[k, place]
            out[0] = _softened(n_sites * max(one, other))
            out[1] = _softened(n_sites * min(one, other))
            out[2] = _softened(n_sites * (q[i, j] - lowest))
            out[3] = _softened(n_sites * max(near, far))
            out[4] = _softened(n_sites * min(near, far))
            out[5] = _softened(n_sites * d[row, i, j])
            out[6] = _softened(-n_sites * depth[i, j])
            out[7] = 0.1 * len(present)
