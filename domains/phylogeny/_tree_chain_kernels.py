"""Compiled Markov chains of trees: many Metropolis-Hastings steps and exchanges between chains.

Chain c has the law  likelihood^{beta_likelihood} x prior^{beta_prior}  of its rung; neighbouring rungs
exchange their places with

    log acceptance = (b_i - b_j) . (log l_j - log l_i, log prior_j - log prior_i),

even pairs in even rounds and odd pairs in odd ones. All random numbers are passed in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from domains.phylogeny._partial_kernels import (
    Sites,
    compiled,
    make_work,
    root_log_likelihood,
    turn_back,
    update_all,
    update_paths,
)
from domains.phylogeny._tree_move_kernels import ACCEPT, SCALE, make_undo, propose, undo_move


class Models(NamedTuple):
    """What a model of each chain gives to `Sites`, stacked: arrays [chain, ...]."""

    invariant: np.ndarray
    eigenvalues: np.ndarray
    left: np.ndarray
    right: np.ndarray
    frequencies: np.ndarray
    rates: np.ndarray
    shares: np.ndarray
    p_invariant: np.ndarray


@compiled
def _sites(tips, weights, uniform, equal_input, models, c):
    return Sites(
        tips,
        weights,
        uniform,
        models.invariant[c],
        equal_input,
        models.eigenvalues[c],
        models.left[c],
        models.right[c],
        models.frequencies[c],
        models.rates[c],
        models.shares[c],
        models.p_invariant[c],
    )


@compiled
def log_likelihoods_of(tips, weights, uniform, equal_input, models, parent, child, length):
    """Log-likelihood [chain] of each chain's tree under its model, from scratch."""
    values = np.empty(len(parent))
    for c in range(len(parent)):
        sites = _sites(tips, weights, uniform, equal_input, models, c)
        work = make_work(sites, parent[c], child[c], length[c])
        update_all(sites, work)
        values[c] = root_log_likelihood(sites, work)
    return values


class Chains(NamedTuple):
    """The chains of one ladder, changed in place: trees that hang from tip 0 [chain, node], which chain is at
    each rung, and per rung and move the counts tried, accepted, log-likelihoods and nodes computed; `swaps`
    [pair, 2] are exchanges tried and accepted."""

    parent: np.ndarray
    child: np.ndarray
    length: np.ndarray
    rung_to_chain: np.ndarray
    counts: np.ndarray
    swaps: np.ndarray


class Law(NamedTuple):
    """cumulative [N_MOVES] shares of the moves, windows [rung, 3 or more], the walk's extension, betas [rung,
    2] of likelihood and prior, rate of the prior of lengths, parameter_log_prior [chain]."""

    cumulative: np.ndarray
    windows: np.ndarray
    extension: float
    betas: np.ndarray
    rate: float
    parameter_log_prior: np.ndarray


class Records(NamedTuple):
    """What is stored after each round: of all rungs log_likelihoods and length_sums [round, rung]; of the
    first ones the tree in parents and lengths [round, kept, node] and its chain in chains [round, kept]."""

    parents: np.ndarray
    lengths: np.ndarray
    log_likelihoods: np.ndarray
    length_sums: np.ndarray
    chains: np.ndarray


@compiled
def run_steps(sites, work, undo, draws, law, rung, log_likelihood, counts):
    """`len(draws)` steps of one chain; returns the log-likelihood at the end."""
    n_taxa = sites.tips.shape[0]
    windows, betas = law.windows[rung], law.betas[rung]
    for i in range(len(draws)):
        move, possible, log_ratio, grown, low, other = propose(
            work, undo, draws[i], law.cumulative, windows, law.extension, n_taxa
        )
        counts[move, 0] += 1
        if not possible:
            continue
        n_flipped = (
            update_all(sites, work) if move == SCALE else update_paths(sites, work, low, other)
        )
        proposed = root_log_likelihood(sites, work)
        counts[move, 2] += 1
        counts[move, 3] += n_flipped
        log_ratio += betas[0] * (proposed - log_likelihood) - betas[1] * law.rate * grown
        # A proposal whose likelihood is not a number fails the comparison and is refused.
        if math.log(1.0 - draws[i, ACCEPT]) < log_ratio:
            log_likelihood = proposed
            counts[move, 1] += 1
        else:
            undo_move(work, undo)
            turn_back(work, n_flipped)
    return log_likelihood


@compiled
def _exchange(chains, betas, log_likelihood, log_prior, parity, draws):
    """Exchanges neighbouring rungs."""
    at = chains.rung_to_chain
    for r in range(parity, len(at) - 1, 2):
        i, j = at[r], at[r + 1]
        log_ratio = (betas[r, 0] - betas[r + 1, 0]) * (log_likelihood[j] - log_likelihood[i])
        log_ratio += (betas[r, 1] - betas[r + 1, 1]) * (log_prior[j] - log_prior[i])
        chains.swaps[r, 0] += 1
        if math.log(1.0 - draws[r]) < log_ratio:
            at[r], at[r + 1] = j, i
            chains.swaps[r, 1] += 1


@compiled
def run_ladder(
    tips,
    weights,
    uniform,
    equal_input,
    models,
    chains,
    law,
    first_round,
    draws,
    swap_draws,
    records,
):
    """Rounds of steps of all chains of one ladder, an exchange after each.

    tips, weights, uniform and equal_input are those of `Sites`; draws [round, rung, step, N_DRAWS] and
    swap_draws [round, rung] are uniform numbers; `first_round` counts those made before."""
    n_chains, n_nodes = chains.parent.shape
    undo = make_undo(n_nodes)
    log_likelihood, length_sum = np.empty(n_chains), np.empty(n_chains)
    sites = [_sites(tips, weights, uniform, equal_input, models, c) for c in range(n_chains)]
    works = [
        make_work(sites[c], chains.parent[c], chains.child[c], chains.length[c])
        for c in range(n_chains)
    ]
    for c in range(n_chains):
        update_all(sites[c], works[c])
        log_likelihood[c] = root_log_likelihood(sites[c], works[c])
    for k in range(len(draws)):
        for r in range(n_chains):
            c = chains.rung_to_chain[r]
            log_likelihood[c] = run_steps(
                sites[c], works[c], undo, draws[k, r], law, r, log_likelihood[c], chains.counts[r]
            )
            length_sum[c] = chains.length[c, 1:].sum()
        log_prior = law.parameter_log_prior - law.rate * length_sum
        parity = (first_round + k) % 2
        _exchange(chains, law.betas, log_likelihood, log_prior, parity, swap_draws[k])
        for r in range(n_chains):
            c = chains.rung_to_chain[r]
            records.log_likelihoods[k, r] = log_likelihood[c]
            records.length_sums[k, r] = length_sum[c]
            if r < records.chains.shape[1]:
                records.chains[k, r] = c
                records.parents[k, r] = chains.parent[c]
                records.lengths[k, r] = chains.length[c]


@compiled
def children_from_parents(parents, lengths, children, edges):
    """Trees [tree, node] that hang from tip 0 as postorder arrays rooted on tip 0's edge: `children`
    [tree, n-1, 2] and `edges` [tree, 2n-2] are filled."""
    n_trees, n_nodes = parents.shape
    n_taxa = n_nodes // 2 + 1
    child = np.empty((n_nodes, 2), np.int64)
    degree = np.empty(n_nodes, np.int64)
    stack = np.empty(n_nodes, np.int64)
    order = np.empty(n_nodes, np.int64)
    number = np.empty(n_nodes, np.int64)
    for t in range(n_trees):
        degree[:] = 0
        for v in range(1, n_nodes):
            p = parents[t, v]
            child[p, degree[p]] = v
            degree[p] += 1
        stack[0] = child[0, 0]
        height, visited = 1, 0
        while height > 0:
            height -= 1
            v = stack[height]
            order[visited] = v
            visited += 1
            if v >= n_taxa:
                stack[height], stack[height + 1] = child[v, 0], child[v, 1]
                height += 2
        inner = n_taxa
        for i in range(visited - 1, -1, -1):
            v = order[i]
            number[v] = v
            if v >= n_taxa:
                number[v] = inner
                children[t, inner - n_taxa, 0] = number[child[v, 0]]
                children[t, inner - n_taxa, 1] = number[child[v, 1]]
                inner += 1
            edges[t, number[v]] = lengths[t, v]
        # The root in the middle of tip 0's edge.
        top = inner - 1
        children[t, n_taxa - 2, 0], children[t, n_taxa - 2, 1] = 0, top
        edges[t, 0] = 0.5 * edges[t, top]
        edges[t, top] = edges[t, 0]
