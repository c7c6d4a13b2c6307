"""Local search that goes on for a given time: from one start after another, each searched until it gives no
more. The same search improves sets of a policy, greedy ones and random ones; only the starts differ.

The moves of each task are in `_long_search_kernels`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool

from domains.graphs import _long_search_kernels
from domains.graphs._search_kernels import SMALLEST_GAIN
from domains.graphs.solvers import Sets, Solution, Solver

_CHUNKS: dict[str, Callable[..., float]] = {
    "mis": _long_search_kernels.independent,
    "clique": _long_search_kernels.independent,
    "mds": _long_search_kernels.dominating,
    "cut": _long_search_kernels.cut,
}
# Chunks without a gain, then the next start.
_PATIENCE = {"mis": 4, "clique": 4, "mds": 40, "cut": 4}
_STEPS, _SCANNED = 1000, 1_000_000  # of a chunk at most: steps, and steps times vertices
_FEWEST_STEPS = 10
_MEMORY_ROWS = 3


def searched(
    solver: Solver,
    starts: Iterator[Bool[np.ndarray, "vertex"]],
    random: np.random.Generator,
    seconds: float,
) -> tuple[Solution, int]:
    """The best set found from `starts` (solutions, at least one) until the processor time is used up, and the
    number of starts. Never worse than the first start; fixed vertices are untouched."""
    began, curve, n = time.process_time(), [], 0
    best: Bool[np.ndarray, "vertex"] | None = None
    record = -np.inf
    for start in starts:
        n += 1
        for found, value in _from_one(solver, start, random):
            if value > record + SMALLEST_GAIN:
                record, best = value, found.copy()
                curve.append((time.process_time() - began, solver.task.sign * value))
            if time.process_time() - began >= seconds:
                break
        else:
            continue
        break
    assert best is not None
    took, final = time.process_time() - began, float(solver.values(best[None])[0])
    return Solution(best, final, took, curve=(*curve, (took, final))), n


def _from_one(
    solver: Solver, start: Bool[np.ndarray, "vertex"], random: np.random.Generator
) -> Iterator[tuple[Bool[np.ndarray, "vertex"], float]]:
    """The best set so far and its value, larger is better: the start, then after each chunk of steps."""
    chunk, n = _CHUNKS[solver.task.name], solver.graph.n_vertices
    chosen, best = start.copy(), start.copy()
    record = solver.task.sign * float(solver.values(start[None])[0])
    yield best, record
    memory = np.zeros((_MEMORY_ROWS, n))
    n_steps = max(_FEWEST_STEPS, min(_STEPS, _SCANNED // n))
    now = since = 0
    while since < _PATIENCE[solver.task.name]:
        draws = random.random((n_steps, 2))
        reached = chunk(*solver.arrays, draws, now, record, chosen, best, memory)
        since = 0 if reached > record + SMALLEST_GAIN else since + 1
        record, now = reached, now + n_steps
        yield best, record


def local_optima(
    solver: Solver, random: np.random.Generator
) -> Iterator[Bool[np.ndarray, "vertex"]]:
    """Random sets after local search, without end."""
    while True:
        yield solver.improved(solver.greedy(solver.noise(1, random), blind=True))[0]


def starts_from(
    solver: Solver, sets: Sets, random: np.random.Generator
) -> Iterator[Bool[np.ndarray, "vertex"]]:
    """Given sets after local search, the best first, then random ones without end: sets that are much alike may
    all lie far from the best one."""
    better = solver.improved(sets)
    yield from better[np.argsort(-solver.task.sign * solver.values(better), kind="stable")]
    yield from local_optima(solver, random)


def from_greedy(
    solver: Solver, n: int, random: np.random.Generator
) -> Iterator[Bool[np.ndarray, "vertex"]]:
    """`starts_from` so many greedy sets, made when the first is asked for."""
    yield from starts_from(solver, solver.greedy(solver.noise(n, random)), random)


def tabu(solver: Solver, random: np.random.Generator, seconds: float) -> Solution:
    """The search for so many seconds from a greedy start, then from random ones."""
    return searched(solver, from_greedy(solver, 1, random), random, seconds)[0]
