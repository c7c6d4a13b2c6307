"""Swaps, ladders and round trips of parallel tempering."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.workbench.mcmc.targets import DoubleWell, Gaussian, TwoWells
from workbench.errors import InputError
from workbench.mcmc import collect, diagnostics, hmc, tempering

HMC = hmc.Config(step_size=0.3, n_leapfrog=4, n_warmup=100)


def unit_gaussian() -> Gaussian:
    return Gaussian(torch.eye(2, dtype=torch.float64))


def test_swaps_alone_keep_the_joint_law(generator: torch.Generator) -> None:
    """Exact draws of two rungs stay exact under swaps; the swap rate is the closed-form one.

    u is exponential with rate beta on a rung of a 2-D Gaussian, so that the mean of
    min(1, exp((b0 - b1)(u0 - u1))) is 2 b1 / (b0 + b1) for b0 > b1.
    """
    n, hot = 40_000, 0.4
    config = tempering.Config(n_rungs=2, beta_min=hot, move=HMC)
    state = tempering.init(config, unit_gaussian(), torch.zeros(n, 2).double(), generator)
    scale = torch.tensor([1.0, hot**-0.5]).double().repeat(n)
    x = scale[:, None] * torch.randn(2 * n, 2, generator=generator, dtype=torch.float64)
    energy, force = unit_gaussian().energy_and_force(x)
    state = replace(state, chains=replace(state.chains, x=x, energy=energy, force=force))
    after, acceptance = tempering.swap(state, 0, generator)
    exact = 2 * hot / (1 + hot)
    assert abs(float(acceptance[0]) - exact) < 5 * math.sqrt(exact * (1 - exact) / n)
    for rung, beta in enumerate((1.0, hot)):
        u = after.chains.energy[rung::2]
        assert abs(float(u.mean()) - 1 / beta) < 5 / beta / math.sqrt(n)
        assert abs(float((u * u).mean()) - 2 / beta**2) < 5 * math.sqrt(20) / beta**2 / math.sqrt(n)
    moved = after.chains.energy[0::2] != energy[0::2]
    flow_down = ((u := energy[0::2]) > 1) & moved & (after.chains.energy[0::2] < 1)
    flow_up = (u < 1) & moved & (after.chains.energy[0::2] > 1)
    # Detailed balance of the target rung on {u < 1} and {u > 1}: both flows are equal in the mean.
    difference = float(flow_down.double().sum() - flow_up.double().sum())
    assert abs(difference) < 5 * math.sqrt(float(flow_down.sum() + flow_up.sum()))
    assert int(moved.sum()) > 0.3 * n


def test_swaps_move_whole_configurations(generator: torch.Generator) -> None:
    energy = unit_gaussian()
    config = tempering.Config(n_rungs=5, beta_min=0.1, move=HMC)
    state = tempering.init(config, energy, energy.initial(32, generator), generator)
    for _ in range(30):
        state, _ = tempering.step(config, energy, state, generator)
    u, force = energy.energy_and_force(state.chains.x)
    assert torch.allclose(u, state.chains.energy) and torch.allclose(force, state.chains.force)


def test_parities_alternate(generator: torch.Generator) -> None:
    energy = unit_gaussian()
    config = tempering.Config(n_rungs=4, beta_min=0.5, move=HMC)
    state = tempering.init(config, energy, energy.initial(2, generator), generator)
    state, even = tempering.step(config, energy, state, generator)
    state, odd = tempering.step(config, energy, state, generator)
    assert (even.swap_acceptance > 0).tolist() == [True, False, True]
    assert (odd.swap_acceptance > 0).tolist() == [False, True, False]


def test_ladder_adapts_to_equal_swap_rates(generator: torch.Generator) -> None:
    """A Gaussian has equal rates at equal ratios of beta; the double well has not."""
    energy = DoubleWell()
    config = tempering.Config(n_rungs=6, beta_min=0.01, move=replace(HMC, n_warmup=300))
    x = energy.initial(64, generator)

    def spread(config: tempering.Config) -> float:
        state = tempering.init(config, energy, x, generator)
        for _ in range(500):
            state, _ = tempering.step(config, energy, state, generator)
        assert float(state.betas[0]) == 1.0
        assert float(state.betas[-1]) == pytest.approx(0.01)
        assert bool((torch.diff(state.betas) < 0).all())
        rates = state.swap_rates()
        return float(rates.max() - rates.min())

    assert spread(config) < 0.5 * spread(replace(config, adapt_ladder=False))


def test_crosses_a_barrier_that_stops_hmc(generator: torch.Generator) -> None:
    """All chains start in one of two wells 8 sd apart: barrier 7.3 kT, weights 1/2 each."""
    energy = TwoWells()
    x = torch.full((32, 2), -4.0, dtype=torch.float64)
    config = tempering.Config(n_rungs=6, beta_min=0.05, move=replace(HMC, n_warmup=200))
    done = collect.run(collect.Config(150, 4), tempering, config, energy, x, generator)
    right = (collect.target_traces(tempering, config, done)[0][..., 0] > 0).double()
    estimate = diagnostics.diagnose(right).mean
    assert abs(estimate.value - 0.5) < 5 * estimate.stderr < 0.15
    assert int(done.sampler.round_trips.min()) > 2


def test_round_trips_are_counted_from_cold_to_hot_and_back(generator: torch.Generator) -> None:
    """One configuration walked through three rungs by hand."""
    energy = unit_gaussian()
    config = tempering.Config(n_rungs=2, beta_min=0.999, move=HMC, adapt_ladder=False)
    state = tempering.init(config, energy, torch.zeros(1, 2).double(), generator)
    # Equal energies make every swap certain: each sweep of parity 0 swaps the two rungs.
    trips = []
    for sweep in range(8):
        state, _ = tempering.swap(state, sweep % 2, generator)
        state = tempering._mark_ends(state)
        trips.append(int(state.round_trips))
    # The first one is hot after sweep 0 and back after sweep 2; the other starts unmarked.
    assert trips == [0, 0, 1, 1, 2, 2, 3, 3]


def test_one_rung_is_plain_hmc(generator: torch.Generator) -> None:
    energy = unit_gaussian()
    config = tempering.Config(n_rungs=1, move=HMC)
    x = energy.initial(3, generator)
    done = collect.run(collect.Config(4, 1), tempering, config, energy, x, generator)
    assert done.x.shape == (4, 3, 2)


def test_kept_rungs(generator: torch.Generator) -> None:
    energy = unit_gaussian()
    config = tempering.Config(n_rungs=4, beta_min=0.2, n_kept_rungs=3, move=HMC)
    x = energy.initial(2, generator)
    done = collect.run(collect.Config(4, 1), tempering, config, energy, x, generator)
    seen = tempering.observe(config, done.sampler)
    assert done.x.shape == (4, 6, 2) and seen.ladder.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(seen.beta, done.sampler.betas[:3].repeat(2))
    assert collect.target_traces(tempering, config, done)[1].shape == (4, 2)


@pytest.mark.parametrize(
    "config, word",
    [
        (tempering.Config(n_rungs=0), "n_rungs"),
        (tempering.Config(beta_min=0.0), "beta_min"),
        (tempering.Config(beta_min=1.0), "beta_min"),
        (tempering.Config(n_kept_rungs=9), "n_kept_rungs"),
    ],
)
def test_refusals(config: tempering.Config, word: str, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=word):
        tempering.init(config, unit_gaussian(), torch.zeros(2, 2), generator)
