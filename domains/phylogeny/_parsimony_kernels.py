"""Compiled Fitch passes on bit planes: 64 columns to a word, `WORDS` words to a block.

A set of states is one plane of bits per state. Joining two subtrees, per column:

    meet = union over states of (a & b);   set = (a & b) where meet, else a | b with one step

A block's planes of one node are a row [state * WORDS]; trees are taken one after the other for each block.
Steps of word w count `multiplicity[w]` times, so that columns of equal weight share words.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

WORDS = 8
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
compiled = numba.njit(cache=True, nogil=True)


def _population_count(typing_context, word):
    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


# `Any`: called inside compiled code, an intrinsic takes no typing context.
count_bits: Any = intrinsic(_population_count)


@compiled
def _join_four(a, b, multiplicity, out):
    steps = np.uint64(0)
    for w in range(WORDS):
        a0, a1, a2, a3 = a[w], a[w + WORDS], a[w + 2 * WORDS], a[w + 3 * WORDS]
        b0, b1, b2, b3 = b[w], b[w + WORDS], b[w + 2 * WORDS], b[w + 3 * WORDS]
        step = ALL ^ ((a0 & b0) | (a1 & b1) | (a2 & b2) | (a3 & b3))
        out[w] = (a0 & b0) | (step & (a0 | b0))
        out[w + WORDS] = (a1 & b1) | (step & (a1 | b1))
        out[w + 2 * WORDS] = (a2 & b2) | (step & (a2 | b2))
        out[w + 3 * WORDS] = (a3 & b3) | (step & (a3 | b3))
        steps += count_bits(step) * multiplicity[w]
    return steps


@compiled
def _join_five(a, b, multiplicity, out):
    steps = np.uint64(0)
    for w in range(WORDS):
        a0, a1, a2, a3 = a[w], a[w + WORDS], a[w + 2 * WORDS], a[w + 3 * WORDS]
        b0, b1, b2, b3 = b[w], b[w + WORDS], b[w + 2 * WORDS], b[w + 3 * WORDS]
        a4, b4 = a[w + 4 * WORDS], b[w + 4 * WORDS]
        step = ALL ^ ((a0 & b0) | (a1 & b1) | (a2 & b2) | (a3 & b3) | (a4 & b4))
        out[w] = (a0 & b0) | (step & (a0 | b0))
        out[w + WORDS] = (a1 & b1) | (step & (a1 | b1))
        out[w + 2 * WORDS] = (a2 & b2) | (step & (a2 | b2))
        out[w + 3 * WORDS] = (a3 & b3) | (step & (a3 | b3))
        out[w + 4 * WORDS] = (a4 & b4) | (step & (a4 | b4))
        steps += count_bits(step) * multiplicity[w]
    return steps


@compiled
def scores(children, tips, multiplicity, steps):
    """Adds to steps [tree]. children [tree, internal, 2], tips [block, taxon, state * WORDS],
    multiplicity [block, WORDS]."""
    n_blocks, n, width = tips.shape
    sets = np.empty((2 * n - 1, width), np.uint64)
    for block in range(n_blocks):
        sets[:n] = tips[block]
        for tree in range(len(children)):
            total = np.uint64(0)
            for k in range(n - 1):
                a, b = sets[children[tree, k, 0]], sets[children[tree, k, 1]]
                if width == 4 * WORDS:
                    total += _join_four(a, b, multiplicity[block], sets[n + k])
                else:
                    total += _join_five(a, b, multiplicity[block], sets[n + k])
            steps[tree] += np.int64(total)


@compiled
def merge(left, right, multiplicity, out, steps):
    """Joins left and right [batch, block, state * WORDS] into out; fills steps [batch]."""
    n_batch, n_blocks, width = left.shape
    for i in range(n_batch):
        total = np.uint64(0)
        for block in range(n_blocks):
            a, b = left[i, block], right[i, block]
            if width == 4 * WORDS:
                total += _join_four(a, b, multiplicity[block], out[i, block])
            else:
                total += _join_five(a, b, multiplicity[block], out[i, block])
        steps[i] = np.int64(total)
