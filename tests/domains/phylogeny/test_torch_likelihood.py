"""The torch path and merges of forests: compiled = torch, model gradients, single precision, meta device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.models import substitution_model
from domains.phylogeny.torch_likelihood import (
    invariant_sites,
    merge_partials,
    root_log_likelihood,
    tip_partials,
    tree_log_likelihood,
)
from domains.phylogeny.trees import Trees
from tests.domains.phylogeny.phylogeny_cases import (
    MODELS,
    random_patterns,
    random_trees,
    relative,
)


@pytest.mark.parametrize("text", MODELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_compiled_merges_are_those_of_torch(text, dtype, generator):
    model = parse_model(text).build()
    tips = tip_partials(random_patterns(6, 77, generator), model.n_categories, dtype=dtype)
    t = torch.rand(2, 6, generator=generator, dtype=torch.float64)
    compiled, log_scale = merge_partials(model, tips, tips.flip(0), t[0], t[1])
    by_torch, scale = merge_partials(model, tips, tips.flip(0), t[0].requires_grad_(), t[1])
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    assert compiled.dtype == dtype and log_scale.dtype == dtype
    whole = compiled * log_scale.exp()[:, None]
    expected = (by_torch * scale.exp()[:, None]).detach()
    assert float((whole - expected).abs().max()) < tolerance
    assert float(compiled.amax(1).min()) >= 0.5 and float(compiled.amax()) < 1.0 + tolerance


@pytest.mark.parametrize("text", MODELS)
def test_a_forest_merged_to_the_end_has_the_likelihood_of_its_tree(text, generator):
    model = parse_model(text).build()
    patterns = random_patterns(8, 60, generator)
    trees = random_trees(8, 4, generator)
    tips = tip_partials(patterns, model.n_categories)
    parts = [tip.expand(4, *tip.shape) for tip in tips]
    rows, log_scales = torch.arange(4), torch.zeros(4, 60, dtype=torch.float64)
    for k in range(7):
        stacked, nodes = torch.stack(parts), trees.children[:, k]
        i, j = nodes[:, 0], nodes[:, 1]
        merged, scale = merge_partials(
            model,
            stacked[i, rows],
            stacked[j, rows],
            trees.lengths[rows, i],
            trees.lengths[rows, j],
        )
        parts.append(merged)
        log_scales = log_scales + scale
    invariant = invariant_sites(patterns, model)
    value = root_log_likelihood(model, parts[-1], log_scales, patterns.weights, invariant)
    expected = TreeLikelihood(patterns, model).log_likelihood(trees)
    assert relative(value, expected) < 1e-12


def test_gradients_in_the_parameters_of_the_model(generator):
    patterns, trees = random_patterns(6, 40, generator), random_trees(6, 3, generator)
    rates, shape, share = [1.5, 3.0, 0.8, 1.2, 4.1, 1.0], 0.7, 0.2
    frequencies = [0.3, 0.2, 0.2, 0.3]

    def value(exchangeabilities, alpha, invariant):
        model = substitution_model(
            exchangeabilities=exchangeabilities,
            frequencies=frequencies,
            shape=alpha,
            invariant=invariant,
        )
        return tree_log_likelihood(patterns, model, trees).sum()

    given = [torch.tensor(x, dtype=torch.float64).requires_grad_() for x in (rates, shape, share)]
    gradients = torch.autograd.grad(value(*given), given)
    for which, gradient in enumerate(gradients):
        step = torch.zeros_like(given[which]).detach()
        step.view(-1)[0] = 1e-5
        higher, lower = (
            value(
                *[g.detach() + s * step if i == which else g.detach() for i, g in enumerate(given)]
            )
            for s in (1.0, -1.0)
        )
        difference = float(higher - lower) / 2e-5
        assert float(gradient.view(-1)[0]) == pytest.approx(difference, rel=1e-5)


def test_any_device(generator):
    """Nothing is taken off the device: on `meta` that would raise."""
    model = parse_model(MODELS[-1]).build().to("meta")
    patterns, trees = random_patterns(5, 11, generator), random_trees(5, 3, generator)
    lengths = trees.lengths.to("meta").requires_grad_()
    patterns = replace(patterns, states=patterns.states.to("meta"))
    value = tree_log_likelihood(patterns, model, Trees(trees.children.to("meta"), lengths))
    assert (value.shape, value.device.type) == ((3,), "meta")


def test_single_precision_does_not_underflow(generator):
    patterns, drawn = random_patterns(80, 30, generator), random_trees(80, 2, generator)
    model = parse_model("JC").build()
    single = Trees(drawn.children, drawn.lengths.float())
    value = tree_log_likelihood(patterns, model, single)
    assert value.dtype == torch.float32
    assert relative(value.double(), TreeLikelihood(patterns, model).log_likelihood(drawn)) < 1e-5
