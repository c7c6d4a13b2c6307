"""The report: what was read, how it was validated, what was inferred, with pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from domains.cells import figures as draw
from domains.cells.comparison import FLOOR
from domains.cells.figures import as_array
from domains.cells.gene_names import symbols
from domains.cells.representation import Representation
from domains.cells.rivals import RIVALS
from pipelines.cells.evaluation import Distances
from pipelines.cells.final import Ensemble, Fates, Fields, Simulated
from pipelines.cells.gene_network import ReadNetwork
from pipelines.cells.options import Config
from pipelines.cells.prepare import Problem
from pipelines.cells.validation import Fold
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.runs.plotting import save
from workbench.runs.report import FigureFile, Section, Table
from workbench.runs.verdicts import format_value

N_GENES = 5
MOST_DRAWN = 2
NO_ROOM = 0.9
_START = {
    "both": "both neighbouring times, forward from the one before and backward from the one after,",
    "before": "the time before",
}
ADVERSARIAL_LOOP = "interpolant"
GAME = {"loss": "interpolant", "discriminator": "discriminator", "regulariser": "regulariser"}


@dataclass(frozen=True, eq=False)
class Results:
    """Everything a report shows."""

    config: Config
    problem: Problem
    folds: list[Fold]
    distances: list[Distances]
    ensemble: Ensemble
    fields: Fields
    simulated: Simulated
    fates: Fates
    network: ReadNetwork | None
    figures: dict[str, Figure]


def sections(r: Results, folder: RunFolder) -> list[Section]:
    """What the report shows under the table of figures, with the pictures written to the folder."""
    result = [
        Section("What was read", _description(r)),
        Section("Held-out times", _validation_lines(r), _validation(r, folder), _table(r)),
        Section("Trajectories", _final_lines(r), _trajectories(r, folder)),
        Section("Gene trends", figures=_trends(r, folder)),
        Section(
            "Fates", [f"Terminal populations: {r.fates.populations.source}."], _fates(r, folder)
        ),
        Section("Growth", _growth_lines(r), _growth(r, folder)),
        Section("Gene network", _network_lines(r), _network(r, folder)),
        Section("Training", figures=_training(r, folder)),
    ]
    return [section for section in result if section.figures or section.table or section.lines]


def _description(r: Results) -> list[str]:
    shots, course = r.problem.snapshots, r.problem.course
    unit = f" {course.time_unit}" if course.time_unit else ""
    sizes = ", ".join(
        f"{name}: {len(x):,}" for name, x in zip(shots.names, shots.values, strict=True)
    )
    lines = [
        f"{len(course.when):,} cells at {shots.n_times} times of {course.time_key}{unit} ({sizes}).",
        f"Space: {r.problem.space.name}; expression taken as {r.problem.space.normalise}.",
    ]
    if r.problem.space.leaks and r.folds:
        lines.append(f"Caution: {r.problem.space.leaks}.")
    if r.problem.truth is not None:
        lines.append(
            f"The cells are simulated by the circuit {r.problem.truth.circuit.name}: velocities, growth and "
            "network are known."
        )
    if r.config.shuffle_times:
        lines.append(
            "Control: the time labels were permuted in validation, so nothing may win there."
        )
    return lines


def _validation_lines(r: Results) -> list[str]:
    if not r.folds:
        return ["No time was held out, so nothing here is validated."]
    lines = [
        "Each time in turn is left out of genes, components and training, and predicted by moving the cells "
        f"of {_START[r.config.start]} along what was learned. Prediction, rivals and floor are compared at the "
        "same number of cells; the floor is the distance between two random parts of the held-out cells.",
        "midpoint: the exact transport plan between all cells of both neighbours, read at the real time, "
        "without any learning. midpoint_index: the same at one half, as if times were numbers in a list. "
        "previous, next: the neighbouring snapshots as they are.",
    ]
    for fold in r.folds:
        if fold.chosen is not None:
            scores = ", ".join(f"{name} {value:.3g}" for name, value in fold.inner.items())
            by = f" by W1 within the training times ({scores})" if scores else (
                ", its first candidate: the other times have no interior one to choose by"
            )  # fmt: skip
            lines.append(f"auto, time {fold.name}: {fold.chosen}{by}.")
    for name in dict.fromkeys(r.config.method):
        lines += _verdict(r, str(name))
    return lines


def _verdict(r: Results, name: str) -> list[str]:
    """A plain sentence on whether a method beats the midpoint."""
    figure = r.figures.get(f"w1_difference_to_midpoint/{name}")
    if figure is None or figure.value is None or figure.interval is None:
        return []
    low, high = figure.interval
    words = "cannot be told from the midpoint"
    room = r.figures["w1_room"].value
    if high < 0 and room is not None and room > NO_ROOM:
        words = (
            "reads nearer than the midpoint, which is no win: the midpoint is at the noise floor already, "
            "where a cloud that is merely narrower reads nearer"
        )
    elif high < 0:
        words = "is better than the midpoint"
    elif low > 0:
        words = "is worse than the midpoint: the unlearned prediction wins"
    told = f"{name} {words} (W1 {figure.value:+.3g}, 95 % interval {low:+.3g} to {high:+.3g})"
    return [f"{told}{_nearer_neighbour(r, name)}."]


def _nearer_neighbour(r: Results, name: str) -> str:
    """A clause where a neighbouring snapshot, as it is, reads nearer than the prediction."""
    means = {one: r.figures[f"w1_mean/{one}"].value for one in (name, "previous", "next")}
    known = {one: value for one, value in means.items() if value is not None}
    nearest = min(known, key=lambda one: known[one])
    if nearest == name:
        return ""
    return f"; the {nearest} snapshot as it is reads nearer than {name} (W1 {known[nearest]:.3g})"


def _drawn(r: Results) -> list[str]:
    """The first methods whose predictions are not those of the midpoint: more than two hide each other."""
    learned = [name for name in dict.fromkeys(map(str, r.config.method)) if name != "midpoint"]
    differ = [
        name
        for name in learned
        if any(fold.learned[name][0] is not fold.rivals["midpoint"] for fold in r.folds)
    ]
    return differ[:MOST_DRAWN]


def _table(r: Results) -> Table | None:
    if not r.folds:
        return None
    names = [*dict.fromkeys([*map(str, r.config.method), *RIVALS]), FLOOR]
    rows = []
    for name in names:
        row = [name]
        row += [format_value(one.mean(name)) for one in r.distances]
        row.append(format_value(float(np.mean([one.mean(name) for one in r.distances]))))
        rows.append(row)
    header = ["W1", *(f"time {one.fold.name} ({one.fold.n} cells)" for one in r.distances), "mean"]
    return Table(header, rows)


def _validation(r: Results, folder: RunFolder) -> list[FigureFile]:
    if not r.folds:
        return []
    shown = list(dict.fromkeys([*map(str, r.config.method), *RIVALS]))
    values = {
        one.fold.name: {name: (one.mean(name), float(one.w1[name].mean(0).std())) for name in shown}
        for one in r.distances
    }
    floors = {one.fold.name: one.mean(FLOOR) for one in r.distances}
    unit = r.problem.course.time_unit
    picture = draw.bars(values, floors, "W1 to the held-out cells", _label("held-out time", unit))
    text = "W1 per held-out time, with the deviation over draws of cells."
    files = [_save(folder, picture, "w1", text)]
    panels, drawn = {}, _drawn(r)
    for fold in r.folds[:4]:
        sets = {"observed": as_array(fold.shots.cells(fold.held_out)[:, :2])}
        sets["midpoint"] = as_array(fold.rivals["midpoint"].cells[:, :2])
        for name in drawn:
            sets[name] = as_array(fold.learned[name][0].cells[:, :2])
        panels[f"held-out time {fold.name}"] = sets
    if min(fold.shots.dim for fold in r.folds) >= 2:
        picture = draw.held_out(panels, _axes(r.problem.space))
        text = "Held-out cells (grey) under predictions, in the fold's own first two features."
        files.append(_save(folder, picture, "held_out", text))
    return files


def _final_lines(r: Results) -> list[str]:
    chosen = r.ensemble.chosen
    lines = [
        f"Method of the final fit: {chosen.method}, since {chosen.why}. {len(r.ensemble.models)} bridges that "
        "differ by their seed; velocities are their mean, deviations their spread.",
        "Files: samples/cells.h5ad, samples/trajectories.h5ad, samples/imputed.h5ad.",
    ]
    plans = r.ensemble.models[0].plans
    if plans:
        errors = max(plan.marginal_error for plan in plans)
        gap = max(plan.duality_gap for plan in plans)
        lines.append(
            f"Couplings: {plans[0].method}; largest marginal error {errors:.2g}, largest relative duality gap "
            f"{gap:.2g}."
        )
    note = r.ensemble.models[0].note
    return [*lines, f"Caution: {note}."] if note else lines


def _trajectories(r: Results, folder: RunFolder) -> list[FigureFile]:
    shots = r.problem.snapshots
    if shots.dim < 2:
        return []
    picture = draw.embedding(
        [as_array(x[:, :2]) for x in shots.values],
        shots.names,
        [as_array(v[:, :2]) for v in r.fields.velocity],
        as_array(r.simulated.x[:, :, :2]),
        _axes(r.problem.space),
        _label("time", r.problem.course.time_unit),
    )
    text = "Cells by time, streamlines of the mean velocity nearby, and a dozen simulated trajectories."
    return [_save(folder, picture, "trajectories", text)]


def _axes(space: Representation) -> tuple[str, str]:
    name = space.use_rep or "component"
    return f"{name} 1", f"{name} 2"


def _trends(r: Results, folder: RunFolder) -> list[FigureFile]:
    space, shots, data = r.problem.space, r.problem.snapshots, r.problem.course.data
    if space.loadings is None:
        return []
    names = np.asarray(data.var_names)[space.columns].astype(str)
    titles = np.asarray(symbols(data.var))[space.columns]
    observed = [space.genes(x) for x in shots.values]
    chosen = _trend_genes(r.config, names, titles, observed)
    simulated = space.genes(r.simulated.x)[..., chosen]
    picture = draw.gene_trends(
        as_array(r.simulated.times),
        simulated,
        as_array(shots.times),
        [x[:, chosen] for x in observed],
        [str(title) for title in titles[chosen]],
        _label("time", r.problem.course.time_unit),
    )
    text = (
        "Median and 80 % band of the trajectories (line, band) and of the observed cells (dots, bars), both "
        "as the components show them."
    )
    return [_save(folder, picture, "gene_trends", text)]


def _trend_genes(
    config: Config,
    names: np.ndarray,
    titles: np.ndarray,
    observed: list[Float[np.ndarray, "_ gene"]],
) -> np.ndarray:
    """The genes asked for by name or symbol, or those whose mean changes most over time."""
    asked = [np.flatnonzero((names == gene) | (titles == gene)) for gene in config.genes]
    known = [int(found[0]) for found in asked if len(found)]
    if known:
        return np.array(known)
    means = np.stack([x.mean(0) for x in observed])
    return np.argsort(-np.ptp(means, axis=0), kind="stable")[:N_GENES]


def _fates(r: Results, folder: RunFolder) -> list[FigureFile]:
    shots = r.problem.snapshots
    if shots.dim < 2:
        return []
    points = torch.cat([shots.cells(k)[rows] for k, rows in enumerate(r.fates.rows)])
    picture = draw.fates(
        as_array(points[:, :2]),
        as_array(torch.cat(r.fates.probability)),
        r.fates.populations.names,
        as_array(shots.cells(shots.n_times - 1)[:, :2]),
        _axes(r.problem.space),
    )
    text = "Probability of each terminal population; grey: the observed cells of the last time."
    return [_save(folder, picture, "fates", text)]


def _growth_lines(r: Results) -> list[str]:
    if r.fields.growth is None:
        return []
    if r.problem.population is None:
        return [
            "No population sizes were given: growth is relative, with every snapshot of one mass."
        ]
    sizes = ", ".join(f"{size:.3g}" for size in r.problem.population.tolist())
    return [f"Population sizes relative to the first time: {sizes}."]


def _growth(r: Results, folder: RunFolder) -> list[FigureFile]:
    truth = r.problem.truth
    if r.fields.growth is None or truth is None:
        return []
    unit = f"1 / {r.problem.course.time_unit or 'time unit'}"
    picture = draw.scatter(
        as_array(torch.cat(truth.growth)),
        as_array(torch.cat(r.fields.growth)),
        "true growth rate",
        "inferred growth rate",
        unit.replace("1 / ", "per "),
    )
    return [_save(folder, picture, "growth", "Inferred against true growth rates of all cells.")]


def _network_lines(r: Results) -> list[str]:
    return [] if r.network is None else list(r.network.lines)


def _network(r: Results, folder: RunFolder) -> list[FigureFile]:
    if r.network is None:
        return []
    picture = draw.network(r.network.scores, r.network.genes, r.network.truth)
    text = "Edge scores, from regulator (row) to target (column), averaged over fits on half of the cells."
    return [_save(folder, picture, "network", text)]


def _training(r: Results, folder: RunFolder) -> list[FigureFile]:
    """The losses of the final fits as they were logged, and the adversarial game of the first."""
    loops: dict[str, list[Any]] = {}
    for record in folder.read_log():
        loops.setdefault(record["loop"], []).append(record)
    files = []
    fits = {name: _logged(loops[name], "loss") for name in loops if ADVERSARIAL_LOOP not in name}
    if few := dict([(name, curve) for name, curve in fits.items() if curve is not None][:6]):
        picture = draw.training_curves(few, "loss")
        files.append(_save(folder, picture, "training_loss", "Training of the final fits."))
    played = next((loops[name] for name in loops if ADVERSARIAL_LOOP in name), [])
    game = {label: _logged(played, key) for key, label in GAME.items()}
    if shown := {label: curve for label, curve in game.items() if curve is not None}:
        text = (
            "The interpolant of the first fit: regression on chained plans, then the game against the "
            "discriminator, whose loss is log 2 where it cannot tell the two apart."
        )
        picture = draw.training_curves(shown, "loss")
        files.append(_save(folder, picture, "training_game", text))
    return files


def _logged(records: list[Any], key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps and values of one logged quantity."""
    rows = [(x["step"], x["values"][key]) for x in records if x["values"].get(key) is not None]
    if not rows:
        return None
    steps, values = np.array(rows, dtype=float).T
    return steps, values


def _label(word: str, unit: str) -> str:
    return f"{word} / {unit}" if unit else word


def _save(folder: RunFolder, figure: object, name: str, caption: str) -> FigureFile:
    path = save(figure, folder.figures, name)  # type: ignore[arg-type]
    return FigureFile(path.relative_to(folder.path), caption)
