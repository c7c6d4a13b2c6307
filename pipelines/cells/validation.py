"""Leave-one-time-out: each held-out time in turn, every method and seed, beside the unlearned rivals.

`auto` chooses for each held-out time from what the other times say: each interior one of these is held out
too, and the candidates predict it. The first candidate within 2 % of the best mean W1 is taken, so their
order is an order of preference. Where the other times have no interior one there is nothing to choose by,
and the first candidate is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from domains.cells.comparison import Prediction, compare, draws, equal_count
from domains.cells.distances import w1
from domains.cells.rivals import rivals
from domains.cells.snapshots import CellSnapshots
from pipelines.cells.learned import fit_bridge, push
from pipelines.cells.options import Config, MethodName
from pipelines.cells.prepare import Problem
from workbench.runs.folder import RunFolder
from workbench.training.processes import run_in_processes

WITHIN = 0.02
INNER_REPEATS = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """One held-out time.

    shots     all times, in a space fitted without the held-out one
    n         cells on each side of a distance
    rivals    unlearned predictions
    learned   by method, one prediction per seed; `auto` is that of the method chosen
    chosen    what auto took, and `inner` the mean W1 of each candidate within the training times
    seconds   of training and pushing, by method
    """

    held_out: int
    name: str
    shots: CellSnapshots
    n: int
    rivals: dict[str, Prediction]
    learned: dict[str, list[Prediction]]
    chosen: str | None = None
    inner: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One training: `method` and `seed` on the times `kept` (indices of the fold's snapshots), predicting the
    time `target`."""

    fold: int
    method: MethodName
    seed: int
    target: int

    @property
    def name(self) -> str:
        return f"fold{self.fold}-target{self.target}-{self.method}-seed{self.seed}"


def validate(config: Config, problem: Problem, folder: RunFolder) -> list[Fold]:
    """Every held-out time; finished trainings of an interrupted run are read back."""
    return [_fold(config, problem, folder, held_out) for held_out in problem.held_out]


def _fold(config: Config, problem: Problem, folder: RunFolder, held_out: int) -> Fold:
    shots = problem.fold(held_out)
    if config.shuffle_times:
        shots = shots.shuffled(problem.generator(config.seed, "shuffle"))
    found = rivals(shots, held_out, problem.generator(config.seed, f"rivals-{held_out}"))
    chosen: MethodName | None = None
    inner: dict[str, float] = {}
    if "auto" in config.method:
        chosen, inner = _choose(config, problem, folder, shots, held_out)
    wanted: list[MethodName] = [m for m in config.method if m != "auto"]
    if chosen is not None:
        wanted.append(chosen)
    learnt = [m for m in dict.fromkeys(wanted) if m != "midpoint"]
    tasks = [Task(held_out, m, s, held_out) for m in learnt for s in range(config.seeds)]
    done = _run(config, problem, folder, shots, tasks)
    learned: dict[str, list[Prediction]] = {}
    seconds: dict[str, float] = {}
    for method in learnt:
        mine = [done[t] for t in tasks if t.method == method]
        learned[str(method)] = [prediction for prediction, _ in mine]
        seconds[str(method)] = sum(spent for _, spent in mine)
    if chosen is not None:
        learned["auto"] = learned.get(chosen, [found["midpoint"]])
    n = equal_count(shots, held_out, config.eval_cells)
    return Fold(held_out, shots.names[held_out], shots, n, found, learned, chosen, inner, seconds)


def _choose(
    config: Config, problem: Problem, folder: RunFolder, shots: CellSnapshots, held_out: int
) -> tuple[MethodName, dict[str, float]]:
    """The candidate to take for a held-out time, and each one's mean W1 on the other times."""
    kept = shots.without(held_out)
    if not len(kept.interior):
        return config.candidates[0], {}
    learnt = [m for m in config.candidates if m != "midpoint"]
    tasks = [Task(held_out, m, 0, target) for target in kept.interior for m in learnt]
    done = _run(config, problem, folder, kept, tasks)
    means: dict[str, list[float]] = {str(m): [] for m in config.candidates}
    for target in kept.interior:
        generator = problem.generator(config.seed, f"inner-{held_out}-{target}")
        predictions = {str(t.method): done[t][0] for t in tasks if t.target == target}
        predictions["midpoint"] = rivals(kept, target, generator)["midpoint"]
        n = equal_count(kept, target, config.eval_cells)
        drawn = draws(kept.weights(target), n, INNER_REPEATS, generator)
        values = compare(w1, predictions, kept.cells(target), drawn)
        for name in means:
            means[name].append(float(values[name].mean()))
    inner = {name: float(np.mean(values)) for name, values in means.items()}
    return first_within(inner, config.candidates), inner


def first_within(
    scores: dict[str, float], candidates: Sequence[MethodName], share: float = WITHIN
) -> MethodName:
    """The first candidate whose score is within `share` of the lowest."""
    best = min(scores.values())
    return next(m for m in candidates if scores[m] <= best * (1 + share))


def _run(
    config: Config, problem: Problem, folder: RunFolder, shots: CellSnapshots, tasks: list[Task]
) -> dict[Task, tuple[Prediction, float]]:
    """Every task's prediction and its seconds, from the disk where it was done before."""
    kept = folder.checkpoints / "folds"
    kept.mkdir(exist_ok=True)
    done = {task: _read(kept / f"{task.name}.npz") for task in tasks}
    missing = [task for task in tasks if done[task] is None]
    for start in range(0, len(missing), config.processes):
        part = missing[start : start + config.processes]
        arguments = [
            (config, shots, task, *_seeds(config, problem, task), plans_of(folder)) for task in part
        ]
        results = run_in_processes(
            "pipelines.cells.validation:run_task", arguments, config.processes
        )
        for task, result in zip(part, results, strict=True):
            _write(kept / f"{task.name}.npz", *result)
            done[task] = result
    return {task: result for task, result in done.items() if result is not None}


def plans_of(folder: RunFolder) -> Path:
    """Where solved couplings are kept."""
    return folder.checkpoints / "plans"


def _seeds(config: Config, problem: Problem, task: Task) -> tuple[int, int]:
    """Of the training, and of the couplings, which all seeds of a method share."""
    stage = f"{task.fold}-{task.target}-{task.method}"
    mine = problem.generator(config.seed, f"{stage}-{task.seed}").initial_seed()
    return mine, problem.generator(config.seed, f"plans-{stage}").initial_seed()


def run_task(
    config: Config, shots: CellSnapshots, task: Task, seed: int, plan_seed: int, cache: Path
) -> tuple[Prediction, float]:
    """Train on all times of `shots` but the target, and push the cells around it there."""
    torch.set_num_threads(config.threads)
    generator = torch.Generator().manual_seed(seed)
    began = time.perf_counter()
    kept = shots.without(task.target)
    model = fit_bridge(config, task.method, kept, generator, plan_seed, cache, name=task.name)
    prediction = push(config, model, shots, task.target, generator)
    return prediction, time.perf_counter() - began


def _write(path: Path, prediction: Prediction, seconds: float) -> None:
    temporary = path.with_suffix(".writing.npz")
    arrays: dict[str, Any] = {"cells": prediction.cells.numpy(), "seconds": np.array(seconds)}
    if prediction.weights is not None:
        arrays["weights"] = prediction.weights.numpy()
    np.savez(temporary, **arrays)
    temporary.replace(path)


def _read(path: Path) -> tuple[Prediction, float] | None:
    if not path.exists():
        return None
    with np.load(path) as stored:
        weights = torch.from_numpy(stored["weights"]) if "weights" in stored else None
        prediction = Prediction(torch.from_numpy(stored["cells"]), weights)
        return prediction, float(stored["seconds"])
