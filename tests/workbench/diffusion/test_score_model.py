"""The score network: its force channel has the right derivative, and it starts from known scores."""

from __future__ import annotations

import pytest
import torch

from domains.molecules import DoubleWell, LennardJones
from domains.synthetic.gaussian_mixture import GaussianMixture
from tests.workbench.diffusion.exact import uneven_mixture
from workbench.diffusion.options import NetworkConfig
from workbench.diffusion.schedule import GeometricSchedule
from workbench.diffusion.score_model import ScoreModel, _Force
from workbench.problem import normal_like_space

SCHEDULE = GeometricSchedule(0.02, 20.0)


def model_of(energy, **options):
    torch.manual_seed(0)
    config = NetworkConfig(width=16, layers=2, **{"length": 2.0, "fine_length": 0.4} | options)
    return ScoreModel(energy, SCHEDULE, config).double()


def test_gradient_through_the_force_is_the_hessian_times_a_vector(generator):
    mixture = uneven_mixture()
    x = (2 * torch.randn((32, 2), generator=generator, dtype=torch.float64)).requires_grad_(True)
    vector = torch.randn((32, 2), generator=generator, dtype=torch.float64)
    (product,) = torch.autograd.grad(_Force.apply(x, mixture, 1e-5), x, vector)
    hessian_rows = []
    for k in range(2):
        shift = torch.zeros(2, dtype=torch.float64)
        shift[k] = 1e-4
        ahead, behind = (mixture.energy_and_force(x.detach() + s * shift)[1] for s in (1, -1))
        hessian_rows.append((ahead - behind) / 2e-4)
    expected = torch.einsum("kbi,bi->bk", torch.stack(hessian_rows), vector)
    assert torch.allclose(product, expected, rtol=1e-4, atol=1e-4)


def test_gradient_of_the_whole_score_against_finite_differences(generator):
    """float32 cannot tell; in float64 the flow's divergence needs this."""
    energy = LennardJones(4)
    model = model_of(energy, length=0.8, fine_length=0.1).requires_grad_(False)
    for parameter in model.parameters():  # away from the start, where the net is zero
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).double())
    x = 0.8 * normal_like_space(energy, 3, generator, torch.float64)
    t = torch.full((3,), 0.4, dtype=torch.float64)
    direction = normal_like_space(energy, 3, generator, torch.float64)
    vector = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    y = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad((model(y, t) * vector).sum(), y)
    ahead, behind = (model(x + s * 1e-5 * direction, t) for s in (1, -1))
    expected = ((ahead - behind) * vector).flatten(1).sum(1) / 2e-5
    assert torch.allclose((gradient * direction).flatten(1).sum(1), expected, rtol=1e-3)


def test_score_at_no_noise_is_the_force(generator):
    """At t = 0 nothing else is left, trained or not, for forces well below the soft bound."""
    mixture = GaussianMixture(torch.zeros((1, 2)), torch.tensor([3.0]))
    x = torch.randn((16, 2), generator=generator, dtype=torch.float64)
    score = model_of(mixture, fine_length=1e-3)(x, torch.zeros(16, dtype=torch.float64))
    force = mixture.energy_and_force(x)[1]
    assert torch.allclose(score.detach(), force, rtol=1e-4, atol=1e-6)


def test_untrained_score_at_full_noise_is_the_priors(generator):
    """With a fine length far below the noise the force has no say at t = 1."""
    mixture = uneven_mixture()
    x = 20 * torch.randn((16, 2), generator=generator, dtype=torch.float64)
    score = model_of(mixture, fine_length=1e-3)(x, torch.ones(16, dtype=torch.float64))
    expected = -x / (SCHEDULE.final_variance + 4.0)
    assert torch.allclose(score.detach(), expected, atol=1e-6)


def test_without_force_no_energy_is_asked(generator):
    class Silent(LennardJones):
        def energy_and_force(self, x):
            raise AssertionError("the network asked for a force")

    energy = Silent(4)
    model = model_of(energy, use_force=False)
    x = normal_like_space(energy, 3, generator, torch.float64)
    assert torch.isfinite(model(x, torch.full((3,), 0.5, dtype=torch.float64))).all()


@pytest.mark.parametrize("energy", [DoubleWell(4), LennardJones(5)])
def test_particle_scores_are_equivariant(energy, generator):
    model = model_of(energy, length=1.0, fine_length=0.1).requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).double())
    n, space = energy.event_shape
    x = 1.5 * normal_like_space(energy, 6, generator, torch.float64)
    t = torch.rand((6,), generator=generator, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn((space, space), generator=generator, dtype=torch.float64))
    order = torch.randperm(n, generator=generator)
    score = model(x, t)
    assert torch.allclose(model(x @ q + 3.0, t), score @ q, atol=1e-6 * float(score.abs().max()))
    assert torch.allclose(model(x[:, order], t), score[:, order], atol=1e-8 * score.abs().max())


def test_clashes_give_finite_scores_in_single_precision(generator):
    energy = LennardJones(5)
    model = model_of(energy, length=0.7, fine_length=0.05).float()
    x = 1e-3 * normal_like_space(energy, 4, generator)
    assert torch.isfinite(model(x, torch.full((4,), 0.2))).all()
