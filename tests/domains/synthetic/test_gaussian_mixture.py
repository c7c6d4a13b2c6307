"""Mixtures: the published means, the kernel against torch, the noised score against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from domains.synthetic import GaussianMixture
from workbench.errors import InputError


def _distribution(mixture: GaussianMixture, variance: float = 0.0) -> MixtureSameFamily:
    total = mixture.standard_deviations**2 + variance
    covariance = total[:, None, None] * torch.eye(mixture.degrees_of_freedom, dtype=torch.float64)
    return MixtureSameFamily(
        Categorical(mixture.weights), MultivariateNormal(mixture.means, covariance)
    )


def _uneven(n_space: int = 3) -> GaussianMixture:
    generator = torch.Generator().manual_seed(1)
    means = 4 * torch.randn((6, n_space), generator=generator)
    spreads = 0.5 + torch.rand(6, generator=generator)
    return GaussianMixture(means, spreads, torch.arange(1.0, 7.0))


def test_forty_has_the_published_means_and_leaves_the_global_seed_alone() -> None:
    torch.manual_seed(0)
    published = (torch.rand((40, 2)) - 0.5) * 2 * 40
    state = torch.get_rng_state()
    mixture = GaussianMixture.forty()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(mixture.means.float(), published)
    spread = float(torch.nn.functional.softplus(torch.tensor(1.0)))
    assert mixture.standard_deviations.tolist() == pytest.approx([spread] * 40)


def test_twenty_five_is_the_grid() -> None:
    mixture = GaussianMixture.twenty_five()
    assert mixture.means.shape == (25, 2)
    assert sorted(set(mixture.means[:, 1].tolist())) == [-10, -5, 0, 5, 10]
    assert float(mixture.standard_deviations[0]) == pytest.approx(math.sqrt(0.3))


@pytest.mark.parametrize("make", [GaussianMixture.forty, GaussianMixture.twenty_five, _uneven])
def test_energy_is_minus_log_density_near_and_far(make, generator: torch.Generator) -> None:  # type: ignore[no-untyped-def]
    mixture = make()
    near = mixture.exact_samples(500, generator).double()
    x = torch.cat([near, mixture.initial(500, generator).double(), 20 * near])
    u, force = mixture.energy_and_force(x)
    torch.testing.assert_close(u, -_distribution(mixture).log_prob(x), rtol=1e-12, atol=1e-10)
    by_torch = mixture._by_torch(x, 0.0)
    torch.testing.assert_close(u, by_torch[0], rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(force, by_torch[1], rtol=1e-10, atol=1e-10)


def test_points_beyond_the_range_of_the_number_format_stay_visible() -> None:
    u = GaussianMixture.forty().energy(torch.tensor([[1e30, 0.0], [0.0, 0.0]]))
    assert not bool(u[0].isfinite()) and bool(u[1].isfinite())


def test_kernel_takes_strided_and_empty_input() -> None:
    mixture = GaussianMixture.forty()
    wide = torch.arange(24.0).reshape(6, 4)
    torch.testing.assert_close(mixture.energy(wide[:, ::2]), mixture.energy(wide[:, ::2].clone()))
    u, force = mixture.energy_and_force(torch.zeros(0, 2))
    assert u.shape == (0,) and force.shape == (0, 2)


@pytest.mark.parametrize("variance", [0.0, 0.3, 25.0, 2500.0])
def test_noised_density_and_score(variance: float, generator: torch.Generator) -> None:
    mixture = _uneven()
    x = (mixture.initial(64, generator).double() * 2).requires_grad_()
    log_density, score = mixture.noised_log_density_and_score(x, variance)
    exact = _distribution(mixture, variance).log_prob(x)
    (gradient,) = torch.autograd.grad(exact.sum(), x)
    torch.testing.assert_close(log_density, exact.detach(), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(score, gradient, rtol=1e-9, atol=1e-10)


def test_noise_may_differ_from_point_to_point(generator: torch.Generator) -> None:
    mixture = GaussianMixture.forty()
    x = mixture.initial(5000, generator).double()
    variance = 100 * torch.rand(5000, generator=generator, dtype=torch.float64)
    log_density, score = mixture.noised_log_density_and_score(x, variance)
    for i in (0, 1234, 4999):
        one = mixture.noised_log_density_and_score(x[i : i + 1], float(variance[i]))
        torch.testing.assert_close(log_density[i : i + 1], one[0])
        torch.testing.assert_close(score[i : i + 1], one[1])


def test_noised_law_is_the_law_of_noisy_samples(generator: torch.Generator) -> None:
    mixture, variance, n = _uneven(2), 1.7, 100_000
    x = mixture.exact_samples(n, generator).double()
    x = x + math.sqrt(variance) * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    score = mixture.noised_log_density_and_score(x, variance)[1]
    virial = -(x * score).sum(1)
    assert abs(float((virial.mean() - 2) / (virial.std() / n**0.5))) < 5


def test_exact_samples_follow_the_weights(generator: torch.Generator) -> None:
    mixture, n = _uneven(), 50_000
    far_apart = GaussianMixture(100 * mixture.means, mixture.standard_deviations, mixture.weights)
    nearest = torch.cdist(far_apart.exact_samples(n, generator).double(), far_apart.means).argmin(1)
    share = torch.bincount(nearest, minlength=6) / n
    error = (mixture.weights * (1 - mixture.weights) / n).sqrt()
    assert bool(((share - mixture.weights).abs() < 5 * error).all())


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="must all be positive"):
        GaussianMixture(torch.zeros(2, 2), torch.tensor([1.0, 0.0]))
    # With shape checks on, these refuse first.
    with pytest.raises((InputError, TypeCheckError)):
        GaussianMixture(torch.zeros(2, 2), torch.ones(3))
    with pytest.raises(InputError, match="zero or positive"):
        GaussianMixture.forty().noised_log_density_and_score(torch.zeros(1, 2), -1.0)
