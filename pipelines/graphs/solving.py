"""Every solver on every test graph, one line of `samples/solutions.jsonl` each; lines that stand there already
are not computed again.

    gflownet_best_of_K       the best of K sets of the trained policy
    gflownet_local_search    search from the same K, the time of drawing them taken off; like every search,
                             it goes on from random sets when these give no more
    untrained_best_of_K      K sets of the policy before training: its greedy hints alone
    greedy, greedy_restarts  the greedy rule once, and 20 times with random ties
    greedy_restarts_equal_seconds            restarts for as long as gflownet_best_of_K took
    greedy_local_search, random_local_search the same search from 20 greedy sets or from random ones, for as
                                             long as gflownet_local_search took: --search-seconds, or what
                                             drawing the K sets took where that is more
    cp_sat, kamis, tabu      for --time-limit seconds on each graph; tabu is the same search again

With --known the lines of these three are taken from an earlier run, graph by graph, where they stand there.

Seconds are processor time. The network's are those of one graph at a time, as a user with one graph pays them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from domains.graphs import exact_solvers
from domains.graphs.environment import SetBuilding
from domains.graphs.graphs import Graph
from domains.graphs.instances import instances
from domains.graphs.long_search import from_greedy, local_optima, searched, starts_from, tabu
from domains.graphs.policy import GraphPolicy
from domains.graphs.solvers import Solution, Solver, plain_greedy, restarts
from domains.graphs.task import Task
from pipelines.graphs import training
from pipelines.graphs.options import Config
from pipelines.graphs.prepare import Problem, make_policy
from workbench.errors import InputError
from workbench.runs.files import SCHEMA_VERSION
from workbench.runs.folder import RunFolder
from workbench.training.progress import track

RESTARTS = 20
_WARMING_SECONDS = 0.01  # time for chunks of a search on ten vertices
OTHERS = ("cp_sat", "kamis", "tabu")


@dataclass(frozen=True)
class Line:
    """What one solver found on one graph; `curve` holds (seconds, best value) along the way."""

    graph: str
    solver: str
    value: float | None
    seconds: float
    vertices: list[int]
    bound: float | None = None
    n: int = 1
    curve: list[tuple[float, float]] = field(default_factory=list)


class Lines:
    """The lines of a run, kept in `samples/solutions.jsonl`."""

    def __init__(self, problem: Problem, folder: RunFolder) -> None:
        self.path = folder.samples / "solutions.jsonl"
        self._graphs = {
            environment.graphs.graphs[0].name: environment.graphs.graphs[0]
            for environment in problem.tests
        }
        self.lines: dict[tuple[str, str], Line] = {}
        for record in _records(self.path):
            line = self._line(record)
            self.lines[line.graph, line.solver] = line

    def _line(self, record: dict[str, Any]) -> Line:
        place = {name: v for v, name in enumerate(self._named(record["graph"]))}
        record["vertices"] = [place[name] for name in record["vertices"]]
        record["curve"] = [tuple(point) for point in record["curve"]]
        del record["schema_version"]
        return Line(**record)

    def take_known(self, problem: Problem, path: Path) -> None:
        """Other solvers' lines of an earlier run, on graphs of this one. Raises InputError where a set is no
        solution of that value here: another graph of the same name."""
        for record in _records(path):
            solver, graph = record.get("solver"), record.get("graph")
            if solver not in OTHERS or graph not in self._graphs or (graph, solver) in self.lines:
                continue
            try:
                line = self._line(record)
                holds = _holds(problem.task, self._graphs[graph], line)
            except (KeyError, TypeError) as error:
                raise InputError(f"{path} is not a solutions.jsonl of a graphs run") from error
            if not holds:
                raise InputError(
                    f"{path} has a line of {solver} on {graph} that is no solution of value {line.value} "
                    "here: take the file of a run on the same graphs and task"
                )
            self.get(graph, solver, lambda line=line: line)  # type: ignore[misc]

    def _named(self, graph: str) -> list[str | int]:
        known = self._graphs[graph]
        return known.named(range(known.n_vertices))

    def get(self, graph: str, solver: str, make: Callable[[], Line]) -> Line:
        """The line that stands there, or the one that `make` gives, which is written at once."""
        if (graph, solver) not in self.lines:
            line = make()
            self.lines[graph, solver] = line
            names = self._named(graph)
            record = line.__dict__ | {"vertices": [names[v] for v in line.vertices]}
            with self.path.open("a", encoding="utf-8") as file:
                text = json.dumps({"schema_version": SCHEMA_VERSION, **record}, allow_nan=False)
                file.write(text + "\n")
        return self.lines[graph, solver]


def _holds(task: Task, graph: Graph, line: Line) -> bool:
    """Whether the set of a line is a solution and has its value."""
    if line.value is None:
        return True
    chosen = np.zeros(graph.n_vertices, dtype=bool)
    chosen[line.vertices] = True
    if not task.feasible(graph, chosen):
        return False
    return bool(np.isclose(Solver(task, graph).values(chosen[None])[0], line.value))


def _records(path: Path) -> list[dict[str, Any]]:
    """Lines that are whole."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def solve_all(
    config: Config, problem: Problem, policy: GraphPolicy, folder: RunFolder
) -> dict[tuple[str, str], Line]:
    """All lines, by graph and solver."""
    lines = Lines(problem, folder)
    if config.known:
        lines.take_known(problem, Path(config.known))
    untrained = make_policy(config, problem.training)
    _warm(config, problem, policy, untrained)
    tests = list(enumerate(problem.tests))
    for i, environment in track(tests, "test graphs", len(tests)):
        ours = _of_policies(config, problem, policy, untrained, environment, i, lines)
        _classical(config, problem, environment, i, lines, *ours)
    return lines.lines


def _warm(config: Config, problem: Problem, policy: GraphPolicy, untrained: GraphPolicy) -> None:
    """Loads compiled code before anything is timed."""
    environment = problem.tests[0]
    solver, random = _solver(environment), np.random.default_rng(0)
    for one in (policy, untrained):
        _sampled(one, environment, 2, torch.Generator().manual_seed(0), solver)
    restarts(solver, random, 2)
    small = Solver(problem.task, instances("petersen", 1, 0)[0])
    small.improved(small.greedy(small.noise(2, random), blind=True))
    searched(small, local_optima(small, random), random, _WARMING_SECONDS)


def _solver(environment: SetBuilding) -> Solver:
    return Solver(environment.task, environment.graphs.graphs[0])


def _of_policies(
    config: Config,
    problem: Problem,
    policy: GraphPolicy,
    untrained: GraphPolicy,
    environment: SetBuilding,
    i: int,
    lines: Lines,
) -> tuple[Line, Line]:
    """Sets of both policies, and search from those of the trained one: its lines without and with search."""
    graph = environment.graphs.graphs[0]
    solver, k = _solver(environment), config.samples
    sets: list[np.ndarray] = []  # of the policy, drawn once

    def drawn(one: GraphPolicy) -> Line:
        generator = problem.generator(config.seed, f"sampling {i}")
        found, rows = _sampled(one, environment, k, generator, solver)
        if one is policy:
            sets.append(rows)
        return found

    def after_search() -> Line:
        """From the very sets of `best`, in what its seconds leave of the time."""
        if not sets:
            drawn(policy)
        random = problem.random(config.seed, f"search starts {i}")
        starts = starts_from(solver, sets[0], random)
        random = problem.random(config.seed, f"search {i}")
        found, n = searched(solver, starts, random, config.search_seconds - best.seconds)
        after = [(best.seconds + second, value) for second, value in found.curve]
        whole = replace(found, seconds=best.seconds + found.seconds, curve=(*best.curve, *after))
        return _line(graph.name, "gflownet_local_search", whole, n)

    best = lines.get(graph.name, f"gflownet_best_of_{k}", lambda: drawn(policy))
    better = lines.get(graph.name, "gflownet_local_search", after_search)
    before = f"untrained_best_of_{k}"
    lines.get(graph.name, before, lambda: replace(drawn(untrained), solver=before))
    return best, better


def _classical(
    config: Config,
    problem: Problem,
    environment: SetBuilding,
    i: int,
    lines: Lines,
    best: Line,
    better: Line,
) -> None:
    """Lines of all other solvers, some for as long as the policy's took."""
    graph = environment.graphs.graphs[0]
    solver = _solver(environment)

    def random(stage: str) -> np.random.Generator:
        return problem.random(config.seed, f"{stage} {i}")

    def line(name: str, make: Callable[[], tuple[Solution, int]]) -> Line:
        def made() -> Line:
            found, n = make()
            return _line(graph.name, name, found, n)

        return lines.get(graph.name, name, made)

    line("greedy", lambda: (plain_greedy(solver), 1))
    line("greedy_restarts", lambda: restarts(solver, random("restarts"), RESTARTS))
    line(
        "greedy_restarts_equal_seconds",
        lambda: restarts(solver, random("equal"), seconds=best.seconds),
    )
    starts = {
        "greedy": lambda numbers: from_greedy(solver, RESTARTS, numbers),
        "random": lambda numbers: local_optima(solver, numbers),
    }
    for kind, begin in starts.items():
        name = f"{kind}_local_search"
        line(
            name,
            lambda name=name, begin=begin: searched(  # type: ignore[misc]
                solver, begin(random(f"{name} starts")), random(name), better.seconds
            ),
        )
    limit = config.time_limit
    others: dict[str, Callable[[], Solution]] = {
        "cp_sat": lambda: exact_solvers.cp_sat(problem.task, graph, limit),
        "kamis": lambda: exact_solvers.kamis(problem.task, graph, limit),
        "tabu": lambda: tabu(solver, random("tabu"), limit),
    }
    for other in config.solvers:
        if applies(config.task, other) and why_not(config, other) is None:
            line(other, lambda other=other: (others[other](), 1))  # type: ignore[misc]


def applies(task: str, solver: str) -> bool:
    """Whether a solver knows the task."""
    if solver == "tabu":
        return task == "cut"
    return solver != "kamis" or task in exact_solvers.KAMIS_TASKS


def why_not(config: Config, solver: str) -> str | None:
    """Why a solver that knows the task is left out; None where it runs."""
    if solver not in config.solvers:
        return "left out of --solvers"
    module = {"cp_sat": "ortools", "kamis": "chszlablib"}.get(solver)
    if module is not None and not exact_solvers.is_installed(module):
        return f'{module} is not installed: pip install "sampling-workbench[graphs]"'
    return None


def _sampled(
    policy: GraphPolicy,
    environment: SetBuilding,
    k: int,
    generator: torch.Generator,
    solver: Solver,
) -> tuple[Line, np.ndarray]:
    """The best of k sets, and all of them."""
    name = environment.graphs.graphs[0].name
    began = time.process_time()
    raw = training.sets(policy, environment, k, generator).numpy()
    seconds = time.process_time() - began
    return _best_line(name, f"gflownet_best_of_{k}", solver, raw, seconds), raw


def _best_line(
    graph: str, name: str, solver: Solver, chosen: Bool[np.ndarray, "set vertex"], seconds: float
) -> Line:
    values = solver.values(chosen)
    return Line(
        graph,
        name,
        solver.best(chosen)[0],
        seconds,
        np.flatnonzero(solver.best(chosen)[1]).tolist(),
        n=len(chosen),
        curve=_running_best(values, seconds, solver.task.sign),
    )


def _running_best(
    values: Float[np.ndarray, "set"], seconds: float, sign: int
) -> list[tuple[float, float]]:
    """The best value after a share of the sets and the same share of the time."""
    best = sign * np.maximum.accumulate(sign * values)
    at = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= len(values)]
    return [(seconds * n / len(values), float(best[n - 1])) for n in at]


def _line(graph: str, name: str, found: Solution, n: int) -> Line:
    vertices = [] if found.chosen is None else np.flatnonzero(found.chosen).tolist()
    return Line(graph, name, found.value, found.seconds, vertices, found.bound, n, [*found.curve])
