"""Monte-Carlo score targets against closed forms: Gaussian mixtures and single Gaussians."""

from __future__ import annotations

import pytest
import torch

from domains.molecules import LennardJones
from domains.synthetic.gaussian_mixture import GaussianMixture
from workbench.diffusion.score_target import draw_noise, estimate_score
from workbench.problem import KnownAnswers


class Gaussian:
    """N(0, s2) in three dimensions: the control variate must make every draw exact."""

    name, event_shape, degrees_of_freedom = "gaussian", (3,), 3
    mean_free, length_unit, known = False, "1", KnownAnswers(log_partition=0.0)

    def __init__(self, s2: float) -> None:
        self.s2 = s2

    def energy(self, x):
        return 0.5 * x.square().sum(-1) / self.s2

    def energy_and_force(self, x):
        return self.energy(x), -x / self.s2

    def initial(self, n, generator):
        return torch.randn((n, 3), generator=generator)


def points(mixture: GaussianMixture, variance: float, n: int, generator: torch.Generator):
    x = mixture.exact_samples(n, generator).double()
    return x + variance**0.5 * torch.randn(x.shape, generator=generator, dtype=x.dtype)


@pytest.mark.parametrize("proposal_length", [None, 8.0])
@pytest.mark.parametrize("control", ["none", "variance"])
@pytest.mark.parametrize("variance", [0.05, 1.0, 4.0])
def test_tends_to_the_exact_score_of_a_mixture(control, variance, proposal_length, generator):
    mixture = GaussianMixture.twenty_five()
    x = points(mixture, variance, 64, generator)
    _, exact = mixture.noised_log_density_and_score(x, variance)
    h = x.new_full((len(x),), variance)
    errors = []
    for draws in (64, 4096):
        noise = draw_noise(mixture, len(x), draws, generator, x.dtype)
        target = estimate_score(mixture, x, h, noise, control, proposal_length)
        errors.append(float((target.score - exact).norm()))
    assert errors[1] < 0.35 * errors[0]


def test_mean_squared_error_falls_as_one_over_draws(generator):
    """Variance O(1/K) dominates the squared bias O(1/K^2): the slope of log MSE is near -1."""
    mixture = GaussianMixture.twenty_five()
    x = points(mixture, 1.0, 512, generator)
    _, exact = mixture.noised_log_density_and_score(x, 1.0)
    h = torch.ones(len(x), dtype=x.dtype)
    mse = []
    for draws in (128, 512, 2048):
        noise = draw_noise(mixture, len(x), draws, generator, x.dtype)
        mse.append(estimate_score(mixture, x, h, noise).score.sub(exact).square().mean().log())
    slope = float(mse[2] - mse[0]) / torch.log(torch.tensor(16.0)).item()
    assert -1.35 < slope < -0.75


def test_control_variate_is_exact_on_a_gaussian(generator):
    """c* = h / (s2 + h) makes every draw the exact score -x / (s2 + h), at any K; the small pull of c
    towards 1 leaves a thousandth."""
    energy = Gaussian(2.0)
    x = torch.randn((32, 3), generator=generator, dtype=torch.float64)
    h = torch.full((32,), 2.0, dtype=torch.float64)
    exact = -x / 4.0
    noise = draw_noise(energy, 32, 64, generator, x.dtype)
    plain = estimate_score(energy, x, h, noise, "none").score - exact
    controlled = estimate_score(energy, x, h, noise, "variance").score - exact
    assert float(controlled.norm()) < 0.02 * float(plain.norm())


def test_gaussian_proposal_is_exact_on_its_gaussian(generator):
    """With l^2 = s2 every draw is one of the posterior: all of them count."""
    energy = Gaussian(2.0)
    x = torch.randn((8, 3), generator=generator, dtype=torch.float64)
    h = torch.full((8,), 50.0, dtype=torch.float64)
    noise = draw_noise(energy, 8, 64, generator, x.dtype)
    target = estimate_score(energy, x, h, noise, "variance", proposal_length=2.0**0.5)
    assert torch.allclose(target.effective, torch.full_like(h, 64.0))
    assert torch.allclose(target.score, -x / 52.0, atol=2e-3)


def test_equals_autograd_through_logmeanexp(generator):
    """The importance-weighted form is the gradient of log (1/K) sum exp(-u(x + sqrt(h) eps_i))."""
    energy = LennardJones(5)
    x = 1.5 * torch.randn((6, 5, 3), generator=generator, dtype=torch.float64)
    h = torch.full((6,), 0.04, dtype=torch.float64)
    noise = draw_noise(energy, 6, 50, generator, x.dtype)

    def log_mean(y):
        z = y[:, None] + 0.2 * noise
        difference = (z[:, :, :, None] - z[:, :, None]).flatten(2, 3)
        keep = torch.eye(5, dtype=torch.bool).logical_not().flatten()
        squared = difference[:, :, keep].square().sum(-1)
        pairs = (squared**-6 - 2 * squared**-3).sum(-1)
        tether = 0.5 * (z - z.mean(2, keepdim=True)).square().sum((-2, -1))
        return torch.logsumexp(-(pairs + tether), dim=1).sum()

    y = x.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(log_mean(y), y)
    score = estimate_score(energy, x, h, noise, "none").score
    assert torch.allclose(score, expected, rtol=1e-6, atol=1e-8)


def test_clashes_do_not_poison_the_target(generator):
    """Draws of overflowing energy have weight zero; the control variate bounds what is left."""
    energy = LennardJones(13)
    x = 0.05 * torch.randn((16, 13, 3), generator=generator)
    noise = draw_noise(energy, 16, 32, generator, torch.float32)
    target = estimate_score(energy, x, torch.full((16,), 1e-4), noise, "variance")
    assert torch.isfinite(target.score).all()


def test_no_finite_draw_is_said(generator):
    energy = LennardJones(3)
    with pytest.raises(FloatingPointError, match="no draw"):
        estimate_score(energy, torch.zeros((1, 3, 3)), torch.ones(1), torch.zeros((1, 4, 3, 3)))
