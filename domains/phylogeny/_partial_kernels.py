"""Compiled likelihood of one tree that changes a little at a time: what a Markov chain of trees needs.

The tree hangs from tip 0: every other node v has an edge above it, and `parent`, `child` link the nodes 0
.. 2n-3 (tips 0 .. n-1). Each inner node keeps the likelihood of the data below it given its state,

    f_v(s) = prod_{w child of v} sum_t P_{st}(length_w) f_w(t),

for every pattern and rate category, in two places, of which one is current: a proposal writes the other
places along the paths from where it changed the tree to the root, and a refusal turns them back.
(J. Felsenstein, J. Mol. Evol. 17, 368 (1981); two places per node: J. P. Huelsenbeck, F. Ronquist,
"MrBayes: Bayesian inference of phylogenetic trees", 2001.)

Patterns come in blocks of `LANES`, a block is one row [4 * LANES] with the state before the pattern, so
that the inner loop runs over patterns. Where f of a pattern falls below 2^-256 it is multiplied by 2^256
and that is counted in `shift`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

LANES = 32
# No "nnan" or "ninf": a tree of likelihood zero must stay detectable.
FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
_SMALL = 2.0**-256
_LARGE = 2.0**256
_LOG_LARGE = 256 * math.log(2.0)
# Likelihoods of 8 patterns are multiplied before one logarithm is taken; below this they are not.
_GROUPS = LANES // 8
_TINY = 1e-290


class Sites(NamedTuple):
    """The data and the model of substitutions.

    tips           [taxon, block, 4 * LANES] one where the state is possible, else zero
    weights        [pattern] counts, zero for patterns that fill up the last block
    uniform        [block] the weight that all patterns of the block have, or zero
    invariant      [pattern] sum of the frequencies of the states that all taxa may have
    equal_input    True: P_st = e^{-t rate} [s = t] + (1 - e^{-t rate}) pi_t, as in JC69 and F81
    eigenvalues    [4] ascending, of the rate matrix; `right` diag(e^{t eigenvalues}) `left` is P(t)
    rates, shares  [category] relative rates and probabilities; the shares and `p_invariant` sum to 1
    """

    tips: np.ndarray
    weights: np.ndarray
    uniform: np.ndarray
    invariant: np.ndarray
    equal_input: bool
    eigenvalues: np.ndarray
    left: np.ndarray
    right: np.ndarray
    frequencies: np.ndarray
    rates: np.ndarray
    shares: np.ndarray
    p_invariant: float


class Work(NamedTuple):
    """One tree and its partial likelihoods; `current[v]` is the place of node v that holds."""

    parent: np.ndarray
    child: np.ndarray
    length: np.ndarray
    partials: np.ndarray
    shift: np.ndarray
    shifted: np.ndarray
    current: np.ndarray
    flipped: np.ndarray
    on_path: np.ndarray


@compiled
def make_work(sites, parent, child, length):
    """Room for the partial likelihoods of the tree that hangs from tip 0."""
    n_taxa, n_blocks, width = sites.tips.shape
    n_inner, n_categories = n_taxa - 2, len(sites.rates)
    return Work(
        parent,
        child,
        length,
        np.zeros((2 * n_inner, n_categories, n_blocks, width)),
        np.zeros((2 * n_inner, n_blocks * LANES), np.int64),
        np.zeros(2 * n_inner, np.bool_),
        np.zeros(2 * n_taxa - 2, np.int64),
        np.empty(n_inner, np.int64),
        np.zeros(2 * n_taxa - 2, np.bool_),
    )


@compiled
def transition(sites, t, category, out):
    """P(t) of one category, row by row, in `out` [16]; for equal input out[0] = e^{-t rate} and out[1] =
    1 - out[0]. Differences from P(0) = 1, so that short edges keep their digits."""
    scaled = t * sites.rates[category]
    if sites.equal_input:
        out[1] = -math.expm1(scaled * sites.eigenvalues[0])
        out[0] = 1.0 - out[1]
        return
    for s in range(4):
        for r in range(4):
            out[4 * s + r] = 1.0 if s == r else 0.0
    for k in range(4):
        grown = math.expm1(scaled * sites.eigenvalues[k])
        for s in range(4):
            for r in range(4):
                out[4 * s + r] += sites.right[s, k] * grown * sites.left[k, r]
    for i in range(16):
        # Rounding may leave a tiny probability just below zero.
        out[i] = max(out[i], 0.0)


@compiled
def _merge_equal_input(a, b, stay_a, leave_a, stay_b, leave_b, pi, out):
    """One block of f of a node of two children; returns how many patterns are small."""
    pi_0, pi_1, pi_2, pi_3 = pi[0], pi[1], pi[2], pi[3]
    for m in range(LANES):
        a_0, a_1, a_2, a_3 = a[m], a[LANES + m], a[2 * LANES + m], a[3 * LANES + m]
        b_0, b_1, b_2, b_3 = b[m], b[LANES + m], b[2 * LANES + m], b[3 * LANES + m]
        mean_a = leave_a * (pi_0 * a_0 + pi_1 * a_1 + pi_2 * a_2 + pi_3 * a_3)
        mean_b = leave_b * (pi_0 * b_0 + pi_1 * b_1 + pi_2 * b_2 + pi_3 * b_3)
        out[m] = (stay_a * a_0 + mean_a) * (stay_b * b_0 + mean_b)
        out[LANES + m] = (stay_a * a_1 + mean_a) * (stay_b * b_1 + mean_b)
        out[2 * LANES + m] = (stay_a * a_2 + mean_a) * (stay_b * b_2 + mean_b)
        out[3 * LANES + m] = (stay_a * a_3 + mean_a) * (stay_b * b_3 + mean_b)


@compiled
def _merge_general(a, b, p, q, s, out):
    """One block of one state s of f of a node of two children, with matrices p and q [16]."""
    p_0, p_1, p_2, p_3 = p[4 * s], p[4 * s + 1], p[4 * s + 2], p[4 * s + 3]
    q_0, q_1, q_2, q_3 = q[4 * s], q[4 * s + 1], q[4 * s + 2], q[4 * s + 3]
    for m in range(LANES):
        a_0, a_1, a_2, a_3 = a[m], a[LANES + m], a[2 * LANES + m], a[3 * LANES + m]
        b_0, b_1, b_2, b_3 = b[m], b[LANES + m], b[2 * LANES + m], b[3 * LANES + m]
        carried = q_0 * b_0 + q_1 * b_1 + q_2 * b_2 + q_3 * b_3
        out[s * LANES + m] = (p_0 * a_0 + p_1 * a_1 + p_2 * a_2 + p_3 * a_3) * carried


@compiled
def _n_small(block):
    count = 0
    for m in range(LANES):
        total = block[m] + block[LANES + m] + block[2 * LANES + m] + block[3 * LANES + m]
        count += 1 if total < _SMALL else 0
    return count


@compiled
def _merge_blocks(a, b, p, q, equal_input, pi, out):
    """f of a node [block, 4 * LANES] in one category; returns how many patterns are small."""
    n_small = 0
    for block in range(len(out)):
        row = out[block]
        if equal_input:
            _merge_equal_input(a[block], b[block], p[0], p[1], q[0], q[1], pi, row)
        else:
            for s in range(4):
                _merge_general(a[block], b[block], p, q, s, row)
        n_small += _n_small(row)
    return n_small


@compiled
def _partial(sites, work, v, category):
    """f of node v in one category: [block, 4 * LANES]."""
    n_taxa = sites.tips.shape[0]
    if v < n_taxa:
        return sites.tips[v]
    return work.partials[2 * (v - n_taxa) + work.current[v], category]


@compiled
def _rescale(place, partials, shift):
    """Multiplies the patterns that are small in every category by 2^256; True where there were any."""
    n_categories, n_blocks, _ = partials[place].shape
    any_shifted = False
    for block in range(n_blocks):
        for m in range(LANES):
            total = 0.0
            for category in range(n_categories):
                for s in range(4):
                    total += partials[place, category, block, s * LANES + m]
            if total < _SMALL:
                any_shifted = True
                shift[place, block * LANES + m] += 1
                for category in range(n_categories):
                    for s in range(4):
                        partials[place, category, block, s * LANES + m] *= _LARGE
    return any_shifted


@compiled
def update_node(sites, work, v, place):
    """Computes f of inner node v from its children into `place`."""
    a, b = work.child[v, 0], work.child[v, 1]
    p_a, p_b = np.empty(16), np.empty(16)
    n_small = 0
    for category in range(len(sites.rates)):
        transition(sites, work.length[a], category, p_a)
        transition(sites, work.length[b], category, p_b)
        n_small += _merge_blocks(
            _partial(sites, work, a, category),
            _partial(sites, work, b, category),
            p_a,
            p_b,
            sites.equal_input,
            sites.frequencies,
            work.partials[place, category],
        )
    _update_shift(work, a, b, place, sites.tips.shape[0])
    if n_small > 0 and _rescale(place, work.partials, work.shift):
        work.shifted[place] = True


@compiled
def _update_shift(work, a, b, place, n_taxa):
    """The shifts of the two children, added."""
    if work.shifted[place]:
        work.shift[place, :] = 0
        work.shifted[place] = False
    for w in (a, b):
        if w >= n_taxa:
            below = 2 * (w - n_taxa) + work.current[w]
            if work.shifted[below]:
                work.shifted[place] = True
                for m in range(work.shift.shape[1]):
                    work.shift[place, m] += work.shift[below, m]


@compiled
def root_log_likelihood(sites, work):
    """Log-likelihood from the node below tip 0 and from tip 0 itself."""
    top = work.child[0, 0]
    place = 2 * (top - sites.tips.shape[0]) + work.current[top]
    likelihoods = sites.p_invariant * sites.invariant
    p = np.empty(16)
    for category in range(len(sites.rates)):
        transition(sites, work.length[top], category, p)
        partial = work.partials[place, category]
        share = sites.shares[category]
        _add_root(
            sites.tips[0], partial, p, sites.equal_input, sites.frequencies, share, likelihoods
        )
    if not work.shifted[place]:
        return _weighted_logs(likelihoods, sites.weights, sites.uniform)
    constants = sites.p_invariant * sites.invariant
    return _shifted_logs(likelihoods, constants, work.shift[place], sites.weights)


@compiled
def _weighted_logs(values, weights, uniform):
    """sum_i weights_i log values_i; products of values stand for sums of logs where weights agree."""
    total = 0.0
    product = np.empty(_GROUPS)
    for block in range(len(uniform)):
        first = block * LANES
        row = values[first : first + LANES]
        for k in range(_GROUPS):
            product[k] = row[k]
        for j in range(1, LANES // _GROUPS):
            for k in range(_GROUPS):
                product[k] *= row[j * _GROUPS + k]
        together = uniform[block] > 0
        for k in range(_GROUPS):
            together = together and product[k] > _TINY
        if together:
            for k in range(_GROUPS):
                total += uniform[block] * math.log(product[k])
        else:
            for m in range(LANES):
                if weights[first + m] > 0:
                    total += weights[first + m] * math.log(row[m])
    return total


@compiled
def _shifted_logs(values, constants, shift, weights):
    """The same where the values without the constants stand for values 2^{-256 shift}."""
    total = 0.0
    for i in range(len(values)):
        value = values[i]
        if shift[i] > 0 and constants[i] > 0:
            value = (value - constants[i]) * _SMALL ** shift[i] + constants[i]
            total += weights[i] * math.log(value)
        elif weights[i] > 0:
            total += weights[i] * (math.log(value) - _LOG_LARGE * shift[i])
    return total


@compiled
def _add_root(tip, below, p, equal_input, pi, share, likelihoods):
    """Adds share x sum_st pi_s tip(s) P_st below(t) to the likelihood of each pattern."""
    for block in range(len(tip)):
        row = likelihoods[block * LANES : (block + 1) * LANES]
        if equal_input:
            _equal_input_root(tip[block], below[block], p[0], p[1], pi, share, row)
        else:
            for s in range(4):
                _general_root(tip[block], below[block], p, s, share * pi[s], row)


@compiled
def _general_root(a, b, p, s, weight, out):
    p_0, p_1, p_2, p_3 = p[4 * s], p[4 * s + 1], p[4 * s + 2], p[4 * s + 3]
    for m in range(LANES):
        b_0, b_1, b_2, b_3 = b[m], b[LANES + m], b[2 * LANES + m], b[3 * LANES + m]
        out[m] += weight * a[s * LANES + m] * (p_0 * b_0 + p_1 * b_1 + p_2 * b_2 + p_3 * b_3)


@compiled
def _equal_input_root(a, b, stay, leave, pi, share, out):
    pi_0, pi_1, pi_2, pi_3 = pi[0], pi[1], pi[2], pi[3]
    same_weight, other_weight = share * stay, share * leave
    for m in range(LANES):
        w_0, w_1 = pi_0 * a[m], pi_1 * a[LANES + m]
        w_2, w_3 = pi_2 * a[2 * LANES + m], pi_3 * a[3 * LANES + m]
        b_0, b_1, b_2, b_3 = b[m], b[LANES + m], b[2 * LANES + m], b[3 * LANES + m]
        same = w_0 * b_0 + w_1 * b_1 + w_2 * b_2 + w_3 * b_3
        mean = pi_0 * b_0 + pi_1 * b_1 + pi_2 * b_2 + pi_3 * b_3
        out[m] += same_weight * same + other_weight * (w_0 + w_1 + w_2 + w_3) * mean


@compiled
def _flip(sites, work, v, n_flipped):
    """Computes node v anew in its other place and makes that the current one."""
    n_taxa = sites.tips.shape[0]
    other = 1 - work.current[v]
    update_node(sites, work, v, 2 * (v - n_taxa) + other)
    work.current[v] = other
    work.flipped[n_flipped] = v
    return n_flipped + 1


@compiled
def update_paths(sites, work, low, other):
    """Computes all nodes from `low` and from `other` up to the root anew (a tip counts for none).

    Returns how many nodes that were: they are the first of `work.flipped`."""
    n_taxa = sites.tips.shape[0]
    n_flipped = 0
    v = low
    while v >= n_taxa:
        work.on_path[v] = True
        v = work.parent[v]
    v = other
    while v >= n_taxa and not work.on_path[v]:
        n_flipped = _flip(sites, work, v, n_flipped)
        v = work.parent[v]
    v = low
    while v >= n_taxa:
        work.on_path[v] = False
        n_flipped = _flip(sites, work, v, n_flipped)
        v = work.parent[v]
    return n_flipped


@compiled
def turn_back(work, n_flipped):
    """Makes the places that held before the update current again."""
    for i in range(n_flipped):
        v = work.flipped[i]
        work.current[v] = 1 - work.current[v]


@compiled
def update_all(sites, work):
    """Computes every node anew; returns their number, as `update_paths` does."""
    n_taxa = sites.tips.shape[0]
    n_nodes = 2 * n_taxa - 2
    stack = np.empty(n_nodes, np.int64)
    order = np.empty(n_nodes, np.int64)
    stack[0] = work.child[0, 0]
    height, visited = 1, 0
    while height > 0:
        height -= 1
        v = stack[height]
        if v >= n_taxa:
            order[visited] = v
            visited += 1
            stack[height], stack[height + 1] = work.child[v, 0], work.child[v, 1]
            height += 2
    n_flipped = 0
    for i in range(visited - 1, -1, -1):
        n_flipped = _flip(sites, work, order[i], n_flipped)
    return n_flipped
