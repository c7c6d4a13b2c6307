"""Priors: draws follow their densities, the root's edge counts once, densities integrate to one."""

from __future__ import annotations

import math

import pytest
import torch

from domains.phylogeny.model_parameters import log_prior, to_vector
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.priors import TreePrior, draw_parameters, log_parameter_density
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


@pytest.mark.parametrize("text", ["K80", "HKY+FO+G4", "GTR+FO+I+G4"])
def test_parameter_densities_are_those_of_the_vector_form(text, generator):
    """z = log kappa and so on: their densities differ by the Jacobian, here by differences of z."""
    specification = parse_model(text)
    drawn = draw_parameters(specification, 3, generator)
    for i in range(3):
        values = {name: tuple(value[i].tolist()) for name, value in drawn.items()}
        jacobian = 0.0
        for name, given in values.items():
            if name == "frequencies":
                jacobian += sum(math.log(share) for share in given)
            elif name == "invariant":
                jacobian += math.log(given[0] * (1.0 - given[0]))
            else:
                jacobian += sum(math.log(value) for value in given)
        natural = float(log_parameter_density({k: v[i : i + 1] for k, v in drawn.items()}))
        vector = log_prior(specification, to_vector(specification, values))
        assert natural + jacobian == pytest.approx(vector, abs=1e-9)


def test_draws_of_parameters_follow_their_laws(generator):
    n = 20_000
    drawn = draw_parameters(parse_model("GTR+FO+I+G4"), n, generator)
    kappa = draw_parameters(parse_model("K80"), n, generator)["kappa"]
    uniform = [kappa / (1 + kappa), drawn["invariant"], torch.exp(-drawn["shape"])]
    for values in uniform:
        assert float(values.mean()) == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / n))
        assert float((values**2).mean()) == pytest.approx(1 / 3, abs=5 * math.sqrt(4 / 45 / n))
    share = drawn["frequencies"][:, 2]  # Beta(1, 3)
    assert float(share.mean()) == pytest.approx(0.25, abs=5 * math.sqrt(3 / 80 / n))
    rates = drawn["exchangeabilities"]
    first = rates[:, 0] / (1 + rates.sum(1))  # Beta(1, 5)
    assert float(first.mean()) == pytest.approx(1 / 6, abs=5 * math.sqrt(5 / 252 / n))


def test_parameters_out_of_range_are_impossible():
    values = {"kappa": torch.tensor([[-1.0], [2.0]]), "invariant": torch.tensor([[0.5], [1.0]])}
    assert log_parameter_density(values).tolist() == [-math.inf, -math.inf]


def test_bad_rate_is_named():
    with pytest.raises(InputError, match="must be positive, not 0"):
        TreePrior(0.0)
