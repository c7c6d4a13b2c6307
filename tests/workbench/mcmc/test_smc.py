"""log Z and moments of annealed SMC against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.workbench.mcmc.targets import (
    DoubleWell,
    HarmonicParticles,
    TwoWells,
    correlated_gaussian,
)
from workbench.errors import InputError
from workbench.mcmc import hmc, mala, smc
from workbench.problem import Estimate

HMC = hmc.Config(step_size=0.2, n_leapfrog=4)


def assert_close(estimate: Estimate, exact: float, at_most: float) -> None:
    assert 0 < estimate.stderr < at_most
    assert abs(estimate.value - exact) < 5 * estimate.stderr, (estimate, exact)


@pytest.mark.parametrize("move", [HMC, mala.Config(step_size=0.2)])
def test_gaussian(move: hmc.Config | mala.Config, generator: torch.Generator) -> None:
    energy = correlated_gaussian()
    result = smc.run(smc.Config(sigma=2.0, move=move, n_moves=4), energy, generator)
    assert_close(result.log_partition(), energy.log_partition, 0.05)
    assert_close(result.mean_energy(), 1.5, 0.1)
    assert_close(result.expectation(result.x[:, 0] * result.x[:, 1]), 0.8, 0.1)


@pytest.mark.parametrize("inverse_mass", [(1.0,), (1.0, 3.0, 0.3, 1.0, 9.0)])
def test_mean_free_particles(inverse_mass: tuple[float, ...], generator: torch.Generator) -> None:
    """On the mean-free subspace: log Z = (d log 2 pi - log det' stiffness) / 2, per dimension."""
    energy = HarmonicParticles()
    move = replace(HMC, inverse_mass=inverse_mass)
    result = smc.run(smc.Config(sigma=1.5, move=move), energy, generator)
    stiffness = torch.linalg.eigvalsh(energy.stiffness)[1:]
    exact = 0.5 * (8 * math.log(2 * math.pi) - 2 * float(stiffness.log().sum()))
    assert_close(result.log_partition(), exact, 0.1)
    assert_close(result.mean_energy(), 4.0, 0.1)
    assert float(result.x.mean(dim=-2).abs().max()) < 1e-12


def test_double_well(generator: torch.Generator) -> None:
    mean_x, mean_u, log_z = DoubleWell().exact()
    result = smc.run(smc.Config(sigma=1.0, move=HMC), DoubleWell(), generator)
    assert_close(result.log_partition(), log_z, 0.05)
    assert_close(result.expectation(result.x[:, 0]), mean_x, 0.05)
    assert_close(result.mean_energy(), mean_u, 0.05)


def test_mixture(generator: torch.Generator) -> None:
    result = smc.run(smc.Config(sigma=5.0, move=HMC), TwoWells(), generator)
    assert_close(result.log_partition(), 0.0, 0.05)
    assert_close(result.expectation((result.x[:, 0] > 0).double()), 0.5, 0.05)


def test_error_is_the_spread_over_runs(generator: torch.Generator) -> None:
    config = smc.Config(n_particles=32, sigma=2.0, move=HMC)
    runs = [smc.run(config, correlated_gaussian(), generator).log_partition() for _ in range(12)]
    spread = float(torch.tensor([r.value for r in runs]).std())
    quoted = float(torch.tensor([r.stderr for r in runs]).mean())
    assert 0.5 < quoted / spread < 2.0


def test_schedule_keeps_the_asked_fraction(generator: torch.Generator) -> None:
    config, energy = smc.Config(sigma=4.0, keep_ess=0.7, move=HMC), correlated_gaussian()
    state, fractions = smc.init(config, energy, generator), []
    with pytest.raises(InputError, match="step on"):
        smc.samples(config, energy, state)
    while state.progress < 1:
        state, info = smc.step(config, energy, state, generator)
        fractions.append(info["ess_fraction"])
    assert state.n_steps > 2
    assert all(abs(f - 0.7) < 1e-6 for f in fractions[:-1]) and fractions[-1] >= 0.7


@pytest.mark.parametrize(
    "config, word",
    [
        (smc.Config(n_batches=4), "n_batches"),
        (smc.Config(n_moves=0), "n_moves"),
        (smc.Config(keep_ess=1.0), "keep_ess"),
        (smc.Config(sigma=0.0), "sigma"),
    ],
)
def test_refusals(config: smc.Config, word: str, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=word):
        smc.init(config, correlated_gaussian(), generator)
