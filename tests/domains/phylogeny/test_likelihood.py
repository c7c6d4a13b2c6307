"""Felsenstein likelihoods: IQ-TREE's values, brute force, finite differences, torch, rerooting, 500 taxa."""

from __future__ import annotations

import itertools

import pytest
import torch

from domains.phylogeny.likelihood import TreeLikelihood, counted_frequencies
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.torch_likelihood import tree_log_likelihood
from domains.phylogeny.trees import Trees, rerooted
from tests.domains.phylogeny.phylogeny_cases import (
    MODELS,
    dataset,
    random_patterns,
    random_trees,
    reference,
    reference_trees,
    relative,
    tree_of,
)
from workbench.errors import InputError


def test_jc69_values_of_iqtree_and_phangorn(reference_data, tmp_path):
    model = parse_model("JC").build()
    for name, patterns, tree, known in reference_trees(reference_data, tmp_path):
        value = float(TreeLikelihood(patterns, model).log_likelihood(tree))
        # IQ-TREE prints four decimals; the other value is that of independent code.
        assert value == pytest.approx(known["lnL_iqtree_blfix"], abs=2e-4), name
        assert value == pytest.approx(known["lnL_own"], abs=2e-6), name


def test_values_of_iqtree_for_other_models(reference_data, tmp_path):
    known = reference(reference_data)
    for name, models in known["models"]["values"].items():
        patterns = dataset(reference_data, name)
        newick = known["datasets"][name]["trees"]["iqtree_ml_jc"]["newick"]
        tree = tree_of(newick, patterns, tmp_path)
        for entry in models.values():
            model = parse_model(entry["model_string"]).build()
            value = float(TreeLikelihood(patterns, model).log_likelihood(tree))
            assert value == pytest.approx(entry["log_likelihood"], abs=1e-3), model.name


def test_all_topologies_of_small_sets(reference_data, tmp_path):
    for known in reference(reference_data)["small_exact"].values():
        patterns = dataset(reference_data, known["dataset"]).take(known["taxa"])
        listed = known["topologies"]
        trees = tree_of("\n".join(t["newick"] for t in listed), patterns, tmp_path)
        values = TreeLikelihood(patterns, parse_model("JC").build()).log_likelihood(trees)
        expected = torch.tensor([t["lnL_jc_bl0.1"] for t in listed], dtype=torch.float64)
        assert float((values - expected).abs().max()) < 2e-6


@pytest.mark.parametrize("text", MODELS)
def test_sum_over_all_inner_states(text, generator):
    """Four taxa: the sum over the 64 assignments of states to the inner nodes, written out."""
    model = parse_model(text).build()
    patterns = random_patterns(4, 9, generator)
    trees = random_trees(4, 1, generator)
    matrices = model.transition(trees.lengths[0])
    children = trees.children[0].tolist()
    masks = torch.where(patterns.states >= 16, 15, patterns.states.int())
    allowed = ((masks[..., None] >> torch.arange(4)) & 1).double()
    total = torch.zeros(9, dtype=torch.float64)
    for c, weight in enumerate(model.category_weights):
        for inner in itertools.product(range(4), repeat=3):
            term = weight * model.frequencies[inner[2]] * torch.ones(9, dtype=torch.float64)
            for k, pair in enumerate(children):
                for v in pair:
                    row = matrices[v, c, inner[k]]
                    term = term * (allowed[v] @ row if v < 4 else row[inner[v - 4]])
            total = total + term
    total = total + model.invariant * (allowed.prod(0) @ model.frequencies)
    expected = (patterns.weights * total.log()).sum()
    value = TreeLikelihood(patterns, model).log_likelihood(trees)
    assert float(value) == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("text", MODELS)
def test_gradients_are_those_of_torch_and_of_differences(text, generator):
    model = parse_model(text).build()
    patterns = random_patterns(9, 150, generator)
    trees = random_trees(9, 5, generator)
    likelihood = TreeLikelihood(patterns, model)
    value, gradient = likelihood.log_likelihood_and_gradient(trees)
    lengths = trees.lengths.clone().requires_grad_()
    by_torch = tree_log_likelihood(patterns, model, Trees(trees.children, lengths))
    (slope,) = torch.autograd.grad(by_torch.sum(), lengths)
    assert relative(likelihood.log_likelihood(trees), value) < 1e-14
    assert relative(value, by_torch.detach()) < 1e-12
    assert relative(gradient, slope) < 1e-10
    for edge in range(0, 16, 5):
        step = torch.zeros_like(trees.lengths)
        step[:, edge] = 1e-4 * trees.lengths[:, edge]
        higher, lower = (
            likelihood.log_likelihood(Trees(trees.children, trees.lengths + s * step))
            for s in (1.0, -1.0)
        )
        difference = (higher - lower) / (2.0 * step[:, edge])
        assert torch.allclose(gradient[:, edge], difference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", ["JC", MODELS[-1]])
def test_neither_root_nor_order_of_taxa_matters(text, generator):
    model = parse_model(text).build()
    patterns = random_patterns(12, 100, generator)
    trees = random_trees(12, 6, generator)
    value = TreeLikelihood(patterns, model).log_likelihood(trees)
    at = torch.tensor([0, 3, 12, 14, 17, 11])
    moved = rerooted(trees, at, torch.zeros(6, dtype=torch.float64))
    assert relative(TreeLikelihood(patterns, model).log_likelihood(moved), value) < 1e-13
    order = torch.randperm(12, generator=generator)
    place = torch.empty(21 + 2, dtype=torch.int64)
    place[order], place[12:] = torch.arange(12), torch.arange(12, 23)
    lengths = torch.empty_like(trees.lengths)
    lengths[:, place[:22]] = trees.lengths
    renamed = Patterns(
        tuple(patterns.names[i] for i in order),
        patterns.states[order],
        patterns.weights,
        patterns.n_sites,
    )
    shuffled = Trees(place[trees.children], lengths)
    assert relative(TreeLikelihood(renamed, model).log_likelihood(shuffled), value) < 1e-13


@pytest.mark.parametrize("text", ["JC", MODELS[-1]])
@pytest.mark.parametrize("scale", [1.0, 1e-9, 30.0])
def test_nothing_underflows_with_500_taxa(text, scale, generator):
    """Against torch, which rescales after every merge. Gradients at tiny lengths are like 1/length."""
    model = parse_model(text).build()
    patterns = random_patterns(500, 20, generator)
    drawn = random_trees(500, 2, generator)
    trees = Trees(drawn.children, scale * drawn.lengths)
    value, gradient = TreeLikelihood(patterns, model).log_likelihood_and_gradient(trees)
    assert relative(TreeLikelihood(patterns, model).log_likelihood(trees), value) < 1e-14
    expected = tree_log_likelihood(patterns, model, trees)
    assert float(value.max()) < -1e5
    assert relative(value, expected) < 1e-10
    edge = 700
    step = torch.zeros_like(trees.lengths)
    step[:, edge] = 1e-3 * trees.lengths[:, edge]
    higher, lower = (
        TreeLikelihood(patterns, model).log_likelihood(Trees(trees.children, trees.lengths + s))
        for s in (step, -step)
    )
    difference = (higher - lower) / (2.0 * step[:, edge])
    noise = 1e-9 / step[:, edge]
    assert bool(((gradient[:, edge] - difference).abs() < 1e-4 * difference.abs() + noise).all())


def test_impossible_sites_are_minus_infinity(generator):
    patterns = Patterns(
        ("a", "b", "c"), torch.tensor([[1], [2], [1]], dtype=torch.uint8), torch.ones(1).double(), 1
    )
    children = torch.tensor([[[0, 1], [2, 3]]])
    trees = Trees(children, torch.zeros(1, 4, dtype=torch.float64))
    value = TreeLikelihood(patterns, parse_model("JC").build()).log_likelihood(trees)
    assert float(value) == -torch.inf


def test_evaluations_are_counted_across_models(generator):
    likelihood = TreeLikelihood(random_patterns(5, 8, generator), parse_model("JC").build())
    other = likelihood.with_model(parse_model("K80{3}").build())
    trees = random_trees(5, 7, generator)
    likelihood.log_likelihood(trees)
    changed = other.log_likelihood_and_gradient(trees)[0]
    assert (likelihood.count.n_likelihood, likelihood.count.n_gradient) == (14, 7)
    assert not torch.equal(changed, likelihood.log_likelihood(trees))


def test_bad_trees_are_named(generator):
    likelihood = TreeLikelihood(random_patterns(5, 8, generator), parse_model("JC").build())
    trees = random_trees(5, 3, generator)
    trees.lengths[2, 4] = -0.5
    with pytest.raises(InputError, match=r"node 4 of tree 2 has length -0\.5"):
        likelihood.log_likelihood(trees)
    with pytest.raises(InputError, match="6 tips but the alignment has 5"):
        likelihood.log_likelihood(random_trees(6, 1, generator))


def test_counted_frequencies_share_out_ambiguity_codes():
    # A A C G T T R -: R is split between A and G in proportion, gaps do not count.
    column = torch.tensor([1, 1, 2, 4, 8, 8, 5, 16], dtype=torch.uint8)[:, None]
    patterns = Patterns(tuple("abcdefgh"), column, torch.tensor([3.0]).double(), 3)
    a, c, g, t = counted_frequencies(patterns)
    assert (c, t) == pytest.approx((1 / 7, 2 / 7), abs=1e-12)
    assert a / g == pytest.approx(2.0, abs=1e-9)  # the fixed point keeps the ratio of certain ones
    assert a + g == pytest.approx(4 / 7, abs=1e-12)


def test_a_base_that_never_occurs_cannot_be_counted():
    patterns = Patterns(
        ("a", "b"), torch.tensor([[1], [2]], dtype=torch.uint8), torch.ones(1).double(), 1
    )
    with pytest.raises(InputError, match="G, T never occurs"):
        counted_frequencies(patterns)
