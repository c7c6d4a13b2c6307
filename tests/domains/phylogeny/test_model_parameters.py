"""Free parameters of models as vectors: there and back, and priors that integrate to one."""

from __future__ import annotations

import math

import pytest
import torch

from domains.phylogeny.model_parameters import log_prior, to_values, to_vector, width
from domains.phylogeny.model_strings import parse_model

VALUES = {
    "kappa": (2.5,),
    "exchangeabilities": (1.5, 3.0, 0.8, 1.2, 4.1),
    "frequencies": (0.3, 0.2, 0.15, 0.35),
    "invariant": (0.2,),
    "shape": (0.7,),
}


@pytest.mark.parametrize("text", ["JC", "K80", "HKY+FO+G4", "GTR+FO+I+G4"])
def test_there_and_back(text):
    specification = parse_model(text)
    given = {name: VALUES[name] for name in specification.free}
    z = to_vector(specification, given)
    assert len(z) == width(specification)
    back = to_values(specification, z)
    for name, values in given.items():
        assert back[name] == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "mass"), [("K80", 1.0), ("JC+I", 1.0), ("JC+G4", math.exp(-0.01))]
)
def test_densities_of_one_number_integrate_to_one(text, mass):
    specification = parse_model(text)
    grid = torch.linspace(-30.0, 30.0, 6001, dtype=torch.float64)
    values = torch.tensor([log_prior(specification, z[None]) for z in grid], dtype=torch.float64)
    total = float(torch.trapezoid(values.exp(), grid))
    # No model takes a shape below 0.01, which the exponential law leaves out.
    assert total == pytest.approx(mass, abs=2e-3)


@pytest.mark.parametrize(("text", "n_shares"), [("F81+FO", 4), ("GTR", 6)])
def test_densities_of_shares_are_those_of_a_flat_dirichlet_law(text, n_shares, generator):
    """z are log ratios of flat Dirichlet shares: the mean of q / p over draws of p is one for a normal q."""
    specification = parse_model(text)
    n = 4000
    shares = torch.empty(n, n_shares, dtype=torch.float64).exponential_(generator=generator)
    z = (shares[:, :-1] / shares[:, -1:]).log()
    log_p = torch.tensor([log_prior(specification, row) for row in z], dtype=torch.float64)
    # A normal law inside: covariance of log ratios of unit exponentials has 1 on top of a diagonal of 1.
    inside = torch.distributions.MultivariateNormal(
        torch.zeros(n_shares - 1, dtype=torch.float64),
        0.5 * (torch.eye(n_shares - 1, dtype=torch.float64) + 1.0),
    )
    ratio = (inside.log_prob(z) - log_p).exp()
    error = float(ratio.std()) / math.sqrt(n)
    assert error < 0.05
    assert float(ratio.mean()) == pytest.approx(1.0, abs=5 * error)


def test_a_shape_that_no_model_takes_is_impossible():
    specification = parse_model("JC+G4")
    assert log_prior(specification, torch.tensor([math.log(0.005)])) == -math.inf
