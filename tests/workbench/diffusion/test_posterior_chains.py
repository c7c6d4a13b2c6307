"""Chains of the denoising posterior against closed forms of Gaussian mixtures."""

from __future__ import annotations

import pytest
import torch

from domains.synthetic.gaussian_mixture import GaussianMixture
from workbench.diffusion.options import IdemConfig
from workbench.diffusion.posterior_chains import PosteriorChainOptions
from workbench.diffusion.score_target import chain_score
from workbench.errors import InputError


def two_wells() -> GaussianMixture:
    means = torch.tensor([[-3.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    return GaussianMixture(
        means, torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([0.3, 0.7])
    )


def exact(mixture: GaussianMixture, x: torch.Tensor, variance: float) -> torch.Tensor:
    return mixture.noised_log_density_and_score(x, variance)[1]


@pytest.mark.parametrize("n_leapfrog", [1, 5])
def test_exact_starts_stay_exact(n_leapfrog, generator):
    """From exact clean samples every draw is exact: the error is that of the mean alone, however few
    the steps. Averaged over 4,000 rows the target must match the score within 5 standard errors."""
    mixture, variance = two_wells(), 0.5
    clean = mixture.exact_samples(4000, generator).double()
    x = clean + variance**0.5 * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    h = torch.full((4000,), variance, dtype=clean.dtype)
    options = PosteriorChainOptions(n_chains=2, n_moves=4, n_leapfrog=n_leapfrog, fine_length=0.5)
    found = chain_score(mixture, x, h, clean, options, generator, "none").score
    # Weighted by x, so that errors do not cancel by symmetry.
    difference = ((found - exact(mixture, x, variance)) * x).sum(1)
    stderr = difference.std() / len(x) ** 0.5
    assert abs(float(difference.mean())) < 5 * float(stderr)


def test_wrong_starts_are_mended_by_fresh_draws(generator):
    """All clean samples in the wrong well: moves cannot cross, draws of the posterior do."""
    mixture, variance = two_wells(), 4.0
    x = torch.tensor([[3.0, 0.0]], dtype=torch.float64).expand(64, 2)
    clean = torch.tensor([[-3.0, 0.0]], dtype=torch.float64).expand(64, 2)
    h = torch.full((64,), variance, dtype=x.dtype)
    truth = exact(mixture, x[:1], variance)
    errors = []
    for n_global in (0, 2000):
        options = PosteriorChainOptions(64, 10, 2, 0.5, n_global, proposal_length=4.0)
        target = chain_score(mixture, x, h, clean, options, generator)
        errors.append(float((target.score.mean(0) - truth).norm()))
    assert errors[0] > 0.5
    assert errors[1] < 0.05


def test_global_draws_need_their_length():
    with pytest.raises(InputError, match="proposal-length"):
        IdemConfig(global_draws=10, chain_steps=4)
