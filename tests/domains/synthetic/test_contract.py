"""Every synthetic energy: forces by finite differences, known answers by its own exact samples."""

from __future__ import annotations

import pytest
import torch

from domains.synthetic import NAMES, Funnel, GaussianMixture, ManyWell, named
from workbench.errors import InputError
from workbench.problem import Energy, ExactSampler


@pytest.fixture(params=NAMES)
def energy(request: pytest.FixtureRequest) -> GaussianMixture | Funnel | ManyWell:
    return named(request.param)


def test_follows_the_protocols(energy: Energy) -> None:
    assert isinstance(energy, Energy)
    assert isinstance(energy, ExactSampler)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_dtype_and_input_and_needs_no_graph(
    energy: Energy, dtype: torch.dtype, generator: torch.Generator
) -> None:
    x = energy.initial(7, generator).to(dtype).requires_grad_()
    before = x.detach().clone()
    u, force = energy.energy_and_force(x)
    assert u.shape == (7,) and force.shape == x.shape
    assert u.dtype == force.dtype == dtype and not u.requires_grad and not force.requires_grad
    assert torch.equal(x.detach(), before)
    torch.testing.assert_close(energy.energy(x), u)
    assert bool(torch.isfinite(u).all() and torch.isfinite(force).all())


def test_force_is_minus_the_gradient(energy: Energy, generator: torch.Generator) -> None:
    x = energy.initial(20, generator).double()
    force = energy.energy_and_force(x)[1]
    step = 1e-5
    for axis in range(energy.event_shape[0]):
        shift = torch.zeros_like(x)
        shift[:, axis] = step
        slope = (energy.energy(x + shift) - energy.energy(x - shift)) / (2 * step)
        torch.testing.assert_close(force[:, axis], -slope, rtol=1e-6, atol=1e-5)


def test_exact_samples_have_the_known_mean_energy_and_virial(
    energy: GaussianMixture, generator: torch.Generator
) -> None:
    n = 100_000
    x = energy.exact_samples(n, generator).double()
    u, force = energy.energy_and_force(x)
    assert energy.known.mean_energy is not None
    error = (u.mean() - energy.known.mean_energy.value) / (u.std() / n**0.5)
    assert abs(float(error)) < 5
    virial = -(x * force).sum(1)
    error = (virial.mean() - energy.degrees_of_freedom) / (virial.std() / n**0.5)
    assert abs(float(error)) < 5


def test_nan_stays_visible(energy: Energy, generator: torch.Generator) -> None:
    for dtype in (torch.float32, torch.float64):
        x = energy.initial(300, generator).to(dtype)
        x[5] = torch.nan
        u, force = energy.energy_and_force(x)
        assert bool(u[5].isnan()) and bool(force[5].isnan().all())
        assert int(u.isnan().sum()) == 1


def test_float32_agrees_with_float64(energy: Energy, generator: torch.Generator) -> None:
    x = energy.initial(2000, generator)
    narrow, wide = energy.energy_and_force(x), energy.energy_and_force(x.double())
    torch.testing.assert_close(narrow[0].double(), wide[0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(narrow[1].double(), wide[1], rtol=1e-4, atol=1e-3)


def test_wrong_shape_is_refused(energy: Energy) -> None:
    with pytest.raises(InputError, match="takes points"):
        energy.energy_and_force(torch.zeros(3, 5))


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match='did you mean "gmm40"'):
        named("gmm-40")
