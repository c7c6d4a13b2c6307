"""Laws of lengths are densities on the half-line, and draws follow them."""

from __future__ import annotations

import math

import pytest
import torch

from domains.phylogeny.branch_length_bins import Bins
from domains.phylogeny.branch_lengths import GammaMixture

LAWS = {"mixture": GammaMixture(3), "bins": Bins(40, 0.005, 10.0)}
BASE = torch.tensor([[math.log(0.03), math.log(9.0)]], dtype=torch.float64)


def raw(law, seed: int = 0) -> torch.Tensor:
    return 0.5 * torch.randn(1, law.n_outputs, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", LAWS)
def test_density_integrates_to_one(name):
    law = LAWS[name]
    edges = torch.logspace(-9, 0.5, 60_001, dtype=torch.float64)
    t = (edges[1:] + edges[:-1]) / 2
    log_q = law.log_prob(BASE.expand(len(t), -1), raw(law).expand(len(t), -1), t)
    assert float((log_q.exp() * torch.diff(edges)).sum()) == pytest.approx(1.0, abs=5e-4)


@pytest.mark.parametrize("name", LAWS)
def test_draws_follow_the_density(name):
    law, n = LAWS[name], 10_000
    t = law.sample(BASE.expand(n, -1), raw(law).expand(n, -1), torch.Generator().manual_seed(1))
    assert bool((t > 0).all())
    edges = torch.linspace(0.0, 3.0, 20_001, dtype=torch.float64)
    middle = (edges[1:] + edges[:-1]) / 2
    log_q = law.log_prob(BASE.expand(20_000, -1), raw(law).expand(20_000, -1), middle)
    below = torch.cat([torch.zeros(1), (log_q.exp() * torch.diff(edges)).cumsum(0)])
    for quantile in (0.1, 0.5, 0.9):
        place = edges[torch.searchsorted(below, quantile)]
        share = float((t < place).double().mean())
        assert abs(share - quantile) < 5 * math.sqrt(quantile * (1 - quantile) / n) + 4e-3


def test_untrained_mixture_is_centred_on_the_suggestion():
    law = GammaMixture(1)
    t = torch.tensor([0.02], dtype=torch.float64)
    expected = torch.distributions.Gamma(torch.tensor(9.25).double(), 9.25 / 0.03).log_prob(t)
    torch.testing.assert_close(law.log_prob(BASE, torch.zeros(1, 3), t), expected)
