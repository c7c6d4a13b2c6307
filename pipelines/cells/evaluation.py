"""The figures of metrics.json: distances on held-out times with floors, rivals and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from domains.cells import distances
from domains.cells.bootstrap import HeldOut, Interval, paired_difference
from domains.cells.comparison import FLOOR, Draw, Prediction, compare, draws
from domains.cells.rivals import RIVALS
from domains.cells.timecourse import column_of
from pipelines.cells.final import Ensemble, Fields
from pipelines.cells.options import Config
from pipelines.cells.prepare import Problem
from pipelines.cells.validation import Fold
from workbench.bridge.simulation import path_energy
from workbench.runs.metrics import Figure

Figures = dict[str, Figure]

OTHER_DRAWS = 5
MOST_FOR_ENERGY = 1000

MEANINGS = {
    "w1_room": "noise floor over the midpoint's W1; above 0.9 there is no room for a win",
    "path_energy": "final fit: integral of the squared speed, summed over intervals; reference: W2 squared",
    "plan_marginal_error": "final fit: largest L1 error of a coupling's marginals",
    "plan_duality_gap": "final fit: largest relative duality gap of a coupling as it was solved",
    "growth_correlation": "inferred against true growth rates of the cells at interior times",
    "growth_slope": "slope of inferred on true growth rates",
    "growth_error": "root mean square error of the growth rate; baseline: balanced transport, which has none",
    "velocity_cosine": "mean cosine of inferred and true velocities at the cells",
    "grn_auroc": "area under the ROC curve of the read network; baseline: the better of Spearman and trees",
    "grn_ap": "average precision of the read network; baseline: the better of Spearman and trees",
    "seconds": "validation, final fit and simulation",
    "cpu_seconds": "the same in CPU time of this process, without workers",
    "seconds_total": "everything",
    "peak_memory_gib": "largest memory of the process",
}
HIGHER_IS_BETTER = ("growth_correlation", "velocity_cosine", "grn_auroc", "grn_ap")

_FAMILIES = {
    "w1": "W1 to the held-out cells",
    "w2": "W2 to the held-out cells",
    "mmd": "maximum mean discrepancy to the held-out cells",
    "pqmass_p": "PQMass p-value against the held-out cells",
}


@dataclass(frozen=True, eq=False)
class Distances:
    """Of one held-out time: name -> value per draw, per seed where learned [seed, draw]; `floor` too."""

    fold: Fold
    w1: dict[str, Float[Tensor, "seed draw"]]

    def mean(self, name: str) -> float:
        return float(self.w1[name].mean())


def fold_distances(config: Config, problem: Problem, fold: Fold) -> Distances:
    """W1 of every prediction, on draws that all share."""
    drawn = _draws(config, problem, fold, config.repeats)
    return Distances(fold, _compared(distances.w1, fold, drawn))


def _draws(config: Config, problem: Problem, fold: Fold, repeats: int) -> list[Draw]:
    generator = problem.generator(config.seed, f"draws-{fold.held_out}")
    return draws(fold.shots.weights(fold.held_out), fold.n, repeats, generator)


def _compared(
    metric: distances.Metric, fold: Fold, drawn: list[Draw], only: Sequence[str] | None = None
) -> dict[str, Float[Tensor, "seed draw"]]:
    sets: dict[str, Prediction] = {}
    for name, prediction in fold.rivals.items():
        sets[name] = prediction
    for method, seeds in fold.learned.items():
        for k, prediction in enumerate(seeds):
            sets[f"{method}#{k}"] = prediction
    if only is not None:
        sets = {name: p for name, p in sets.items() if name.split("#")[0] in only}
    values = compare(metric, sets, fold.shots.cells(fold.held_out), drawn)
    found = {name: values[name][None] for name in values if "#" not in name}
    for method, seeds in fold.learned.items():
        if f"{method}#0" in values:
            found[method] = torch.stack([values[f"{method}#{k}"] for k in range(len(seeds))])
    return found


def validation_figures(
    config: Config, problem: Problem, folds: list[Fold], found: list[Distances]
) -> Figures:
    """Per method and time, means over times, and differences to the midpoint with their intervals."""
    if not folds:
        why = "no time was held out"
        return {f"w1_mean/{name}": Figure(None, why=why) for name in _methods(config)}
    figures: Figures = {}
    for one in found:
        figures |= _per_time("w1", one.fold, one.w1)
    names = [*_methods(config), *RIVALS]
    for name in dict.fromkeys(names):
        figures[f"w1_mean/{name}"] = _mean_over_times(name, found)
    figures["w1_room"] = _room(figures["w1_mean/midpoint"])
    for name in _methods(config):
        if name != "midpoint":
            figures[f"w1_difference_to_midpoint/{name}"] = _difference(config, problem, name, found)
    for fold in folds:
        figures |= _other_distances(config, problem, fold)
        if config.batch_key is not None:
            figures |= _between_batches(config, problem, fold)
    return figures


def _methods(config: Config) -> list[str]:
    return [str(method) for method in dict.fromkeys(config.method)]


def _per_time(family: str, fold: Fold, values: dict[str, Tensor]) -> Figures:
    floor, baseline = float(values[FLOOR].mean()), float(values["midpoint"].mean())
    return {
        f"{family}/{name}/{fold.name}": Figure(
            float(v.mean()),
            _spread(v),
            n=fold.n,
            floor=floor,
            baseline=None if name in RIVALS else baseline,
        )
        for name, v in values.items()
        if name != FLOOR
    }


def _spread(values: Float[Tensor, "seed draw"]) -> float | None:
    """Deviation over draws of cells and over seeds together, for one draw of the mean over seeds."""
    over_draws = float(values.mean(0).var()) if values.shape[1] > 1 else 0.0
    over_seeds = float(values.mean(1).var()) / len(values) if len(values) > 1 else 0.0
    return (over_draws + over_seeds) ** 0.5 or None


def _room(midpoint: Figure) -> Figure:
    """Floor over midpoint: near one, no prediction can be better but by being narrower than the cells."""
    assert midpoint.floor is not None and midpoint.value is not None
    return Figure(midpoint.floor / midpoint.value, n=midpoint.n)


def _mean_over_times(name: str, found: list[Distances]) -> Figure:
    spreads = [_spread(one.w1[name]) or 0.0 for one in found]
    stderr = float(np.sqrt(np.sum(np.square(spreads))) / len(found))
    baseline = float(np.mean([one.mean("midpoint") for one in found]))
    return Figure(
        float(np.mean([one.mean(name) for one in found])),
        stderr or None,
        n=min(one.fold.n for one in found),
        floor=float(np.mean([one.mean(FLOOR) for one in found])),
        baseline=None if name in RIVALS else baseline,
    )


def _difference(config: Config, problem: Problem, name: str, found: list[Distances]) -> Figure:
    interval = difference(config, problem, name, found)
    return Figure(
        interval.mean,
        interval.stderr,
        n=min(one.fold.n for one in found),
        interval=(interval.low, interval.high),
    )


def difference(config: Config, problem: Problem, name: str, found: list[Distances]) -> Interval:
    """W1 of a method less that of the midpoint, over held-out times, cells and seeds."""
    mean = float(np.mean([one.mean(name) - one.mean("midpoint") for one in found]))
    times = [
        HeldOut(
            one.fold.shots.cells(one.fold.held_out),
            one.fold.n,
            one.fold.learned[name],
            one.fold.rivals["midpoint"],
        )
        for one in found
    ]
    generator = problem.generator(config.seed, f"bootstrap-{name}")
    return paired_difference(distances.w1, times, mean, generator, config.bootstrap)


def _other_distances(config: Config, problem: Problem, fold: Fold) -> Figures:
    """W2, MMD and PQMass of the methods and the midpoint."""
    drawn = _draws(config, problem, fold, min(OTHER_DRAWS, config.repeats))
    metrics = {"w2": distances.w2, "mmd": distances.mmd, "pqmass_p": distances.pqmass}
    figures: Figures = {}
    for family, metric in metrics.items():
        values = _compared(metric, fold, drawn, only=[*_methods(config), "midpoint"])
        figures |= _per_time(family, fold, values)
    return figures


def _between_batches(config: Config, problem: Problem, fold: Fold) -> Figures:
    """W1 between the two largest batches of a held-out time: how far donors are apart."""
    name = f"w1_between_batches/{fold.name}"
    batch = column_of(problem.course.data, str(config.batch_key), "batch")
    mine = batch[problem.course.at(fold.held_out)]
    labels, sizes = np.unique(mine, return_counts=True)
    if len(labels) < 2:
        return {name: Figure(None, why=f"time {fold.name} has one batch")}
    first, second = labels[np.argsort(-sizes, kind="stable")[:2]]
    cells = fold.shots.cells(fold.held_out)
    a, b = cells[torch.from_numpy(mine == first)], cells[torch.from_numpy(mine == second)]
    n = min(len(a), len(b), config.eval_cells)
    generator = problem.generator(config.seed, f"batches-{fold.held_out}")
    values = [
        distances.w1(
            a[torch.randperm(len(a), generator=generator)[:n]],
            b[torch.randperm(len(b), generator=generator)[:n]],
        )
        for _ in range(OTHER_DRAWS)
    ]
    return {name: Figure(float(np.mean(values)), n=n)}


def final_figures(problem: Problem, ensemble: Ensemble, found: Fields) -> Figures:
    """Path energy, and against the truth of a simulation velocities and growth."""
    figures = {"path_energy": _path_energy(problem, ensemble), **_plan_errors(ensemble)}
    truth = problem.truth
    if truth is None:
        why = "the true growth of these cells is not known"
        return figures | {"growth_correlation": Figure(None, why=why)}
    loadings = problem.space.loadings
    assert loadings is not None
    true = torch.cat(truth.drift) @ torch.from_numpy(loadings).float()
    inferred = torch.cat(found.velocity)
    cosine = torch.nn.functional.cosine_similarity(inferred, true, dim=1)
    figures["velocity_cosine"] = Figure(float(cosine.mean()), n=len(cosine))
    return figures | growth_figures(truth.growth, found)


def growth_figures(true: Sequence[Float[Tensor, "_"]], found: Fields) -> Figures:
    """Inferred growth rates against the true ones, at times with a neighbour on either side: at the ends the
    rate is that of one interval alone."""
    inner = slice(1, -1) if len(true) > 2 else slice(None)
    truth = torch.cat(list(true[inner]))
    if float(truth.std()) == 0:
        why = "all cells of this simulation grow alike"
        return {"growth_correlation": Figure(None, why=why)}
    if found.growth is None:
        why = "growth is learned by --method unbalanced alone"
        return {"growth_correlation": Figure(None, why=why)}
    inferred = torch.cat(found.growth[inner])
    correlation, slope = distances.correlation_and_slope(inferred, truth)
    error = float((inferred.double() - truth.double()).square().mean().sqrt())
    without = float(truth.double().square().mean().sqrt())
    n = len(truth)
    return {
        "growth_correlation": Figure(correlation, n=n),
        "growth_slope": Figure(slope, n=n, reference=1.0),
        "growth_error": Figure(error, n=n, baseline=without),
    }


def _plan_errors(ensemble: Ensemble) -> Figures:
    """The worst certificate of the couplings of the final fit."""
    plans = ensemble.models[0].plans
    return {
        "plan_marginal_error": Figure(max(plan.marginal_error for plan in plans)),
        "plan_duality_gap": Figure(max(plan.duality_gap for plan in plans)),
    }


def _path_energy(problem: Problem, ensemble: Ensemble) -> Figure:
    shots, model = problem.snapshots, ensemble.models[0]
    times = shots.times.tolist()
    energies = [
        path_energy(model, shots.cells(k)[:MOST_FOR_ENERGY], times[k], times[k + 1])
        for k in range(shots.n_times - 1)
    ]
    costs = [plan.cost for plan in model.plans]
    return Figure(float(sum(energies)), reference=float(sum(costs)) if costs else None)


def meanings(figures: Figures) -> dict[str, str]:
    """A phrase per figure, those of a family by its prefix."""
    found = dict(MEANINGS)
    for name in figures:
        family = name.split("/")[0]
        if family in _FAMILIES:
            found[name] = _FAMILIES[family]
        elif family == "w1_mean":
            found[name] = "W1 averaged over the held-out times; baseline: the unlearned midpoint"
        elif family == "w1_difference_to_midpoint":
            found[name] = (
                "W1 less that of the midpoint, with its 95 % interval over cells and seeds"
            )
        elif family == "w1_between_batches":
            found[name] = "W1 between the two largest batches of that time"
    return found
