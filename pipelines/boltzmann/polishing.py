"""Polishing: what short HMC makes of the samples, beside the same from relaxed random starts.

Reported apart: polished samples never enter the raw figures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem, starts
from pipelines.boltzmann.references import Reference
from workbench.mcmc import hmc, polish
from workbench.metrics.distances import energy_w2
from workbench.runs.metrics import Figure
from workbench.samples import WeightedSamples


@dataclass(frozen=True)
class Polished:
    """Energy-W2 (or, without a reference, mean energy) against steps, for samples and control."""

    steps: list[int]
    samples: list[float]
    control: list[float]
    label: str
    figures: dict[str, Figure]


def run_polishing(
    config: Config, problem: Problem, raw: WeightedSamples, reference: Reference | None
) -> Polished:
    """`config.polish_steps` HMC steps from the raw samples and from as many relaxed random starts."""
    settings = polish.Config(
        n_steps=config.polish_steps,
        move=hmc.Config(step_size=0.02, n_leapfrog=5, n_warmup=max(1, config.polish_steps // 2)),
    )
    generator = problem.generator(config.seed, "polish")
    n_control = min(len(raw), 500)
    control = starts(config, problem, n_control, generator)
    curves = [_curve(settings, problem, x, generator) for x in (raw.x, control)]
    label = "energy W2" if reference else "mean energy"
    values = []
    for energies in curves:
        if reference is None:
            values.append([float(u.mean()) for u in energies])
        else:
            values.append([energy_w2(u, reference.samples.energy) for u in energies])
    figures = {}
    if reference is not None:
        figures = {
            "energy_w2_polished": Figure(values[0][-1], n=len(raw), unit="kT"),
            "energy_w2_polished_control": Figure(values[1][-1], n=n_control, unit="kT"),
        }
    return Polished(settings.checkpoints(), values[0], values[1], label, figures)


def _curve(
    settings: polish.Config, problem: Problem, x: Tensor, generator: torch.Generator
) -> Tensor:
    state = polish.init(settings, problem.energy.wrapped, x)
    for _ in range(settings.n_steps):
        state = polish.step(settings, problem.energy.wrapped, state, generator)[0]
    return state.energies
