"""PhyloGFN against posteriors that are known."""

from __future__ import annotations

import math

import pytest
import torch

from domains.phylogeny.forest_options import ForestOptions, recommended
from domains.phylogeny.models import substitution_model
from domains.phylogeny.phylogfn import PhyloGFN
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.trees import topology_keys
from tests.domains.phylogeny.small_sets import (
    SIX_TAXA_LOG_MARGINAL,
    SIX_TAXA_LOG_MARGINAL_STDERR,
    SIX_TAXA_POSTERIOR,
    related_patterns,
    six_taxa,
)
from workbench.errors import InputError
from workbench.gflownet import algorithm
from workbench.gflownet.evaluation import importance_log_partition
from workbench.gflownet.options import Exploration, GFlowNetConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("target", ["posterior", "parsimony"])
def test_trees_and_objects_are_in_the_order_of_the_alignment(target):
    patterns = related_patterns(7, 60, generator(1))
    phylo = PhyloGFN.build(patterns, target, None, ForestOptions(width=8), generator())
    trees = TreePrior().draw(7, 20, generator(2))
    objects = phylo.objects(trees)
    back = phylo.trees_of(objects)
    assert torch.equal(topology_keys(back), topology_keys(trees))
    assert sorted(phylo.taxa.tolist()) == list(range(7))
    torch.testing.assert_close(phylo.objects(back).children, objects.children)


def test_first_tree_is_better_than_random_ones():
    patterns = related_patterns(9, 100, generator(3))
    phylo = PhyloGFN.build(patterns, "posterior", None, ForestOptions(width=8), generator())
    random = phylo.log_reward(phylo.objects(TreePrior().draw(9, 50, generator(4))))
    assert float(phylo.log_reward(phylo.first)) > float(random.max())


def test_untrained_importance_weights_know_the_marginal_likelihood(reference_data):
    patterns = six_taxa(reference_data("phylogeny/DS5.fasta"))
    phylo = PhyloGFN.build(patterns, "posterior", None, ForestOptions(), generator(5))
    drawn = algorithm.sample(phylo.environment, phylo.policy, 1500, generator(6), chunk=250)
    found = importance_log_partition(phylo.log_weights(drawn))
    error = math.hypot(found.stderr, SIX_TAXA_LOG_MARGINAL_STDERR)
    assert found.stderr < 0.25
    assert abs(found.value - SIX_TAXA_LOG_MARGINAL) < 5 * error
    assert phylo.n_likelihood_evaluations >= 3000


def test_other_models_and_their_count():
    hky = substitution_model(
        exchangeabilities=[1, 3, 1, 1, 3, 1], frequencies=[0.2, 0.3, 0.3, 0.2], shape=0.7
    )
    patterns = related_patterns(6, 50, generator(7))
    phylo = PhyloGFN.build(patterns, "posterior", hky, ForestOptions(width=8), generator())
    drawn = algorithm.sample(phylo.environment, phylo.policy, 8, generator(8))
    expected = phylo.environment.likelihood.log_likelihood(phylo.environment.trees_of(drawn.final))
    expected = expected + TreePrior().log_density(phylo.environment.trees_of(drawn.final))
    torch.testing.assert_close(drawn.log_reward, expected)
    assert bool(phylo.log_weights(drawn).isfinite().all())
    assert phylo.n_fitch_evaluations == 0.0


def test_too_few_taxa_and_bad_options():
    with pytest.raises(InputError, match="at least 4"):
        PhyloGFN.build(
            related_patterns(3, 20, generator()), "posterior", None, ForestOptions(), generator()
        )
    with pytest.raises(InputError, match="bin_width"):
        ForestOptions(bin_width=0.0)
    assert recommended("parsimony", 100).steps == 100


@pytest.mark.slow
@pytest.mark.parametrize("lengths", ["mixture", "bins"])
def test_six_taxa_reach_the_enumerated_posterior(reference_data, lengths):
    patterns = six_taxa(reference_data("phylogeny/DS5.fasta"))
    options = ForestOptions(lengths=lengths, n_bins=60, bin_width=0.01)
    phylo = PhyloGFN.build(patterns, "posterior", None, options, generator(9))
    config = GFlowNetConfig(
        objective="tb",
        backward="uniform",
        steps=1000,
        batch=64,
        learning_rate=5e-3,
        exploration=Exploration(epsilon=0.1, annealed=0.8),
    )
    g = generator(10)
    state = algorithm.init(config, phylo.environment, g, policy=phylo.policy)
    for _ in range(config.steps):
        state, _ = algorithm.step(config, phylo.environment, state)
    policy = state.average.module
    drawn = algorithm.sample(phylo.environment, policy, 10_000, g, chunk=250)
    found = importance_log_partition(phylo.log_weights(drawn, policy))
    error = math.hypot(found.stderr, SIX_TAXA_LOG_MARGINAL_STDERR)
    assert abs(found.value - SIX_TAXA_LOG_MARGINAL) < 5 * error
    assert found.stderr < 0.02
    _, counts = topology_keys(phylo.trees_of(drawn.final)).unique(return_counts=True)
    shares = (counts.sort(descending=True).values / 10_000)[: len(SIX_TAXA_POSTERIOR)]
    known = torch.tensor(SIX_TAXA_POSTERIOR)
    assert float((shares - known).abs().sum()) / 2 < 0.02
