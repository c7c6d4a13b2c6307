"""OpenMM Langevin dynamics as a sampler of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from domains.molecules import OpenMMEnergy
from domains.molecules.langevin_md import LangevinConfig, LangevinDynamics, LangevinState
from pipelines.boltzmann.drawn import Cost, Drawn
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem, starts
from workbench.runs.folder import RunFolder
from workbench.samples import WeightedSamples
from workbench.training.fit import fit


@dataclass(frozen=True)
class _State:
    """Trajectories under way, their saved structures [kept, chain, atom, 3], and how many are kept."""

    chains: list[LangevinState]
    x: Tensor
    done: int


def draw_md(config: Config, problem: Problem, folder: RunFolder) -> Drawn:
    """`n_samples` structures of `md.chains` independent trajectories; one fit step is one saved
    structure of each."""
    options = config.md
    energy = problem.energy.wrapped
    while not isinstance(energy, OpenMMEnergy):
        energy = energy.wrapped  # type: ignore[attr-defined]
    interval = max(1, round(1000 * options.save_every_ps / options.time_step_fs))
    settings = LangevinConfig(
        time_step_fs=options.time_step_fs,
        friction_per_ps=options.friction_per_ps,
        save_interval=interval,
        n_steps=interval,
        n_equilibration=round(1000 * options.equilibration_ps / options.time_step_fs),
    )
    dynamics = LangevinDynamics(energy, settings)
    generator = problem.generator(config.seed, "md")
    n_kept = -(-config.n_samples // options.chains)
    begin = starts(config, problem, options.chains, generator).numpy()

    def step(state: _State) -> tuple[_State, dict[str, float]]:
        chains = list(state.chains)
        u = 0.0
        for k, chain in enumerate(chains):
            chains[k], block = dynamics.step(chain)
            state.x[state.done, k] = torch.from_numpy(block.positions_nm[-1])
            u += float(block.energies[-1]) / len(chains)
        return replace(state, chains=chains, done=state.done + 1), {"mean_energy": u}

    chains = [dynamics.init(generator, x) for x in begin]
    x = torch.zeros((n_kept, options.chains, *energy.event_shape), dtype=torch.float64)
    fitted = fit(
        _State(chains, x, 0),
        step,
        n_kept,
        name="md",
        folder=folder,
        log_every=max(1, n_kept // 400),
        checkpoint_every=max(10, n_kept // 20),
    )
    return _drawn(config, problem, fitted)


def _drawn(config: Config, problem: Problem, fitted: Any) -> Drawn:
    state, options = fitted.state, config.md
    x = state.x.flatten(0, 1)
    x = x - x.mean(dim=1, keepdim=True)
    u = problem.energy.wrapped.energy(x)
    chain = torch.arange(options.chains).repeat(len(state.x))
    geometric = problem.geometric(x).view(len(state.x), options.chains)
    n_forces = sum(c.n_force_evaluations for c in state.chains)
    lines = [
        f"Langevin dynamics by OpenMM: {options.chains} trajectories, step "
        f"{options.time_step_fs:g} fs, friction {options.friction_per_ps:g} / ps, a structure every "
        f"{options.save_every_ps:g} ps. The error of the finite step is in the samples."
    ]
    return Drawn(
        WeightedSamples(x, u, None, chain),
        Cost(n_forces, fitted.seconds, fitted.cpu_seconds),
        None,
        u.view(len(state.x), options.chains),
        geometric,
        lines=lines,
    )
