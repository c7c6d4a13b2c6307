"""Langevin dynamics: resumes exactly, keeps the temperature, samples a harmonic bond correctly."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
import torch

from domains.molecules.langevin_md import LangevinConfig, LangevinDynamics, LangevinState
from domains.molecules.named_molecules import named_molecule
from domains.molecules.openmm_energy import OpenMMEnergy
from workbench.errors import InputError

SHORT = LangevinConfig(n_steps=200, save_interval=50, n_equilibration=100)


@pytest.mark.parametrize("name", ["alanine-dipeptide", "alanine-dipeptide-vacuum"])
def test_a_resumed_run_equals_an_uninterrupted_one(name: str) -> None:
    energy = named_molecule(name)
    dynamics = LangevinDynamics(energy, SHORT)
    state = dynamics.init(torch.Generator().manual_seed(0))
    assert state.n_force_evaluations == 100
    middle, first = dynamics.step(state)
    end, second = dynamics.step(middle)
    stored = LangevinState(
        middle.positions_nm.copy(),
        middle.velocities_nm_per_ps.copy(),
        middle.seed,
        middle.n_force_evaluations,
    )
    resumed_end, resumed = LangevinDynamics(energy, SHORT).step(stored)
    assert np.array_equal(resumed.positions_nm, second.positions_nm)
    assert np.array_equal(resumed_end.velocities_nm_per_ps, end.velocities_nm_per_ps)
    assert end.n_force_evaluations == 500
    assert first.positions_nm.shape == (4, 22, 3)
    assert not np.array_equal(first.positions_nm, second.positions_nm)
    u = energy.energy(torch.from_numpy(first.positions_nm)).numpy()
    # The CPU platform computes in single precision.
    assert np.abs(first.energies - u).max() < 1e-3


def test_two_bound_particles_have_the_exact_mean_energy() -> None:
    """A soft bond of rest length 0: E = k r^2 / 2 in three dimensions, so <u> = 3/2."""
    system = openmm.System()
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.0, 500.0)
    for _ in range(2):
        system.addParticle(10.0)
    system.addForce(force)
    start = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
    energy = OpenMMEnergy.from_system(system, 300.0, positions_nm=start)
    config = LangevinConfig(
        time_step_fs=4.0,
        friction_per_ps=20.0,
        save_interval=100,
        n_steps=200_000,
        n_equilibration=5_000,
    )
    dynamics = LangevinDynamics(energy, config)
    _, block = dynamics.step(dynamics.init(torch.Generator().manual_seed(2), start))
    # Blocks of 20 frames (8 ps) are independent: the slowest time is about 1 ps.
    means = block.energies.reshape(100, 20).mean(1)
    assert abs(means.mean() - 1.5) < 5 * means.std() / 10
    temperatures = block.temperatures_kelvin.reshape(100, 20).mean(1)
    assert abs(temperatures.mean() - 300.0) < 5 * temperatures.std() / 10


@pytest.mark.parametrize(
    "options",
    [
        {"time_step_fs": 0.0},
        {"friction_per_ps": -1.0},
        {"n_steps": 150, "save_interval": 100},
        {"n_equilibration": -1},
    ],
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        LangevinConfig(**options)  # type: ignore[arg-type]


def test_too_large_a_step_is_one_sentence() -> None:
    config = LangevinConfig(time_step_fs=50.0, n_steps=500, save_interval=100, n_equilibration=0)
    dynamics = LangevinDynamics(named_molecule("alanine-dipeptide-vacuum"), config)
    with pytest.raises(InputError, match="use a smaller one"):
        dynamics.step(dynamics.init(torch.Generator().manual_seed(0)))
