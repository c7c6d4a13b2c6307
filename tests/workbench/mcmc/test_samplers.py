"""Every Markov chain sampler through one contract: exact laws, temperatures, refusals, resuming."""

from __future__ import annotations

import copy
import math
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.workbench.mcmc.targets import (
    Cliff,
    DoubleWell,
    HarmonicParticles,
    Target,
    correlated_gaussian,
)
from workbench.errors import InputError
from workbench.mcmc import collect, hmc, mala, tempering
from workbench.mcmc.observation import Sampler
from workbench.problem import CountedEnergy

HMC = hmc.Config(step_size=0.2, n_leapfrog=4, n_warmup=120)
MALA = mala.Config(step_size=0.2, n_warmup=120)
MASSES = (1.0, 3.0, 0.3, 1.0, 9.0)
SAMPLERS: dict[str, tuple[Sampler, Any]] = {
    "mala": (mala, MALA),
    "hmc": (hmc, HMC),
    "tempering-hmc": (tempering, tempering.Config(n_rungs=3, beta_min=0.2, move=HMC)),
    "tempering-mala": (tempering, tempering.Config(n_rungs=4, beta_min=0.3, move=MALA)),
}
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


def draw(
    name: str, energy: Target, n_chains: int = 64, n_kept: int = 150, dtype: Any = torch.float64
) -> tuple[Tensor, Tensor]:
    """x [kept, chain, *event] and energies [kept, chain] of the target."""
    kernel, config = SAMPLERS[name]
    generator = torch.Generator().manual_seed(1)
    x = energy.initial(n_chains, generator).to(dtype)
    done = collect.run(collect.Config(n_kept, thin=3), kernel, config, energy, x, generator)
    return collect.target_traces(kernel, config, done)


def assert_mean(values: Tensor, exact: float) -> None:
    """The mean of [kept, chain] lies within 5 standard errors between chains of `exact`."""
    means = values.double().mean(0)
    stderr = float(means.std()) / math.sqrt(len(means))
    assert abs(float(means.mean()) - exact) < 5 * stderr, (float(means.mean()), exact, stderr)


@every_sampler
def test_correlated_gaussian(name: str) -> None:
    energy = correlated_gaussian()
    x, u = draw(name, energy)
    for i in range(3):
        assert_mean(x[..., i], 0.0)
        for j in range(i, 3):
            assert_mean(x[..., i] * x[..., j], float(energy.covariance[i, j]))
    assert_mean(u, 1.5)


@every_sampler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_double_well_against_quadrature(name: str, dtype: torch.dtype) -> None:
    energy = DoubleWell()
    x, u = draw(name, energy, n_chains=128, dtype=dtype)
    mean_x, mean_u, _ = energy.exact()
    assert x.dtype == dtype
    assert_mean(x[..., 0], mean_x)
    assert_mean(u, mean_u)


@every_sampler
def test_mean_free_particles(name: str) -> None:
    energy = HarmonicParticles()
    x, u = draw(name, energy)
    assert float(x.mean(dim=-2).abs().max()) < 1e-12
    assert_mean(2 * u, energy.degrees_of_freedom)  # virial of a quadratic energy: x . grad u = 2 u
    for i in range(5):
        assert_mean(x[..., i, :].square().sum(-1), 2 * float(energy.covariance[i, i]))


def test_unequal_masses_leave_the_law_alone(generator: torch.Generator) -> None:
    energy = HarmonicParticles()
    config = hmc.Config(step_size=0.2, n_leapfrog=4, n_warmup=120, inverse_mass=MASSES)
    x = energy.initial(64, generator)
    done = collect.run(collect.Config(300, 3), hmc, config, energy, x, generator)
    assert float(done.x.mean(dim=-2).abs().max()) < 1e-12
    assert_mean(2 * done.energy, energy.degrees_of_freedom)
    for i in range(5):
        assert_mean(done.x[..., i, :].square().sum(-1), 2 * float(energy.covariance[i, i]))


@pytest.mark.parametrize("kernel, config", [(mala, MALA), (hmc, HMC)])
def test_each_chain_has_its_temperature(
    kernel: Any, config: Any, generator: torch.Generator
) -> None:
    energy = correlated_gaussian()
    beta = torch.tensor([1.0, 0.5, 0.1]).double().repeat(64)
    state = kernel.init(
        config, energy, energy.initial(192, generator), generator, beta, torch.arange(3).repeat(64)
    )
    energies = []
    for i in range(800):
        state, _ = kernel.step(config, energy, state, generator)
        if i >= 200:
            energies.append(state.energy)
    for rung, value in enumerate((1.0, 0.5, 0.1)):
        assert_mean(torch.stack(energies)[:, rung::3], 1.5 / value)


@every_sampler
def test_acceptance_reaches_its_target(name: str, generator: torch.Generator) -> None:
    kernel, config = SAMPLERS[name]
    energy = correlated_gaussian()
    x = energy.initial(64, generator)
    done = collect.run(collect.Config(100, 2), kernel, config, energy, x, generator)
    target = getattr(config, "move", config).target_acceptance
    acceptance = collect.mean_acceptance(collect.Config(100, 2), done)
    assert float((acceptance - target).abs().max()) < 0.05


@every_sampler
def test_adaptation_stops_after_warm_up(name: str, generator: torch.Generator) -> None:
    kernel, config = SAMPLERS[name]
    energy = correlated_gaussian()
    state = kernel.init(config, energy, energy.initial(8, generator), generator)
    sizes = []
    for _ in range(config.n_warmup + 20):
        state, _ = kernel.step(config, energy, state, generator)
        sizes.append(getattr(state, "chains", state).log_step)
    assert not torch.equal(sizes[0], sizes[-1])
    assert all(torch.equal(size, sizes[-1]) for size in sizes[config.n_warmup - 1 :])


def test_non_finite_proposals_are_refused_and_counted(generator: torch.Generator) -> None:
    config = hmc.Config(step_size=0.5, n_leapfrog=3, n_warmup=0)
    x = torch.zeros(256, 1, dtype=torch.float64)
    done = collect.run(collect.Config(400, 2), hmc, config, Cliff(), x, generator)
    assert done.n_nonfinite > 1000
    assert float(done.x.max()) <= 1
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    mass = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert_mean(done.x[50:, :, 0], -density / mass)  # mean of a normal cut off at one


@every_sampler
def test_starts_must_be_finite(name: str, generator: torch.Generator) -> None:
    kernel, config = SAMPLERS[name]
    x = torch.tensor([[0.0], [2.0]]).double()
    with pytest.raises(InputError, match="relax them first"):
        kernel.init(config, Cliff(), x, generator)


def rebuilt(tree: Any) -> Any:
    """A copy of a state made of nothing but its tensors and numbers, as a checkpoint makes it."""
    if is_dataclass(tree):
        values = {f.name: rebuilt(getattr(tree, f.name)) for f in fields(tree)}
        return type(tree)(**values)  # type: ignore[operator]
    assert isinstance(tree, Tensor | int | float), type(tree)
    return copy.deepcopy(tree)


@every_sampler
def test_resumed_run_is_the_same_run(name: str) -> None:
    kernel, config = SAMPLERS[name]
    energy, plan = correlated_gaussian(), collect.Config(n_kept=5, thin=20)
    generator = torch.Generator().manual_seed(3)
    state = collect.init_collection(
        plan, kernel, config, energy, energy.initial(4, generator), generator
    )
    n_blocks = collect.n_blocks(plan, config.n_warmup)
    for block in range(n_blocks):
        if block == n_blocks // 2:
            saved, saved_generator = rebuilt(state), generator.get_state().clone()
        state, _ = collect.collect_step(plan, kernel, config, energy, state, generator)
    generator.set_state(saved_generator)
    for _ in range(n_blocks // 2, n_blocks):
        saved, _ = collect.collect_step(plan, kernel, config, energy, saved, generator)
    assert saved.n_kept == state.n_kept == 5
    assert torch.equal(saved.x, state.x) and torch.equal(saved.energy, state.energy)


def test_step_costs_one_force_per_leapfrog_step(generator: torch.Generator) -> None:
    energy = CountedEnergy(correlated_gaussian())
    x = energy.wrapped.initial(16, generator)
    state = mala.init(MALA, energy, x, generator)
    for _ in range(10):
        state, _ = mala.step(MALA, energy, state, generator)
    assert energy.n_force == energy.n_energy == 11 * 16


def test_collected_samples_carry_their_ladder(generator: torch.Generator) -> None:
    kernel, config = SAMPLERS["tempering-hmc"]
    energy = DoubleWell()
    x = energy.initial(4, generator)
    done = collect.run(collect.Config(6, 2), kernel, config, energy, x, generator)
    samples = collect.target_samples(kernel, config, done)
    assert samples.x.shape == (24, 1) and samples.chain is not None
    assert samples.chain.tolist() == [0, 1, 2, 3] * 6
    assert torch.allclose(samples.energy, energy.energy(samples.x))


@pytest.mark.parametrize(
    "config, word",
    [
        (hmc.Config(step_size=0.0), "step_size"),
        (hmc.Config(n_leapfrog=0), "n_leapfrog"),
        (hmc.Config(target_acceptance=1.0), "target_acceptance"),
        (hmc.Config(inverse_mass=(1.0, 2.0)), "inverse_mass"),
        (hmc.Config(inverse_mass=(-1.0,)), "inverse_mass"),
    ],
)
def test_refused_configs(config: hmc.Config, word: str, generator: torch.Generator) -> None:
    energy = correlated_gaussian()
    with pytest.raises(InputError, match=word):
        hmc.init(config, energy, energy.initial(2, generator), generator)


def test_refused_plans(generator: torch.Generator) -> None:
    energy = correlated_gaussian()
    with pytest.raises(InputError, match="thin"):
        collect.run(collect.Config(5, 0), hmc, HMC, energy, energy.initial(2, generator), generator)
