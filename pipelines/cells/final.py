"""The final fit on all times: an ensemble of bridges, and what is simulated with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from domains.cells import fates
from domains.cells.comparison import pick
from domains.cells.snapshots import CellSnapshots
from domains.cells.timecourse import column_of
from pipelines.cells.learned import fit_bridge, paths_of
from pipelines.cells.options import Config, MethodName
from pipelines.cells.prepare import Problem
from pipelines.cells.validation import Fold, first_within, plans_of
from workbench.bridge.model import BridgeModel
from workbench.runs.folder import RunFolder

LEARNED_MIDPOINT: MethodName = "otcfm"
DRAWS = 8
GROWTH_POINTS = 6


@dataclass(frozen=True)
class Chosen:
    """The method of the final fit and a sentence on why."""

    method: MethodName
    why: str


def choose(config: Config, folds: Sequence[Fold]) -> Chosen:
    """The first method asked for; for auto, what its candidates score over the folds' own validation."""
    first = config.method[0]
    why = "it was asked for first"
    if first == "auto":
        means = _inner_means(folds)
        first = first_within(means, config.candidates) if means else config.candidates[0]
        why = "auto took it by validation within the training times" if means else (
            "auto had too few times to validate on and took its first candidate"
        )  # fmt: skip
    if first == "midpoint":
        return Chosen(LEARNED_MIDPOINT, f"{why}: midpoint, whose learned counterpart is fitted")
    return Chosen(first, why)


def _inner_means(folds: Sequence[Fold]) -> dict[str, float]:
    """Mean inner score of each candidate over the folds that could validate."""
    scored = [fold.inner for fold in folds if fold.inner]
    if not scored:
        return {}
    return {name: float(np.mean([inner[name] for inner in scored])) for name in scored[0]}


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Bridges of one method that differ by their seed."""

    chosen: Chosen
    models: list[BridgeModel]
    seconds: float
    cpu_seconds: float


def fit_final(config: Config, problem: Problem, chosen: Chosen, folder: RunFolder) -> Ensemble:
    """Trainings on all times; a finished one is read back from its checkpoint."""
    models = []
    wall, cpu = time.perf_counter(), time.process_time()
    for member in range(config.ensemble):
        generator = problem.generator(config.seed, f"final-{chosen.method}-{member}")
        name = f"final-{member}"
        model = fit_bridge(
            config,
            chosen.method,
            problem.snapshots,
            generator,
            problem.generator(config.seed, f"plans-{chosen.method}").initial_seed(),
            plans_of(folder),
            folder,
            name,
        )
        models.append(model)
    return Ensemble(chosen, models, time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(frozen=True, eq=False)
class Fields:
    """At each observed cell, in the order of the snapshots: velocity, its deviation over the ensemble,
    growth where learned (around its time: see `_growth`)."""

    velocity: list[Float[Tensor, "_ feature"]]
    deviation: list[Float[Tensor, "_ feature"]]
    growth: list[Float[Tensor, "_"]] | None


@torch.no_grad()
def fields(ensemble: Ensemble, shots: CellSnapshots) -> Fields:
    velocity, deviation, growth = [], [], []
    for cells, t in zip(shots.values, shots.times.tolist(), strict=True):
        found = torch.stack([model.velocity(cells, t) for model in ensemble.models])
        velocity.append(found.mean(0))
        deviation.append(found.std(0, correction=0))
        if ensemble.models[0].has_growth:
            growth.append(_growth(ensemble, shots, cells, t))
    return Fields(velocity, deviation, growth or None)


def _growth(
    ensemble: Ensemble, shots: CellSnapshots, cells: Float[Tensor, "cell feature"], t: float
) -> Float[Tensor, "cell"]:
    """Growth around a time: a path's rate jumps where one interval ends and the next begins, so it is
    averaged over half an interval on either side, as far as there are snapshots."""
    half = 0.5 * float(shots.times.diff().mean())
    first, last = float(shots.times[0]), float(shots.times[-1])
    around = torch.linspace(max(first, t - half), min(last, t + half), GROWTH_POINTS).tolist()
    rates = [model.growth(cells, at) for model in ensemble.models for at in around]
    return torch.stack(rates).mean(0)


@dataclass(frozen=True, eq=False)
class Simulated:
    """times [time]; x [time, path, feature] of trajectories from cells of the first time."""

    times: Float[Tensor, "time"]
    x: Float[Tensor, "time path feature"]


def trajectories(
    config: Config, ensemble: Ensemble, shots: CellSnapshots, n: int, generator: torch.Generator
) -> Simulated:
    """`n` paths through all times, shared out over the ensemble."""
    times = _frames(shots.times, config.frames)
    parts = []
    for k, model in enumerate(ensemble.models):
        size = n // len(ensemble.models) + (k < n % len(ensemble.models))
        if size == 0:
            continue
        seed = int(torch.randint(2**31, (1,), generator=generator))
        x0 = pick(shots.cells(0), shots.weights(0), size, seed)
        parts.append(paths_of(model, x0, times, generator).x)
    return Simulated(times, torch.cat(parts, 1))


def _frames(times: Tensor, per_interval: int) -> Tensor:
    parts = [times[:1]]
    for begin, end in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        parts.append(torch.linspace(begin, end, per_interval + 1, dtype=times.dtype)[1:])
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class Imputed:
    """Cells at one time that was not seen: one draw each, and the deviation over ensemble and draws."""

    time: float
    cells: Float[Tensor, "cell feature"]
    deviation: Float[Tensor, "cell feature"]


def impute(
    config: Config, ensemble: Ensemble, shots: CellSnapshots, generator: torch.Generator
) -> list[Imputed]:
    """Cells of the time before, moved to each imputed time."""
    found = []
    known = shots.times
    for t in imputed_times(config, known):
        before = int((known < t).sum()) - 1
        seed = int(torch.randint(2**31, (1,), generator=generator))
        x0 = pick(shots.cells(before), shots.weights(before), config.imputed_cells, seed)
        at = torch.tensor([float(known[before]), t], dtype=known.dtype)
        ends = [
            paths_of(ensemble.models[k % len(ensemble.models)], x0, at, generator).x[-1]
            for k in range(_n_draws(ensemble))
        ]
        stacked = torch.stack(ends)
        found.append(Imputed(t, stacked[0], stacked.std(0, correction=0)))
    return found


def _n_draws(ensemble: Ensemble) -> int:
    """More than one draw per member only where paths are stochastic."""
    return DRAWS if ensemble.models[0].has_score else len(ensemble.models)


def imputed_times(config: Config, known: Tensor) -> list[float]:
    if config.impute:
        return sorted(config.impute)
    return (0.5 * (known[:-1] + known[1:])).tolist()


@dataclass(frozen=True, eq=False)
class Fates:
    """Per time: rows of the snapshot, and the probability of each population [row, population]."""

    populations: fates.Populations
    rows: list[Tensor]
    probability: list[Float[Tensor, "_ population"]]


def fates_of(
    config: Config,
    problem: Problem,
    ensemble: Ensemble,
    shots: CellSnapshots,
    generator: torch.Generator,
) -> Fates:
    """Fate probabilities of some cells of every time but the last."""
    last = shots.cells(shots.n_times - 1)
    if config.fates.key is not None:
        labels = column_of(problem.course.data, config.fates.key, "population")
        rows = problem.course.at(shots.n_times - 1)
        populations = fates.labelled(labels[rows], f"{config.fates.key} at the last time")
    else:
        populations = fates.clustered(last, config.seed)
    chosen, probability = [], []
    for k in range(shots.n_times - 1):
        order = torch.randperm(len(shots.cells(k)), generator=generator)
        rows_k = order[: config.fates.cells].sort().values
        at = torch.stack([shots.times[k], shots.times[-1]])
        ends = torch.stack(
            [
                paths_of(
                    ensemble.models[i % len(ensemble.models)],
                    shots.cells(k)[rows_k],
                    at,
                    generator,
                ).x[-1]
                for i in range(_n_paths(config, ensemble))
            ]
        )
        chosen.append(rows_k)
        probability.append(fates.fate_probabilities(ends, last, populations))
    return Fates(populations, chosen, probability)


def _n_paths(config: Config, ensemble: Ensemble) -> int:
    return config.fates.paths if ensemble.models[0].has_score else len(ensemble.models)
