"""Training, with the exact law looked at on the way, and draws from the trained sampler."""

from __future__ import annotations

import copy
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domains.synthetic.metropolis import metropolis
from pipelines.synthetic.law import law_of, leave, log_ratio
from pipelines.synthetic.options import Config
from pipelines.synthetic.prepare import Problem
from workbench.gflownet import algorithm, training_loss
from workbench.gflownet.evaluation import jensen_shannon, total_variation
from workbench.gflownet.states import concatenate, select
from workbench.runs.folder import RunFolder
from workbench.training.devices import resolve_device
from workbench.training.fit import Fitted, fit

GIVEN_OBJECTS = 10_000
CHAIN_STEPS = 2_000
CHUNK = 4096


@dataclass
class Spent:
    """Processor seconds of the steps so far: the abscissa of the report's curves."""

    cpu_seconds: float = 0.0


def train(config: Config, problem: Problem, folder: RunFolder) -> Fitted:
    """The trained `(algorithm.State, environment, Spent)`; one samples with `state[0].average`."""
    environment, device = problem.environment, resolve_device(config.device)
    generator = problem.generator(config.seed, "training", device)
    given = _given_objects(config, problem, device)
    state = algorithm.init(config, environment, generator)

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        began = time.process_time()
        inner, info = algorithm.step(config, environment, state[0], given)
        state[2].cpu_seconds += time.process_time() - began
        return (inner, environment, state[2]), info

    def monitor(state: Any) -> Mapping[str, float]:
        values = _quality(config, problem, on_cpu(state[0].average.module))
        counts = {"n_trajectories": state[0].n_trajectories, "cpu_seconds": state[2].cpu_seconds}
        return values | counts

    return fit(
        (state, environment, Spent()),
        step,
        config.steps,
        name="training",
        folder=folder,
        log_every=max(1, config.steps // 200),
        checkpoint_every=max(1, config.steps // config.n_evaluations),
        monitor=monitor,
    )


def _given_objects(config: Config, problem: Problem, device: torch.device) -> Any | None:
    """Objects of the target for an objective that learns from such: exact draws where the states can be
    listed, the ends of long Metropolis chains where not."""
    if config.objective not in training_loss.ON_GIVEN_OBJECTS:
        return None
    generator = problem.generator(config.seed, "given")
    if problem.graph is not None and problem.target is not None:
        rows = torch.multinomial(problem.target, GIVEN_OBJECTS, True, generator=generator)
        return _moved(select(problem.graph.states, rows), device)
    chains = metropolis(problem.synthetic, GIVEN_OBJECTS, generator, problem.beta)
    state, _ = next(itertools.islice(chains, CHAIN_STEPS, None))
    return _moved(state, device)


def _moved(state: Any, device: torch.device) -> Any:
    tensors = {field.name: getattr(state, field.name).to(device) for field in fields(state)}
    return replace(state, **tensors)


def on_cpu(policy: nn.Module) -> nn.Module:
    """The policy itself, or a copy where it lives elsewhere: all after training happens on the CPU, where
    the exact law is."""
    on_device = next(policy.parameters()).device.type != "cpu"
    return copy.deepcopy(policy).cpu() if on_device else policy


def _quality(config: Config, problem: Problem, policy: Any) -> dict[str, float]:
    """What is logged on the way, by dynamic programming and without counting rewards."""
    values: dict[str, float] = {}
    law = law_of(config, problem, policy)
    if law is not None and problem.target is not None:
        values["total_variation"] = total_variation(law.probabilities, problem.target)
        values["jensen_shannon"] = jensen_shannon(law.probabilities, problem.target)
        values["score"] = values["total_variation"]
    if problem.log_partition is not None:
        found = learned_log_partition(config, problem, policy, "monitor")
        values["log_partition_error"] = abs(found - problem.log_partition)
    return values


def learned_log_partition(config: Config, problem: Problem, policy: Any, stage: str) -> float:
    """log Z as the objective has it."""
    environment = algorithm.target(config, problem.synthetic)
    generator = problem.generator(config.seed, stage)
    return algorithm.log_partition(config, environment, policy, generator)


@dataclass(frozen=True)
class Objects:
    """Objects of the trained sampler.

    state        the objects
    log_reward   log R, without the power beta
    log_weight   log R^beta + log P_B - log P_F of the trajectory each was made by: importance weights
    """

    state: Any
    log_reward: Float[Tensor, "object"]
    log_weight: Float[Tensor, "object"]


def draw(config: Config, problem: Problem, policy: Any, n: int, stage: str) -> Objects:
    """`n` objects of the policy itself, in chunks; no object is dropped."""
    environment = algorithm.target(config, problem.environment)
    generator = problem.generator(config.seed, stage)
    parts, weights = [], []
    for start in range(0, n, CHUNK):
        drawn = algorithm.sample(environment, policy, min(CHUNK, n - start), generator)
        parts.append(leave(drawn.final))
        log_reward = problem.synthetic.log_reward(parts[-1])
        weights.append(problem.beta * log_reward - log_ratio(policy, drawn))
    state = concatenate(parts)
    return Objects(state, problem.synthetic.log_reward(state), torch.cat(weights))


@dataclass(frozen=True)
class Curves:
    """What was seen on the way, one entry per look."""

    n_trajectories: list[float]
    cpu_seconds: list[float]
    total_variation: list[float]
    log_partition_error: list[float]


def curves(folder: RunFolder) -> Curves:
    """The looks at the law that metrics.jsonl holds; NaN where a figure is missing."""
    rows = []
    for line in (folder.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["loop"] == "training" and "n_trajectories" in record["values"]:
            rows.append(record["values"])

    def column(name: str) -> list[float]:
        found = [row.get(name) for row in rows]
        return [float("nan") if value is None else float(value) for value in found]

    return Curves(
        column("n_trajectories"),
        column("cpu_seconds"),
        column("total_variation"),
        column("log_partition_error"),
    )
