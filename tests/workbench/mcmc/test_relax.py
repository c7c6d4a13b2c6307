"""Minimisation: quadratic minima exactly, energies that never rise, clashes that come apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.workbench.mcmc.targets import Cliff, DoubleWell, HarmonicParticles, Target
from workbench.errors import InputError
from workbench.mcmc import relax
from workbench.problem import centred


class Repelling(Target):
    """Three particles: sum over pairs of r^-12 - r^-6, mean-free. Minimum -1/4 per pair."""

    mean_free = True
    event_shape = (3, 3)

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        apart = x[:, :, None] - x[:, None]
        square = apart.square().sum(-1) + torch.eye(3, dtype=x.dtype) * 1e30
        sixth = square**-3
        u = 0.5 * (sixth * sixth - sixth).sum((1, 2))
        slope = (12 * sixth * sixth - 6 * sixth) / square
        return u, (slope[..., None] * apart).sum(2)


def test_quadratic_minimum(generator: torch.Generator) -> None:
    energy = HarmonicParticles()
    x = energy.initial(16, generator)
    result = relax.relax(relax.Config(tolerance=1e-6, n_steps=2000), energy, x)
    assert bool(result.converged.all())
    assert float(result.x.abs().max()) < 1e-5
    assert float(result.energy.max()) < 1e-9


def test_each_start_finds_its_own_minimum() -> None:
    energy = DoubleWell()
    x = torch.tensor([[-2.0], [-0.5], [0.6], [3.0]]).double()
    result = relax.relax(relax.Config(tolerance=1e-6), energy, x)
    assert bool(result.converged.all())
    low, _, high = np.sort(np.roots([12, 0, -12, 0.5]))
    minima = torch.tensor([low, low, high, high])
    assert torch.allclose(result.x[:, 0], minima, atol=1e-5)


def test_clashes_come_apart(generator: torch.Generator) -> None:
    energy = Repelling()
    x = centred(0.02 * torch.randn(64, 3, 3, generator=generator, dtype=torch.float64))
    assert float(energy.energy(x).min()) > 1e10
    result = relax.relax(relax.Config(n_steps=2000), energy, x)
    assert float(result.energy.max()) == pytest.approx(-0.75, abs=1e-3)
    assert float(result.x.mean(dim=1).abs().max()) < 1e-12
    assert torch.allclose(energy.energy(result.x), result.energy)


def test_energy_never_ends_above_its_start(generator: torch.Generator) -> None:
    energy = DoubleWell()
    x = energy.initial(64, generator)
    for n_steps in (1, 3, 10):
        result = relax.relax(relax.Config(n_steps=n_steps, time_step=0.3), energy, x)
        assert bool((result.energy <= energy.energy(x)).all())


def test_refusals() -> None:
    x = torch.zeros(2, 1).double()
    with pytest.raises(InputError, match="positive settings"):
        relax.relax(relax.Config(n_steps=0), DoubleWell(), x)
    with pytest.raises(InputError, match="no finite energy"):
        relax.relax(relax.Config(), Cliff(), x + 2)
