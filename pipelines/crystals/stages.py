"""The baseline `--environment three-stages`: Crystal-GFN's own stages, trained by the same core, then atoms.

Its reward sees group, composition and lattice alone, as the published proxy: the density, or the formation
energy of ions at a volume wherever they are (`three_stages.mean_field_energy_ev_per_atom`). Atoms are placed
afterwards at random (`placement.py`), and what comes out is judged as every other crystal. The same functions
as in `training.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from domains.crystals.placement import placed
from domains.crystals.three_stages import ThreeStages
from pipelines.crystals.options import Config
from pipelines.crystals.prepare import Problem
from pipelines.crystals.training import Drawn, fitted
from workbench.gflownet import algorithm, rollout
from workbench.gflownet.trajectories import Needs
from workbench.runs.folder import RunFolder
from workbench.training.fit import Fitted


def train(config: Config, problem: Problem, folder: RunFolder) -> Fitted:
    """The trained `(algorithm.State, energy)`; one samples with `state[0].average`."""
    stages = _stages(problem)
    random = problem.generator(config.seed, "training")
    state = algorithm.init(config.sampler, stages, random)

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        inner, info = algorithm.step(config.sampler, stages, state[0])
        return (inner, *state[1:]), info

    return fitted(config, folder, (state, problem.energy), step)


@torch.no_grad()
def draw(problem: Problem, policy: Any, n: int, random: torch.Generator) -> Drawn:
    """`n` objects of the policy itself, with atoms placed at random; log-probabilities are those of the
    objects, each of which has one way to be built."""
    stages = _stages(problem)
    drawn = algorithm.sample(stages, policy, n, random)
    behaviour = policy.backward_behaviour(n, random)
    ways = rollout.backward(stages, behaviour, drawn.final, random, log_reward=drawn.log_reward)
    log_probability = policy.score(ways, Needs())[0].log_pf.sum(1).double().numpy()
    final = placed(stages, drawn.final, problem.environment, random)
    crystals = problem.environment.crystals(final)
    return Drawn(final, crystals, log_probability, drawn.log_reward.double().numpy())


def _stages(problem: Problem) -> ThreeStages:
    assert problem.stages is not None
    return problem.stages
