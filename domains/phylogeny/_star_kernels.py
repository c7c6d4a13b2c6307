"""Compiled laws of the two lengths of a merge, from the star of the joined roots and the nearest other one.

A node x with three edges to roots a, b, c has, under the equal-input model of `_subtree_feature_kernels`,

    log L = sum_p w_p log sum_x pi_x g_a g_b g_c,   g_a = y_a a_x + 1 - y_a,

concave in each y. The law of a length t is the gamma law that has the first and second derivative of its
log-density at the maximum, the prior included:  k - 1 = -t^2 l''(t),  rate = (k - 1) / t - l'(t).
"""

from __future__ import annotations

import numpy as np

from domains.phylogeny._subtree_feature_kernels import (
    LARGEST,
    SMALLEST,
    compiled,
    distance,
    newton,
    overlap,
    slopes,
)


@compiled
def gamma_law(e, first, second, beta, out):
    """out = (log mean, log shape) of the gamma law that touches the log-density at e."""
    y = 1.0 - e
    t = -np.log1p(-e) / beta
    slope = -beta * y * first
    curvature = beta * beta * (y * first - y * y * second)
    extra = max(-t * t * curvature, 0.0)
    rate = max(extra / t - slope, 1.0)
    out[0] = np.log((extra + 1.0) / rate)
    out[1] = np.log(extra + 1.0)


@compiled
def _star_four(a, b, c, shares, keeps, gain, mean):
    """Per pattern sum_x pi_x g_b g_c, and how much more sum_x pi_x a_x g_b g_c is."""
    f0, f1, f2, f3 = shares
    keep_b, rest_b, keep_c, rest_c = keeps
    for p in range(len(gain)):
        w0 = f0 * (keep_b * b[0, p] + rest_b) * (keep_c * c[0, p] + rest_c)
        w1 = f1 * (keep_b * b[1, p] + rest_b) * (keep_c * c[1, p] + rest_c)
        w2 = f2 * (keep_b * b[2, p] + rest_b) * (keep_c * c[2, p] + rest_c)
        w3 = f3 * (keep_b * b[3, p] + rest_b) * (keep_c * c[3, p] + rest_c)
        total = (w0 + w1) + (w2 + w3)
        mean[p] = total
        met = (w0 * a[0, p] + w1 * a[1, p]) + (w2 * a[2, p] + w3 * a[3, p])
        gain[p] = met - total


@compiled
def _leg(a, b, c, e_a, e_b, e_c, pi, weights, prior, scratch):
    """Derivatives (the second with its sign turned) of the star's log L in y of the edge to a, the prior
    exp(-prior * -log y) with it. Four states; scratch [2, pattern]."""
    gain, mean = scratch[0], scratch[1]
    shares = (np.float32(pi[0]), np.float32(pi[1]), np.float32(pi[2]), np.float32(pi[3]))
    keeps = (np.float32(1.0 - e_b), np.float32(e_b), np.float32(1.0 - e_c), np.float32(e_c))
    _star_four(a, b, c, shares, keeps, gain, mean)
    first, second = _ratio_slopes(gain, mean, np.float32(1.0 - e_a), weights)
    y = 1.0 - e_a
    return first + prior / y, second + prior / (y * y)


@compiled
def _ratio_slopes(gain, mean, y, weights):
    first, second = np.float32(0.0), np.float32(0.0)
    for p in range(len(gain)):
        u = gain[p] / (mean[p] + y * gain[p])
        first += weights[p] * u
        second += weights[p] * u * u
    return first, second


@compiled
def star_first(parts, d, roots, rows, left, right, pi, weights, beta, rate, out, ends, third):
    """For the merge of left < right: the nearest other root `third` [k], the star of the three, and the gamma
    law of the length to `left`, out [k, 2]. ends [k, 3] keeps e of the three edges."""
    scratch = np.empty((2, parts.shape[3]), np.float32)
    prior = rate / beta
    for k in range(len(rows)):
        row, i, j = rows[k], left[k], right[k]
        best, nearest = -1, np.inf
        for other in range(roots.shape[1]):
            far = d[row, i, other] + d[row, j, other]
            if roots[row, other] >= 0 and other != i and other != j and far < nearest:
                best, nearest = other, far
        third[k] = best
        to_i, to_j, between = d[row, i, best], d[row, j, best], d[row, i, j]
        a, b, c = parts[row, i], parts[row, j], parts[row, best]
        floor = 0.1 * between + 1e-4
        e_a = -np.expm1(-beta * max(0.5 * (between + to_i - to_j), floor))
        e_b = -np.expm1(-beta * max(0.5 * (between + to_j - to_i), floor))
        e_c = -np.expm1(-beta * max(0.5 * (to_i + to_j - between), floor))
        for _ in range(2):
            e_c = newton(e_c, *_leg(c, a, b, e_c, e_a, e_b, pi, weights, prior, scratch))
            e_b = newton(e_b, *_leg(b, a, c, e_b, e_a, e_c, pi, weights, prior, scratch))
            e_a = newton(e_a, *_leg(a, b, c, e_a, e_b, e_c, pi, weights, prior, scratch))
        first, second = _leg(a, b, c, e_a, e_b, e_c, pi, weights, prior, scratch)
        gamma_law(e_a, first, second, beta, out[k])
        ends[k, 0], ends[k, 1], ends[k, 2] = e_a, e_b, e_c


@compiled
def star_second(parts, rows, left, right, third, length, pi, weights, beta, rate, ends, out):
    """Given the length [k] to `left`, the gamma law of the length to `right`, out [k, 2]."""
    scratch = np.empty((2, parts.shape[3]), np.float32)
    prior = rate / beta
    for k in range(len(rows)):
        a, b = parts[rows[k], left[k]], parts[rows[k], right[k]]
        c = parts[rows[k], third[k]]
        e_a = min(max(-np.expm1(-beta * length[k]), SMALLEST), LARGEST)
        e_b, e_c = ends[k, 1], ends[k, 2]
        for _ in range(2):
            e_c = newton(e_c, *_leg(c, a, b, e_c, e_a, e_b, pi, weights, prior, scratch))
            e_b = newton(e_b, *_leg(b, a, c, e_b, e_a, e_c, pi, weights, prior, scratch))
        first, second = _leg(b, a, c, e_b, e_a, e_c, pi, weights, prior, scratch)
        gamma_law(e_b, first, second, beta, out[k])
        ends[k, 1], ends[k, 2] = e_b, e_c


@compiled
def last_edge(parts, rows, left, right, pi, weights, beta, rate, out):
    """The gamma law of the length between the two roots that are left, out [k, 2]."""
    c = np.empty(parts.shape[3], np.float32)
    prior = rate / beta
    for k in range(len(rows)):
        overlap(parts[rows[k], left[k]], parts[rows[k], right[k]], pi, c)
        e = -np.expm1(-beta * distance(c, weights, beta, 0.1, 4))
        for _ in range(3):
            first, second = slopes(c, 1.0 - e, weights)
            e = newton(e, first + prior / (1.0 - e), second + prior / (1.0 - e) ** 2)
        first, second = slopes(c, 1.0 - e, weights)
        y = 1.0 - e
        gamma_law(e, first + prior / y, second + prior / (y * y), beta, out[k])
