"""Polishing brings wrong draws to the exact law, and its curve says how fast."""

from __future__ import annotations

import math

import pytest
import torch

from tests.workbench.mcmc.targets import Cliff, HarmonicParticles, correlated_gaussian
from workbench.errors import InputError
from workbench.mcmc import hmc, mala, polish

MOVES = [
    mala.Config(step_size=0.3, n_warmup=120),
    hmc.Config(step_size=0.3, n_leapfrog=4, n_warmup=100),
]


@pytest.mark.parametrize("move", MOVES)
def test_wrong_draws_reach_the_target(
    move: hmc.Config | mala.Config, generator: torch.Generator
) -> None:
    energy = HarmonicParticles()
    config = polish.Config(n_steps=300, n_checkpoints=8, move=move)
    state = polish.run(config, energy, 5 * energy.initial(1500, generator), generator)
    before, after = state.energies[0], state.energies[-1]
    assert float(before.median()) > 20 * float(after.median())
    # Energies of the 8 harmonic degrees of freedom are gamma distributed: mean 4, variance 4.
    assert abs(float(after.mean()) - 4) < 5 * 2 / math.sqrt(1500)
    assert torch.equal(after, state.chains.energy)


def test_checkpoints_span_the_run() -> None:
    steps = polish.Config(n_steps=1000, n_checkpoints=7).checkpoints()
    assert steps[0] == 0 and steps[-1] == 1000 and steps == sorted(set(steps))
    assert polish.Config(n_steps=1, n_checkpoints=1).checkpoints() == [0, 1]


def test_a_far_sample_gets_its_own_step(generator: torch.Generator) -> None:
    """The moves are not held up for good samples by a bad one, nor the bad one left where it was."""
    energy = correlated_gaussian()
    x = energy.initial(200, generator)
    x[0] = 1e4
    state = polish.run(polish.Config(n_steps=600, move=MOVES[0]), energy, x, generator)
    assert float(state.energies[0, 0]) > 1e7 and float(state.energies[-1, 0]) < 20
    assert float(state.energies[-1, 1:].mean()) == pytest.approx(1.5, abs=0.5)


def test_refusals(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="n_steps"):
        polish.init(polish.Config(n_steps=0), correlated_gaussian(), torch.zeros(2, 3))
    with pytest.raises(InputError, match="no finite energy"):
        polish.init(polish.Config(), Cliff(), torch.full((2, 1), 2.0))
