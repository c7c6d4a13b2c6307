"""Training, looked at on the way, and sets drawn from the trained policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domains.graphs.environment import SetBuilding
from domains.graphs.policy import GraphPolicy
from pipelines.graphs.options import Config
from pipelines.graphs.prepare import Problem, make_policy
from workbench.errors import InputError
from workbench.gflownet import algorithm, rollout
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import read_metrics
from workbench.training import checkpoint
from workbench.training.fit import Fitted, fit

POLICY = "policy"  # the folder of the trained weights, beside those of the training's checkpoints
LOOKED_AT = 20  # sets on each graph of a look
CHUNK = 512  # trajectories drawn at a time


@dataclass(frozen=True)
class Learned:
    """A trained policy and what its training took; of an earlier run, where it comes from one."""

    policy: GraphPolicy
    seconds: float
    cpu_seconds: float
    n_trajectories: int
    n_rewards: int


def learned(config: Config, problem: Problem, folder: RunFolder) -> Learned:
    """The policy, trained here or taken from the run `config.trained`; its weights are saved by themselves."""
    if config.trained:
        policy = load_policy(config, problem.training, Path(config.trained))
        figures = read_metrics(Path(config.trained) / "metrics.json")
        seconds, n = figures["training_seconds"].value or 0.0, figures["n_trajectories"].value or 0
        found = Learned(policy, seconds, seconds, int(n), 0)
    else:
        fitted = train(config, problem, folder)
        state: Any = fitted.state
        found = Learned(
            state.average.module,
            fitted.seconds,
            fitted.cpu_seconds,
            state.n_trajectories,
            state.n_rewards,
        )
    checkpoint.save(folder.checkpoints / POLICY, config.steps, found.policy, keep=1)
    return found


def train(config: Config, problem: Problem, folder: RunFolder) -> Fitted:
    """The trained `algorithm.State`; one samples with `state.average`."""
    environment = problem.training
    generator = problem.generator(config.seed, "training")
    state = algorithm.init(config, environment, generator, make_policy(config, environment))

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        return algorithm.step(config, environment, state)

    def monitor(state: Any) -> Mapping[str, float]:
        seen, sign = look(problem, state.average.module), problem.task.sign
        single, best = float(seen.single.mean()), float(seen.best.mean())
        return {"mean_value": single, "best_value": best, "score": -sign * best}

    every = max(1, config.steps // config.n_evaluations)
    return fit(
        state,
        step,
        config.steps,
        folder=folder,
        log_every=max(1, config.steps // 200),
        checkpoint_every=every,
        monitor=monitor,
    )


@dataclass(frozen=True)
class Look:
    """Mean value of sets and of the best of `LOOKED_AT`, on each held-out graph."""

    single: Float[Tensor, "graph"]
    best: Float[Tensor, "graph"]


def look(problem: Problem, policy: GraphPolicy) -> Look:
    """What the policy draws on held-out graphs, which are no test graphs; the same random numbers always."""
    environment, sign = problem.looks, problem.task.sign
    n = len(environment.graphs)
    graph = torch.arange(n).repeat_interleave(LOOKED_AT)
    found = drawn(policy.on(environment), graph, problem.generator(0, "look"))
    values = environment.value(found).view(n, LOOKED_AT)
    return Look(values.mean(1), sign * (sign * values).amax(1))


@torch.inference_mode()
def drawn(policy: GraphPolicy, graph: Tensor, generator: torch.Generator) -> Any:
    """Finished sets on the given graphs of the policy's environment."""
    environment = policy.environment
    behaviour = policy.behaviour(len(graph), generator)
    return rollout.forward(environment, behaviour, environment.start(graph), generator).final


def sets(
    policy: GraphPolicy, environment: SetBuilding, n: int, generator: torch.Generator
) -> Bool[Tensor, "set vertex"]:
    """`n` sets on the one graph of `environment`."""
    parts = []
    for start in range(0, n, CHUNK):
        graph = torch.zeros(min(CHUNK, n - start), dtype=torch.int64)
        parts.append(drawn(policy.on(environment), graph, generator).chosen)
    return torch.cat(parts)


def load_policy(config: Config, environment: SetBuilding, folder: Any) -> GraphPolicy:
    """The trained policy of a run, on other graphs. Raises InputError where the run has none yet."""
    policy = make_policy(config, environment)
    found = checkpoint.load_latest(folder / "checkpoints" / POLICY, policy)
    if found is None:
        raise InputError(
            f"{folder} has no trained policy yet: finish it with `workbench resume {folder}`"
        )
    return policy
