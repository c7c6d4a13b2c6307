"""The sampler that a problem names."""

from __future__ import annotations

import torch

from pipelines.boltzmann.chains import draw_chains, draw_smc
from pipelines.boltzmann.drawn import Drawn
from pipelines.boltzmann.learned import draw_idem
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem
from workbench.runs.folder import RunFolder


def draw(config: Config, problem: Problem, folder: RunFolder) -> Drawn:
    """Samples by the sampler that `problem` names; goes on from checkpoints where there are any."""
    _compile_kernels(problem)
    if problem.sampler == "idem":
        return draw_idem(config, problem, folder)
    if problem.sampler == "smc":
        return draw_smc(config, problem)
    if problem.sampler == "md":
        from pipelines.boltzmann.dynamics import draw_md

        return draw_md(config, problem, folder)
    return draw_chains(config, problem, folder)


def _compile_kernels(problem: Problem) -> None:
    """Compilation is not a cost of the sampler: both precisions are called once, uncounted."""
    x = problem.energy.wrapped.initial(1, torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.float64):
        problem.energy.wrapped.energy(x.to(dtype))
        problem.energy.wrapped.energy_and_force(x.to(dtype))
