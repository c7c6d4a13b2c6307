"""The figures of metrics.json: each with what it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.graphs.diversity import NEAR, Diversity
from pipelines.graphs.options import Config
from pipelines.graphs.prepare import Problem
from pipelines.graphs.solving import OTHERS, Line, applies, why_not
from pipelines.graphs.training import Look
from workbench.runs.metrics import Figure

Figures = dict[str, Figure]

_SOLVED_BY = {
    "gflownet_best_of_20": "the best of 20 sets of the policy",
    "untrained_best_of_20": "the best of 20 sets of the policy before training: greedy hints alone",
    "greedy": "the greedy rule once",
    "greedy_restarts": "20 greedy tries with random ties",
    "greedy_restarts_equal_seconds": "greedy tries for as long as the policy's sets took",
    "greedy_local_search": "local search from greedy tries, as long as gflownet_local_search",
    "random_local_search": "local search from random starts, as long as gflownet_local_search",
    "gflownet_local_search": "local search from the policy's sets, for --search-seconds with drawing them",
    "cp_sat": "CP-SAT, one worker, within the time limit",
    "kamis": "KaMIS within the time limit",
    "tabu": "tabu search for the time limit",
}
MEANINGS = {
    **{f"mean_value/{name}": f"mean value: {text}" for name, text in _SOLVED_BY.items()},
    **{f"mean_gap/{name}": "relative to the best known value, 0 is best" for name in _SOLVED_BY},
    **{f"seconds/{name}": "per graph" for name in _SOLVED_BY},
    **{
        f"seconds_to_1_percent/{name}": "until within 1 % of the best known value, median over graphs"
        for name in _SOLVED_BY
    },
    **{
        f"gap_to_{other}/{name}": f"relative to what {other} found; below 0: better than that"
        for other in OTHERS
        for name in ("gflownet_best_of_20", "gflownet_local_search")
    },
    "validation_gain/single": "value of single sets after training less before, on graphs held out of it",
    "validation_gain/best_of_20": "the same of the best of 20; for both, above 0 is better",
    "mean_best_known": "mean of the best value that any solver found",
    "mean_proven_bound": "mean of what CP-SAT proved that no set can beat",
    "distinct_optima_found": "different best known sets among the draws, over all graphs",
    "optima_coverage": "share of all optima among the draws, where they can be listed; baseline: greedy",
    "optima_uniformity": "total variation of optimal draws from the uniform law over optima",
    "terminal_tvd": "exact total variation of the policy's law from R^beta / Z, small graphs",
    "near_optima_per_second": "different sets within 1 % (or one unit) of the best, per second of drawing",
    "hamming_spread": "mean Hamming distance between those, per vertex",
    "training_seconds": "processor time of training",
    "n_trajectories": "trajectories made for training",
    "seconds": "training and sampling, without other solvers and evaluation",
    "cpu_seconds": "the same in processor time",
    "seconds_total": "everything",
}

HIGHER_IS_BETTER = (
    "validation_gain/single",
    "validation_gain/best_of_20",
    "distinct_optima_found",
    "optima_coverage",
    "near_optima_per_second",
    "hamming_spread",
)


@dataclass(frozen=True)
class Comparison:
    """Everything the figures are made from; `diversity` has one entry per test graph, `before` and `after` are
    looks at the held-out graphs of training."""

    config: Config
    problem: Problem
    lines: dict[tuple[str, str], Line]
    diversity: Sequence[Diversity]
    training_seconds: float
    before: Look
    after: Look

    @property
    def graphs(self) -> list[str]:
        return [environment.graphs.graphs[0].name for environment in self.problem.tests]

    @property
    def solvers(self) -> list[str]:
        """Solvers that have run, in the order of `solving`."""
        return list(dict.fromkeys(solver for _, solver in self.lines))

    def best(self, graph: str) -> float:
        """The best value that any solver found."""
        return best_known(self.problem, self.lines, graph)


def best_known(problem: Problem, lines: dict[tuple[str, str], Line], graph: str) -> float:
    """The best value on a graph that any solver found."""
    sign = problem.task.sign
    values = [line.value for (name, _), line in lines.items() if name == graph]
    return sign * max(sign * value for value in values if value is not None)


def gap(value: float, best: float) -> float:
    """Relative distance from the best value, whichever way is better."""
    return abs(best - value) / abs(best) if best else abs(value)


def evaluate(c: Comparison) -> Figures:
    """All figures; those that cannot be had say why."""
    figures: Figures = {}
    applicable = [name for name in OTHERS if applies(c.config.task, name)]
    for solver in [*c.solvers, *(name for name in applicable if name not in c.solvers)]:
        figures |= _of_solver(c, solver)
    figures["mean_best_known"] = _mean([c.best(graph) for graph in c.graphs])
    bounds = [line.bound for (_, name), line in c.lines.items() if name == "cp_sat"]
    known = [bound for bound in bounds if bound is not None]
    figures["mean_proven_bound"] = _mean(known, "CP-SAT did not run")
    return figures | _against_others(c) | _learned(c) | _diversity(c) | _pays(c)


def _against_others(c: Comparison) -> Figures:
    """The policy's sets, as they are and after the search, graph by graph beside each solver of others."""
    figures: Figures = {}
    ours = (f"gflownet_best_of_{c.config.samples}", "gflownet_local_search")
    for other in (name for name in c.solvers if name in OTHERS):
        for name in ours:
            gaps = [
                c.problem.task.sign * (theirs - mine) / abs(theirs)
                for mine, theirs in _values(c, name, other)
                if theirs
            ]
            figures[f"gap_to_{other}/{name}"] = _mean(gaps, "nothing was found to compare with")
    return figures


def _values(c: Comparison, first: str, second: str) -> list[tuple[float, float]]:
    """What two solvers found, on the graphs on which both found something."""
    both = [g for g in c.graphs if (g, first) in c.lines and (g, second) in c.lines]
    pairs = [(c.lines[g, first].value, c.lines[g, second].value) for g in both]
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def _learned(c: Comparison) -> Figures:
    """What training has made of the first policy, on held-out graphs, each with itself."""
    sign = c.problem.task.sign
    pairs = {
        "single": (c.before.single, c.after.single),
        "best_of_20": (c.before.best, c.after.best),
    }
    return {
        f"validation_gain/{name}": _mean((sign * (after - before)).tolist())
        for name, (before, after) in pairs.items()
    }


def _of_solver(c: Comparison, solver: str) -> Figures:
    lines = [c.lines[graph, solver] for graph in c.graphs if (graph, solver) in c.lines]
    solved = [line for line in lines if line.value is not None]
    why = why_not(c.config, solver) if solver in OTHERS else None
    if lines and len(solved) < len(lines):
        why = f"nothing was found in time on {len(lines) - len(solved)} of {len(lines)} graphs"
    complete = bool(lines) and len(solved) == len(lines)
    values = [line.value for line in solved if line.value is not None] if complete else []
    gaps = [gap(line.value, c.best(line.graph)) for line in solved if line.value is not None]
    return {
        f"mean_value/{solver}": _mean(values, why),
        f"mean_gap/{solver}": _mean(gaps if complete else [], why),
        f"seconds/{solver}": _mean([line.seconds for line in lines], why, unit="s"),
        f"seconds_to_1_percent/{solver}": _near(c, lines, why),
    }


def seconds_to_near(c: Comparison, lines: Sequence[Line]) -> tuple[float | None, int]:
    """Seconds until the gap is at most `NEAR`, median over all graphs (None where most never get there), and on
    how many it was."""
    reached = []
    for line in lines:
        last = [] if line.value is None else [(line.seconds, line.value)]
        for seconds, value in [*line.curve, *last]:
            if gap(value, c.best(line.graph)) <= NEAR + 1e-9:
                reached.append(seconds)
                break
    if 2 * len(reached) <= len(lines):
        return None, len(reached)
    return sorted(reached)[(len(lines) - 1) // 2], len(reached)


def _near(c: Comparison, lines: Sequence[Line], why: str | None) -> Figure:
    seconds, n = seconds_to_near(c, lines)
    if seconds is None:
        return Figure(None, why=why or f"{n} of {len(lines)} graphs got there in time")
    return Figure(seconds, None, n, unit="s")


def _mean(values: Sequence[float], why: str | None = None, unit: str | None = None) -> Figure:
    if not values:
        return Figure(None, why=why)
    n = len(values)
    stderr = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    return Figure(float(np.mean(values)), stderr, n, unit=unit)


def _diversity(c: Comparison) -> Figures:
    """Means over graphs; sums where things are counted."""
    every = c.diversity
    listed = [d for d in every if d.listed is not None]
    none = "no test graph is small enough and has two optima"

    def mean(
        value: Callable[[Diversity], float | None],
        among: Sequence[Diversity],
        why: str,
        baseline: Callable[[Diversity], float | None] | None = None,
        floor: Callable[[Diversity], float | None] | None = None,
    ) -> Figure:
        chosen = [d for d in among if value(d) is not None]
        figure = _mean([float(value(d)) for d in chosen], why)  # type: ignore[arg-type]

        def beside(other: Callable[[Diversity], float | None] | None) -> float | None:
            numbers = [other(d) for d in chosen] if other else []
            known = [number for number in numbers if number is not None]
            return float(np.mean(known)) if known else None

        return Figure(
            figure.value, figure.stderr, figure.n, beside(floor), beside(baseline), why=figure.why
        )

    return {
        "distinct_optima_found": Figure(
            sum(d.n_optimal for d in every),
            n=len(every),
            reference=sum(d.listed.n_optima for d in listed if d.listed)
            if len(listed) == len(every)
            else None,
        ),
        "optima_coverage": mean(
            lambda d: d.listed and d.listed.coverage,  # type: ignore[arg-type,return-value]
            listed,
            none,
            lambda d: d.listed_greedy and d.listed_greedy.coverage,  # type: ignore[arg-type,return-value]
        ),
        "optima_uniformity": mean(
            lambda d: d.listed and d.listed.uniformity,  # type: ignore[arg-type,return-value]
            listed,
            none,
            lambda d: d.listed_greedy and d.listed_greedy.uniformity,  # type: ignore[arg-type,return-value]
            lambda d: d.listed and d.listed.uniformity_floor,  # type: ignore[arg-type,return-value]
        ),
        "terminal_tvd": mean(lambda d: d.law_distance, every, "no test graph is small enough"),
        "near_optima_per_second": mean(lambda d: d.near_per_second, every, ""),
        "hamming_spread": mean(lambda d: d.spread, every, "fewer than two near-optimal sets"),
    }


def _pays(c: Comparison) -> Figures:
    """Graphs after which training and sampling together have cost less than a solver, if ever."""
    figures: Figures = {"training_seconds": Figure(c.training_seconds, unit="s")}
    best_of = f"gflownet_best_of_{c.config.samples}"
    ours = np.mean([line.seconds for (_, name), line in c.lines.items() if name == best_of])
    for solver in c.solvers:
        if solver not in OTHERS:
            continue
        theirs = np.mean([line.seconds for (_, name), line in c.lines.items() if name == solver])
        pays = theirs > ours
        figures[f"graphs_until_training_pays/{solver}"] = Figure(
            float(c.training_seconds / (theirs - ours)) if pays else None,
            why=None if pays else f"{solver} takes less time per graph than sampling",
        )
    return figures
