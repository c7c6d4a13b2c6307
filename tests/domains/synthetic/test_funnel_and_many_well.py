"""Funnel and many-well against independent closed forms and quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from torch.distributions import Normal

from domains.synthetic import Funnel, ManyWell
from workbench.errors import InputError


@pytest.mark.parametrize("funnel", [Funnel.easy(), Funnel.hard()])
def test_funnel_is_minus_its_log_density(funnel: Funnel, generator: torch.Generator) -> None:
    x = funnel.initial(50, generator).double()
    exact = Normal(0.0, funnel.standard_deviation).log_prob(x[:, 0])
    exact = exact + Normal(0.0, torch.exp(0.5 * x[:, :1])).log_prob(x[:, 1:]).sum(1)
    torch.testing.assert_close(funnel.energy(x), -exact)
    assert (Funnel.easy().standard_deviation, Funnel.hard().standard_deviation) == (1.0, 3.0)


def test_many_well_has_the_published_partition_function() -> None:
    # Z of the well part as published with the target; log Z of 16 pairs.
    known = ManyWell(32).known
    expected = 16 * (math.log(11784.50927) + 0.5 * math.log(2 * math.pi))
    assert known.log_partition == pytest.approx(expected, abs=1e-6)
    assert known.log_partition == pytest.approx(164.696, abs=5e-4)


def test_many_well_samples_follow_the_well_density(generator: torch.Generator) -> None:
    n = 20_000
    wells = ManyWell(32).exact_samples(n, generator)[:, 0::2].double().flatten()

    def density(a: float) -> float:
        return math.exp(-(a**4) + 6 * a**2 + 0.5 * a)

    whole = quad(density, -4, 4, points=[-1.7, 1.7])[0]
    for low, high in [(-4, 0), (0, 1.5), (1.5, 1.8), (1.8, 4)]:
        expected = quad(density, low, high)[0] / whole
        share = float(((wells > low) & (wells < high)).double().mean())
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / wells.numel())


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="even number"):
        ManyWell(3)
    with pytest.raises(InputError, match="dim >= 2"):
        Funnel(1, 1.0)
    with pytest.raises(InputError, match="positive standard deviation"):
        Funnel(10, 0.0)
