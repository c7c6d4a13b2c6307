"""Solvers of others, where they are installed: OR-Tools CP-SAT with its proven bound, and KaMIS.

    CP-SAT  a constraint programme per task; weights that are not whole numbers are taken in millionths
    KaMIS   ReduMIS for independent sets (OnlineMIS is its faster sibling), CHILS where vertices are weighed,
            through chszlablib; for cliques on the complement

Seconds are processor time, so that a busy machine takes nothing from a solver; but KaMIS stops by the clock on
the wall, whose limit is the only one it has.

Both are extras. Perron and Furnon, OR-Tools; Lamm et al., "Finding near-optimal independent sets at scale"
(2017); Großmann et al., "Concurrent iterated local search for the MWIS problem" (2025).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from domains.graphs.graphs import FIXED_IN, FIXED_OUT, FREE, Graph, collect, complement
from domains.graphs.solvers import Solution
from domains.graphs.task import Task
from workbench.errors import InputError

MILLIONTHS = 1_000_000
_POLL_SECONDS = 0.05
KAMIS_TASKS = ("mis", "clique")


def is_installed(module: str) -> bool:
    """Whether an extra can be imported."""
    return importlib.util.find_spec(module) is not None


def _imported(module: str, what: str) -> Any:
    if not is_installed(module):
        raise InputError(
            f'{what} is not installed: pip install "sampling-workbench[graphs]", or leave it out of --solvers'
        )
    return importlib.import_module(module)


def cp_sat(task: Task, graph: Graph, seconds: float) -> Solution:
    """The best solution within so many seconds of processor time, with the bound proved by then; one worker,
    seed 0."""
    cp_model = _imported("ortools.sat.python.cp_model", "CP-SAT (ortools)")
    graph = task.prepared(graph)
    model = cp_model.CpModel()
    chosen = [model.new_bool_var(f"x{v}") for v in range(graph.n_vertices)]
    for v in np.flatnonzero(graph.fixed != FREE):
        model.add(chosen[v] == int(graph.fixed[v] == FIXED_IN))
    weights = graph.edges()[1] if task.weighs_edges else graph.vertex_weight
    scale = 1 if (weights == np.round(weights)).all() else MILLIONTHS
    whole = np.round(weights * scale).astype(np.int64).tolist()
    terms = _constrain(model, task, graph, chosen)
    total = sum(w * term for w, term in zip(whole, terms, strict=True))
    if task.sign > 0:
        model.maximize(total)
    else:
        model.minimize(total)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.linearization_level = 2  # clauses too: dominating sets have no bound without
    began, curve = time.process_time(), []

    class Watcher(cp_model.CpSolverSolutionCallback):  # type: ignore[name-defined]
        def on_solution_callback(self) -> None:
            curve.append((time.process_time() - began, self.objective_value / scale))

    with _stopped_after(solver, seconds):
        status = solver.solve(model, Watcher())
    took = time.process_time() - began
    bound = solver.best_objective_bound / scale
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solution(None, None, took, bound)
    found = np.array([bool(solver.value(x)) for x in chosen])
    # edges may cross without being counted, in a solution that is not the best
    value = float(task.value(collect([graph]), np.zeros(1, dtype=np.int64), found[None])[0])
    return Solution(found, value, took, bound, (*curve, (took, value)))


@contextlib.contextmanager
def _stopped_after(solver: Any, seconds: float) -> Iterator[None]:
    """Ends the search inside when this process has used so many seconds of the processor."""
    done, end = threading.Event(), time.process_time() + seconds

    def watch() -> None:
        while not done.wait(min(_POLL_SECONDS, seconds)):
            if time.process_time() >= end:
                solver.stop_search()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _constrain(model: Any, task: Task, graph: Graph, chosen: list) -> list:
    """Adds the constraints of the task; returns the terms that its weights multiply."""
    edges, weights = graph.edges()
    if task.name == "clique":
        edges, _ = complement(graph).edges()
    if task.name in ("mis", "clique"):
        for clique in _edge_cliques(graph.n_vertices, edges):
            model.add_at_most_one(chosen[v] for v in clique)
        return chosen
    if task.name == "mds":
        for v in range(graph.n_vertices):
            around = graph.neighbour[graph.pointer[v] : graph.pointer[v + 1]].tolist()
            model.add_bool_or([chosen[u] for u in [v, *around]])
        return chosen
    crossing = []
    for k, (u, v) in enumerate(edges.tolist()):
        crosses = model.new_bool_var(f"y{k}")
        if weights[k] >= 0:
            model.add_bool_or([chosen[u], chosen[v], ~crosses])
            model.add_bool_or([~chosen[u], ~chosen[v], ~crosses])
        else:
            model.add_bool_or([~chosen[u], chosen[v], crosses])
            model.add_bool_or([chosen[u], ~chosen[v], crosses])
        crossing.append(crosses)
    return crossing


def _edge_cliques(n: int, edges: np.ndarray) -> list[list[int]]:
    """Cliques that together hold every edge, grown greedily: one constraint for each is far stronger than
    one for each edge."""
    around = [0] * n  # neighbours as the bits of a number
    for u, v in edges.tolist():
        around[u] |= 1 << v
        around[v] |= 1 << u
    uncovered, cliques = list(around), []
    for u in range(n):
        while uncovered[u]:
            clique, fits = [u], around[u]
            preferred = uncovered[u]
            while fits:
                pool = fits & preferred or fits
                v = (pool & -pool).bit_length() - 1
                clique.append(v)
                fits &= around[v]
                preferred &= uncovered[v]
            held = sum(1 << v for v in clique)
            for v in clique:
                uncovered[v] &= ~held
            cliques.append(clique)
    return cliques


def kamis(task: Task, graph: Graph, seconds: float) -> Solution:
    """The best solution within the wall-clock limit. Raises InputError for a task KaMIS does not solve."""
    if task.name not in KAMIS_TASKS:
        raise InputError(
            f"KaMIS solves independent sets and cliques, not {task.name}: leave kamis out of --solvers"
        )
    library = _imported("chszlablib", "KaMIS (chszlablib)")
    graph = task.prepared(graph)
    searched = complement(graph) if task.name == "clique" else graph
    open_vertices, fixed_in = _what_is_open(searched)
    if not len(open_vertices):
        return Solution(fixed_in, float(graph.vertex_weight[fixed_in].sum()), 0.0)
    given = _induced(library, searched, open_vertices)
    problems = library.IndependenceProblems
    began = time.process_time()
    if graph.is_weighted:
        found = problems.chils(given, time_limit=seconds, num_concurrent=1, seed=0)
    else:
        found = problems.redumis(given, time_limit=seconds, seed=0)
    took = time.process_time() - began
    chosen = fixed_in.copy()
    chosen[open_vertices[np.asarray(found.vertices, dtype=np.int64)]] = True
    return Solution(chosen, float(graph.vertex_weight[chosen].sum()), took)


def _what_is_open(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that fixed ones leave open, and those that are fixed in."""
    inside = graph.fixed == FIXED_IN
    is_open = (graph.fixed != FIXED_OUT) & ~inside
    edges, _ = graph.edges()
    is_open[edges[inside[edges[:, 0]], 1]] = False
    is_open[edges[inside[edges[:, 1]], 0]] = False
    return np.flatnonzero(is_open), inside


def _induced(library: Any, graph: Graph, vertices: np.ndarray) -> Any:
    """The subgraph on `vertices` as the library takes it."""
    place = np.full(graph.n_vertices, -1)
    place[vertices] = np.arange(len(vertices))
    edges, _ = graph.edges()
    edges = place[edges]
    edges = edges[(edges >= 0).all(1)]
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    pointer = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=len(vertices)))])
    scale = 1 if (graph.vertex_weight == np.round(graph.vertex_weight)).all() else MILLIONTHS
    weights = np.round(graph.vertex_weight[vertices] * scale).astype(np.int64)
    return library.Graph.from_csr(
        pointer.astype(np.int64), both[:, 1].astype(np.int64), node_weights=weights
    )
