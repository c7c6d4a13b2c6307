"""Marginal likelihoods: enumeration against reference values, stepping stones against enumeration."""

from __future__ import annotations

import pytest
import torch

from domains.phylogeny import exact_posterior, stepping_stone, tree_mcmc
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.tree_target import TreeTarget
from tests.domains.phylogeny import small_sets
from workbench.errors import InputError


def test_six_taxa_enumerated(reference_data, generator):
    target = TreeTarget(small_sets.six_taxa(reference_data("phylogeny/DS5.fasta")))
    likelihood = TreeLikelihood(target.patterns, target.model(target.start))
    config = exact_posterior.Config(n_samples=40_000)
    found = exact_posterior.enumerate_posterior(config, likelihood, generator)
    estimate = found.log_marginal_likelihood
    error = (estimate.stderr**2 + small_sets.SIX_TAXA_LOG_MARGINAL_STDERR**2) ** 0.5
    assert error < 0.03
    assert abs(estimate.value - small_sets.SIX_TAXA_LOG_MARGINAL) < 5 * error
    top = found.table().frequency[:3]
    known = torch.tensor(small_sets.SIX_TAXA_POSTERIOR, dtype=torch.float64)
    torch.testing.assert_close(top, known, atol=0.02, rtol=0)
    assert float(found.probability.sum()) == pytest.approx(1.0)
    assert len(found.trees) == 105 and 1 <= int(found.sampled.sum()) <= 10
    assert found.n_likelihood_evaluations == likelihood.count.n_likelihood


def test_four_taxa_without_data_have_the_prior(generator):
    """Missing data only: every topology has probability one third and the data probability one."""
    patterns = small_sets.random_patterns(4, 3, generator)
    missing = type(patterns)(
        patterns.names, torch.full_like(patterns.states, 32), patterns.weights, patterns.n_sites
    )
    target = TreeTarget(missing)
    likelihood = TreeLikelihood(missing, target.model(target.start))
    found = exact_posterior.enumerate_posterior(exact_posterior.Config(), likelihood, generator)
    assert abs(found.log_marginal_likelihood.value) < 5 * found.log_marginal_likelihood.stderr
    assert bool(((found.probability - 1 / 3).abs() < 5 * found.stderr).all())


def test_stepping_stones_of_six_taxa(reference_data, generator):
    target = TreeTarget(small_sets.six_taxa(reference_data("phylogeny/DS5.fasta")))
    chains = tree_mcmc.Config(steps_per_round=10, rounds_per_step=50, n_warmup=50)
    config = stepping_stone.Config(n_stones=16, n_repeats=8, n_rounds=250, chains=chains)
    found = stepping_stone.estimate(config, target, generator)
    estimate = found.log_marginal_likelihood
    assert estimate.stderr < 0.3
    assert abs(estimate.value - small_sets.SIX_TAXA_LOG_MARGINAL) < 5 * estimate.stderr
    assert found.contributions.shape == (16, 8)
    assert bool((found.swap_rates > 0.2).all())
    assert found.n_likelihood_evaluations <= 8 * 17 * 300 * 10
    with pytest.raises(InputError, match="at least 2 of each"):
        stepping_stone.Config(n_repeats=1).ladder()
