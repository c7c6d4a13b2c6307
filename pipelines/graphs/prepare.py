"""From options to a problem: the task, the graphs to learn from and to solve, random numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from domains.graphs import clique, cut, dominating_set, independent_set
from domains.graphs.environment import SetBuilding
from domains.graphs.graphs import Graph, with_fixed
from domains.graphs.instances import instances, names
from domains.graphs.policy import GraphPolicy
from domains.graphs.readers import read_graph
from domains.graphs.task import Task
from pipelines.graphs.options import Config
from pipelines.options import overlay
from workbench.errors import InputError
from workbench.gflownet import training_loss
from workbench.runs.folder import read_config
from workbench.training.devices import resolve_device, set_threads

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK for module in (independent_set, clique, dominating_set, cut)
}


OF_SOLVING = (
    "test", "format", "n_test", "fix_in", "fix_out", "samples", "draws", "solvers", "known", "time_limit",
    "search_seconds", "trained", "preset", "seed", "device", "threads", "processes",
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """The environments of training, of looks in training, and of each graph to solve; `notes` tells what
    was changed in graphs while they were read."""

    task: Task
    training: SetBuilding
    looks: SetBuilding
    tests: tuple[SetBuilding, ...]
    notes: tuple[str, ...]

    def generator(self, seed: int, stage: str) -> torch.Generator:
        """Random numbers of one stage: stages do not depend on each other's length."""
        return torch.Generator().manual_seed(_mixed(seed, stage))

    def random(self, seed: int, stage: str) -> np.random.Generator:
        return np.random.default_rng(_mixed(seed, stage))


def _mixed(seed: int, stage: str) -> int:
    return (seed * 1_000_003 + sum(ord(c) * 131**k for k, c in enumerate(stage))) % 2**63


def problem(config: Config) -> Problem:
    """Raises InputError for graphs that cannot be had or have no solution."""
    set_threads(config.threads)
    config = adopted(config)
    resolve_device(config.device)
    task = TASKS[config.task]
    known = config.train in names()
    looks = graphs_of(config.train, config.format, config.n_validation, _seeds(config.seed, 1))
    learned = graphs_of(config.train, config.format, config.n_train, _seeds(config.seed, 0))
    solved = graphs_of(config.test, config.format, config.n_test, _seeds(config.seed, 2))
    solved = [fixed_by_name(graph, config.fix_in, config.fix_out) for graph in solved]
    notes = [note for graph in [*solved, *([] if known else learned)] for note in graph.notes]
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    return Problem(
        task,
        SetBuilding(task, learned, config.per_graph),
        SetBuilding(task, looks),
        tuple(SetBuilding(task, [graph]) for graph in solved),
        tuple(dict.fromkeys(notes)),
    )


def adopted(config: Config) -> Config:
    """The options, those of learning being those of the run whose policy is taken, if one is. Raises InputError
    for a run of another pipeline or task, or one that is not finished."""
    if not config.trained:
        return config
    path = Path(config.trained)
    pipeline, values = read_config(path)
    theirs = overlay(Config(), values) if pipeline == "graphs" else None
    if theirs is None or theirs.task != config.task:
        raise InputError(
            f"--trained {path} is a run of {pipeline if theirs is None else theirs.task}: give one of "
            f"`workbench graphs run --task {config.task}`"
        )
    if not (path / "metrics.json").is_file():
        raise InputError(
            f"--trained {path} is not finished: go on with it by `workbench resume {path}`"
        )
    return replace(theirs, **{name: getattr(config, name) for name in OF_SOLVING})


def _seeds(seed: int, use: int) -> int:
    """Families for training, looks and tests never share a graph."""
    return 3 * seed + use


def graphs_of(name: str, file_format: str, n: int, seed: int) -> list[Graph]:
    """The graph in a file, or `n` of a family."""
    if Path(name).is_file() or ("." in name and name not in names()):
        return [read_graph(Path(name), None if file_format == "auto" else file_format)]
    return instances(name, n, seed)


def fixed_by_name(graph: Graph, inside: Sequence[str], outside: Sequence[str]) -> Graph:
    """The graph with vertices fixed, named as in its file. Raises InputError for a name it has not."""
    if not (inside or outside):
        return graph
    known = graph.vertex_names or tuple(map(str, range(graph.n_vertices)))
    place = {name: v for v, name in enumerate(known)}
    for name in [*inside, *outside]:
        if name not in place:
            raise InputError(
                f'graph {graph.name} has no vertex "{name}" to be fixed: its vertices are named '
                f"{known[0]} to {known[-1]}"
            )
    return with_fixed(graph, [place[v] for v in inside], [place[v] for v in outside])


def make_policy(config: Config, environment: SetBuilding) -> GraphPolicy:
    """An untrained policy as the options describe it, its network on the device; sets are built on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        policy = GraphPolicy(
            environment,
            width=config.network.width,
            n_layers=config.network.layers,
            backward="uniform" if config.backward == "uniform" else "learned",
            beta=config.temperature.final,
            forward_looking=config.objective in (*training_loss.FORWARD_LOOKING, "led"),
        )
    policy.network.to(resolve_device(config.device))
    return policy
