"""The report: what was solved, every solver beside the others, and what the policy adds to its start."""

from __future__ import annotations

import numpy as np

from domains.graphs.figures import gaps_against_time, graph_with_sets, values_in_training
from pipelines.graphs.evaluation import Comparison, gap, seconds_to_near
from pipelines.graphs.solving import Line
from workbench.runs.folder import RunFolder
from workbench.runs.plotting import save
from workbench.runs.report import FigureFile, Section, Table
from workbench.runs.verdicts import format_value

MOST_ROWS = 30
SETS_DRAWN = 3
LARGEST_DRAWN = 400  # vertices
_SHORTEST, _POINTS = 1e-6, 9  # of a curve of gaps: seconds, and points
IN_TABLE = (
    "gflownet_best_of_",
    "gflownet_local_search",
    "greedy_restarts",
    "cp_sat",
    "kamis",
    "tabu",
)


def sections(c: Comparison, folder: RunFolder) -> list[Section]:
    """What the report shows under the table of figures, with the pictures written to the folder."""
    found = [
        Section("What was solved", _description(c)),
        Section("In short", _verdicts(c)),
        Section("All solvers", table=_solvers(c)),
        Section("Training", figures=_training(c, folder)),
        Section("Gap against time", figures=_gaps(c, folder)),
        Section("Graph by graph", _more_rows(c), table=_graphs(c)),
        Section("Sets", figures=_sets(c, folder)),
    ]
    return [section for section in found if section.lines or section.figures or section.table]


def _description(c: Comparison) -> list[str]:
    config, problem = c.config, c.problem
    sizes = [environment.graphs.graphs[0].n_vertices for environment in problem.tests]
    lines = [
        f"{problem.task.title.capitalize()} on {len(sizes)} graphs ({config.test}) of {min(sizes)} to "
        f"{max(sizes)} vertices, learned on {len(problem.training.graphs)} graphs ({config.train}): "
        f"{config.steps:,} steps of {config.batch} trajectories, objective {config.objective}, backward "
        f"policy {config.backward}, reward exp(beta value) with beta = {config.temperature.final:g}.",
        "The policy's logits begin as the scores of the greedy rule, so that the row "
        f"untrained_best_of_{config.samples} shows what training has to add to.",
        *problem.notes,
    ]
    if problem.task.sign < 0:
        lines.append(
            "Values are minimised: less is better. Gaps are relative to the best known value."
        )
    return lines


def _mean_gap(c: Comparison, solver: str) -> float | None:
    lines = [c.lines[graph, solver] for graph in c.graphs if (graph, solver) in c.lines]
    values = [gap(line.value, c.best(line.graph)) for line in lines if line.value is not None]
    return float(np.mean(values)) if values and len(values) == len(lines) else None


def _verdicts(c: Comparison) -> list[str]:
    """Which plain methods do as well as the policy or better, in so many words."""
    best_of = f"gflownet_best_of_{c.config.samples}"
    lines = []
    for ours, theirs, when in (
        (best_of, "greedy_restarts", "20 restarts of the greedy rule"),
        (
            best_of,
            "greedy_restarts_equal_seconds",
            "restarts of the greedy rule in the same seconds",
        ),
        (best_of, f"untrained_best_of_{c.config.samples}", "the policy before training"),
        (
            "gflownet_local_search",
            "greedy_local_search",
            "local search from greedy in the same seconds",
        ),
        (
            "gflownet_local_search",
            "random_local_search",
            "local search from random in the same seconds",
        ),
    ):
        mine, other = _mean_gap(c, ours), _mean_gap(c, theirs)
        if mine is None or other is None:
            continue
        word = "as good as" if abs(mine - other) < 1e-12 else "better than"
        word = "worse than" if mine > other + 1e-12 else word
        lines.append(f"{ours} (gap {mine:.2%}) is {word} {when} (gap {other:.2%}).")
    return lines


def _solvers(c: Comparison) -> Table:
    rows = []
    for solver in c.solvers:
        lines = [c.lines[graph, solver] for graph in c.graphs if (graph, solver) in c.lines]
        values = [line.value for line in lines if line.value is not None]
        distance = _mean_gap(c, solver)
        rows.append(
            [
                solver,
                format_value(float(np.mean(values))) if values else "-",
                "-" if distance is None else f"{distance:.2%}",
                f"{sum(_is_best(c, line) for line in lines)} of {len(lines)}",
                format_value(seconds_to_near(c, lines)[0]),
                format_value(float(np.mean([line.seconds for line in lines]))),
                f"{np.mean([line.n for line in lines]):,.0f}",
            ]
        )
    header = ["solver", "mean value", "mean gap", "best known found", "seconds to 1 %"]
    header += ["seconds per graph", "tries"]
    return Table(header, rows)


def _is_best(c: Comparison, line: Line) -> bool:
    return line.value is not None and gap(line.value, c.best(line.graph)) < 1e-9


def _graphs(c: Comparison) -> Table:
    """The first graphs: values of the main solvers, the best known one and the proven bound."""
    chosen = [s for s in c.solvers if s.startswith(IN_TABLE) and not s.endswith("equal_seconds")]
    rows = []
    for environment in c.problem.tests[:MOST_ROWS]:
        graph = environment.graphs.graphs[0]
        values = [c.lines[graph.name, solver].value for solver in chosen]
        bound = c.lines[graph.name, "cp_sat"].bound if "cp_sat" in chosen else None
        rows.append(
            [
                graph.name,
                f"{graph.n_vertices:,}",
                f"{graph.n_edges:,}",
                *(format_value(value) for value in values),
                format_value(c.best(graph.name)),
                format_value(bound),
            ]
        )
    header = ["graph", "vertices", "edges", *chosen, "best known", "proven bound"]
    return Table(header, rows)


def _more_rows(c: Comparison) -> list[str]:
    left = len(c.graphs) - MOST_ROWS
    return [f"{left} further graphs are in samples/solutions.jsonl."] if left > 0 else []


def _gaps(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    lines = {}
    for solver in c.solvers:
        seconds, gaps = _curve(c, solver)
        if seconds:
            lines[solver] = (seconds, gaps)
    figure = gaps_against_time(lines)
    text = (
        "Mean gap to the best known value against seconds per graph, from when every graph has a set to when "
        "the slowest is done; of the policy after 1, 2, 5, ... sets."
    )
    return [_save(folder, figure, "gap_time", text)]


def _curve(c: Comparison, solver: str) -> tuple[list[float], list[float]]:
    lines = [c.lines[graph, solver] for graph in c.graphs if (graph, solver) in c.lines]
    solved = [line for line in lines if line.value is not None]
    if len(solved) < len(lines):
        return [], []
    curves = [np.array([*line.curve, (line.seconds, line.value)], dtype=float) for line in solved]
    first = max(max(curve[0, 0] for curve in curves), _SHORTEST)  # when all graphs have a set
    last = max(curve[-1, 0] for curve in curves)  # when all graphs are done
    times = np.geomspace(first, last, _POINTS) if last > 1.05 * first else np.array([last])
    gaps = []
    for line, curve in zip(solved, curves, strict=True):
        at = (np.searchsorted(curve[:, 0], times, side="right") - 1).clip(0)
        gaps.append([100 * gap(value, c.best(line.graph)) for value in curve[at, 1]])
    return times.tolist(), np.mean(gaps, 0).tolist()


def _training(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    """The looks at held-out graphs; none for a policy that was trained elsewhere."""
    records = [r for r in folder.read_log("training") if "mean_value" in r["values"]]
    if not records:
        return []
    curves = {}
    for label, key, before in (
        ("single sets", "mean_value", c.before.single),
        ("best of 20", "best_value", c.before.best),
    ):
        curves[label] = [float(before.mean()), *(r["values"][key] for r in records)]
    steps = [0, *(r["step"] for r in records)]
    text = (
        f"Mean value on {len(c.before.best)} graphs held out of training, which are no test graphs; step 0 is "
        "the policy before training."
    )
    return [_save(folder, values_in_training(steps, curves), "training", text)]


def _sets(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    """The first test graph with the different sets that were found on it, best first."""
    graph = c.problem.tests[0].graphs.graphs[0]
    if graph.n_vertices > LARGEST_DRAWN:
        return []
    known: dict[bytes, tuple[float, str, np.ndarray]] = {}
    for (name, solver), line in c.lines.items():
        if name == graph.name and line.value is not None:
            chosen = np.zeros(graph.n_vertices, dtype=bool)
            chosen[line.vertices] = True
            known.setdefault(chosen.tobytes(), (line.value, solver, chosen))
    best = sorted(known.values(), key=lambda one: -c.problem.task.sign * one[0])[:SETS_DRAWN]
    titles = [f"{solver.replace('_', ' ')}: {value:g}" for value, solver, _ in best]
    figure = graph_with_sets(
        graph, np.stack([chosen for *_, chosen in best]), titles, c.problem.task.weighs_edges
    )
    text = f"Graph {graph.name} with different sets that were found on it (filled vertices)."
    return [_save(folder, figure, "sets", text)]


def _save(folder: RunFolder, figure: object, name: str, caption: str) -> FigureFile:
    path = save(figure, folder.figures, name)  # type: ignore[arg-type]
    return FigureFile(path.relative_to(folder.path), caption)
