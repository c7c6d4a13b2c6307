"""Markov chains of trees: partial updates against whole likelihoods, the prior, a known posterior, resuming."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from domains.phylogeny import tree_mcmc
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.summaries import convergence, sample_of, topology_table
from domains.phylogeny.tree_mcmc import Config, MoveShares
from domains.phylogeny.tree_target import TreeTarget
from domains.phylogeny.trees import topology_keys
from tests.domains.phylogeny import small_sets
from workbench.errors import InputError


@pytest.mark.parametrize(
    ("model", "n_taxa"),
    [
        ("JC69", 11),
        ("F81+F{0.1,0.2,0.3,0.4}", 4),
        ("HKY{2.5}+F{0.3,0.2,0.25,0.25}+G4{0.5}", 9),
        ("GTR{1.5,3.0,0.8,1.2,4.1}+F{0.3,0.2,0.2,0.3}+I{0.2}+G4{0.7}", 13),
        ("JC69", 300),
        ("K80{2}+I{0.1}", 300),
    ],
)
def test_partial_updates_are_whole_likelihoods(model, n_taxa, generator):
    """After thousands of accepted and refused proposals; 300 random taxa need scaling."""
    patterns = small_sets.random_patterns(n_taxa, 50, generator)
    target = TreeTarget(patterns, parse_model(model))
    config = Config(n_ladders=1, n_rungs=2, steps_per_round=200, rounds_per_step=5)
    state = tree_mcmc.init(config, target, generator)
    _, trace = tree_mcmc.run(config, target, state, 10, generator)
    whole = TreeLikelihood(patterns, target.model(target.start)).log_likelihood(trace.trees)
    torch.testing.assert_close(trace.log_likelihood[..., 0].flatten(), whole, rtol=1e-11, atol=0)


ONLY = MoveShares(length=0.4, interchange=0.0, walk=0.0, regraft=0.0, scale=0.0)


@pytest.mark.parametrize(
    "shares",
    [
        replace(ONLY, interchange=0.6),
        replace(ONLY, walk=0.6),
        replace(ONLY, regraft=0.6),
        replace(ONLY, interchange=0.3, scale=0.3),
    ],
    ids=["interchange", "walk", "regraft", "scale"],
)
def test_each_move_keeps_the_prior(shares, generator):
    """Without likelihood: uniform topologies of 5 taxa, lengths whose sum is Gamma(7, 10)."""
    target = TreeTarget(small_sets.random_patterns(5, 1, generator))
    config = Config(
        n_ladders=40, n_rungs=1, steps_per_round=10, n_warmup=50, extension=0.6, shares=shares
    )
    config = replace(config, rounds_per_step=50)
    prior = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    state = tree_mcmc.init(config, target, generator, betas=prior)
    state, _ = tree_mcmc.run(config, target, state, 50, generator)
    _, trace = tree_mcmc.run(config, target, state, 1500, generator)
    length = trace.tree_length[..., 0]
    for values, known in ((length, 0.7), (length.square(), 0.07 + 0.49)):
        means = values.mean(0)
        assert abs(float(means.mean()) - known) < 5 * float(means.std()) / math.sqrt(40)
    keys = topology_keys(trace.trees).view(length.shape)
    distinct = keys.unique()
    assert len(distinct) == 15
    share = (keys[..., None] == distinct).double().mean(0)
    error = share.std(0) / math.sqrt(40)
    assert bool(((share.mean(0) - 1 / 15).abs() < 5 * error).all())


def test_the_posterior_of_six_taxa(reference_data, generator):
    """Against importance sampling over all 105 topologies (JC69)."""
    target = TreeTarget(small_sets.six_taxa(reference_data("phylogeny/DS5.fasta")))
    config = Config(n_ladders=16, n_rungs=1, steps_per_round=20, rounds_per_step=50, n_warmup=100)
    state = tree_mcmc.init(config, target, generator)
    state, _ = tree_mcmc.run(config, target, state, 100, generator)
    state, trace = tree_mcmc.run(config, target, state, 1500, generator)
    table = topology_table(sample_of(trace))
    for key, known in zip(table.keys, small_sets.SIX_TAXA_POSTERIOR, strict=False):
        keys = topology_keys(trace.trees).view(-1, 16)
        share = (keys == key).double().mean(0)
        assert abs(float(share.mean()) - known) < 5 * float(share.std()) / 4
    found = convergence(trace)
    assert found.asdsf is not None and found.asdsf < 0.03
    assert found.log_posterior.r_hat < 1.02 and found.tree_length.r_hat < 1.02
    assert found.log_posterior.ess > 1000
    assert 0 < state.n_likelihood_evaluations <= 16 * 1600 * 20


def test_heated_chains_and_free_parameters_keep_the_prior(generator):
    """HKY+G4 without data: kappa/(1+kappa) uniform, shape exponential, in the cold chain of two."""
    patterns = small_sets.random_patterns(4, 1, generator)
    patterns = replace(patterns, states=torch.full_like(patterns.states, 16))
    target = TreeTarget(patterns, parse_model("HKY+FQ+G4"))
    config = Config(n_ladders=8, n_rungs=2, heating=0.5, steps_per_round=1, rounds_per_step=1)
    state = tree_mcmc.init(config, target, generator)
    windows = torch.tensor([2.0, 1.0, 0.3, 3.0], dtype=torch.float64)
    state = replace(state, windows=windows.expand_as(state.windows).clone())
    _, trace = tree_mcmc.run(replace(config, n_warmup=0), target, state, 150, generator)
    log_kappa, log_shape = trace.parameters[20:, :, 0].unbind(-1)
    for values, known in ((torch.sigmoid(log_kappa), 0.5), (log_shape.exp(), 1.0)):
        means = values.mean(0)
        assert abs(float(means.mean()) - known) < 5 * float(means.std()) / math.sqrt(8)


def test_a_resumed_run_is_the_uninterrupted_one(generator):
    target = TreeTarget(small_sets.random_patterns(8, 40, generator), parse_model("K80+G2"))
    config = Config(n_ladders=2, n_rungs=3, steps_per_round=20, rounds_per_step=5, n_warmup=10)
    start = tree_mcmc.init(config, target, generator)
    seeds = (torch.Generator().manual_seed(3), torch.Generator().manual_seed(3))
    whole, trace = tree_mcmc.run(config, target, start, 30, seeds[0])
    half, first = tree_mcmc.run(config, target, start, 15, seeds[1])
    again, second = tree_mcmc.run(config, target, half, 15, seeds[1], n_threads=2)
    both = tree_mcmc.joined([first, second])
    assert torch.equal(trace.log_likelihood, both.log_likelihood)
    assert torch.equal(trace.trees.lengths, both.trees.lengths)
    assert torch.equal(trace.log_prior, both.log_prior)
    assert torch.equal(whole.parent, again.parent)
    assert torch.equal(whole.counts, again.counts)
    assert torch.equal(trace.last(15).tree_length, second.tree_length)


def test_what_cannot_be_run_is_said(generator):
    patterns = small_sets.random_patterns(5, 10, generator)
    with pytest.raises(InputError, match="rate of the prior"):
        TreeTarget(patterns, rate=0.0)
    with pytest.raises(InputError, match="at least 4"):
        TreeTarget(patterns.take(patterns.names[:3]))
    target = TreeTarget(patterns)
    for wrong, words in (
        (Config(n_rungs=0), "n_rungs is 0"),
        (Config(n_kept_rungs=9), "only 4 rungs"),
        (Config(extension=0.9), "extension is 0.9"),
        (Config(shares=MoveShares(length=0.0)), "shares of the moves"),
    ):
        with pytest.raises(InputError, match=words):
            tree_mcmc.init(wrong, target, generator)
