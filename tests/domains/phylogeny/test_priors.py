"""The prior of trees: draws follow its density, the root's edge counts once."""

from __future__ import annotations

import math

import pytest
import torch

from domains.phylogeny.priors import TreePrior
from domains.phylogeny.trees import rerooted, topology_keys
from workbench.errors import InputError


def test_the_density_of_a_tree_written_out(generator):
    trees = TreePrior(7.0).draw(6, 5, generator)
    expected = 9 * math.log(7.0) - 7.0 * trees.lengths.sum(1) - math.log(3 * 5 * 7)
    assert torch.allclose(TreePrior(7.0).log_density(trees), expected, atol=1e-12)


def test_the_root_does_not_change_the_density(generator):
    trees = TreePrior().draw(8, 4, generator)
    at = torch.tensor([1, 9, 5, 12])
    moved = rerooted(trees, at, torch.zeros(4, dtype=torch.float64))
    densities = (TreePrior().log_density(t) for t in (trees, moved))
    assert torch.allclose(*densities, atol=1e-12)


def test_draws_are_uniform_trees_with_exponential_lengths(generator):
    n = 30_000
    trees = TreePrior(10.0).draw(5, n, generator)
    _, counts = topology_keys(trees).unique(return_counts=True)
    assert len(counts) == 15
    expected = n / 15
    # Chi-square with 14 degrees of freedom: mean 14, variance 28.
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 14 + 5 * math.sqrt(28)
    total = trees.lengths.sum(1)  # seven edges: gamma law with shape 7
    assert float(total.mean()) == pytest.approx(0.7, abs=5 * 0.1 * math.sqrt(7 / n))
    assert float(total.var()) == pytest.approx(0.07, rel=5 * math.sqrt(3 / n))


def test_bad_rate_is_named():
    with pytest.raises(InputError, match="is 0: give it above zero"):
        TreePrior(0.0)
