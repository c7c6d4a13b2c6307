"""Greedy rules, restarts and local search of every task: compiled, so the plain methods a sampler is held
against are as fast as they can be.

A set is [vertex] booleans, a batch of them [set, vertex]. Cliques are looked for as independent sets of the
complement. Random numbers are drawn here, from a NumPy generator, and handed to the kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from domains.graphs import _greedy_kernels, _search_kernels
from domains.graphs.graphs import Graph, collect, complement
from domains.graphs.task import Task

Sets = Bool[np.ndarray, "set vertex"]

_GREEDY: dict[str, Callable[..., None]] = {
    "mis": _greedy_kernels.independent,
    "clique": _greedy_kernels.independent,
    "mds": _greedy_kernels.dominating,
    "cut": _greedy_kernels.cut,
}
_SEARCH: dict[str, Callable[..., None]] = {
    "mis": _search_kernels.independent,
    "clique": _search_kernels.independent,
    "mds": _search_kernels.dominating,
    "cut": _search_kernels.cut,
}


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    chosen    [vertex]; None where it found nothing in time
    value     in the units of the weights
    seconds   of processor time, None for a solver without a clock of its own
    bound     what the solver proved that no solution can beat
    curve     (seconds, best value so far) whenever it became better, and at the end
    """

    chosen: Bool[np.ndarray, "vertex"] | None
    value: float | None
    seconds: float
    bound: float | None = None
    curve: tuple[tuple[float, float], ...] = ()


class Solver:
    """Greedy rule and local search of `task` on one graph; `arrays` are what kernels take: the graph, or its
    complement for cliques."""

    def __init__(self, task: Task, graph: Graph) -> None:
        self.task, self.graph = task, task.prepared(graph)
        searched = complement(self.graph) if task.name == "clique" else self.graph
        self.arrays = (
            searched.pointer,
            searched.neighbour,
            searched.edge_weight,
            searched.vertex_weight,
            searched.fixed,
        )
        self._pool = collect([self.graph])

    def greedy(self, noise: Float[np.ndarray, "set vertex"], blind: bool = False) -> Sets:
        """One greedy set for each row of `noise`, which breaks ties; `blind`: it decides alone."""
        chosen = np.zeros(noise.shape, dtype=bool)
        _GREEDY[self.task.name](*self.arrays, noise, blind, chosen)
        return chosen

    def improved(self, chosen: Sets) -> Sets:
        """Each set after local search; never worse, fixed vertices untouched."""
        better = np.ascontiguousarray(chosen).copy()
        _SEARCH[self.task.name](*self.arrays, better)
        return better

    def values(self, chosen: Sets) -> Float[np.ndarray, "set"]:
        """Worth of each set."""
        rows = np.ascontiguousarray(chosen)
        return self.task.value(self._pool, np.zeros(len(rows), dtype=np.int64), rows)

    def noise(self, n: int, random: np.random.Generator) -> Float[np.ndarray, "set vertex"]:
        return random.random((n, self.graph.n_vertices))

    def best(self, chosen: Sets) -> tuple[float, Bool[np.ndarray, "vertex"]]:
        """The best set of a batch and its value."""
        values = self.values(chosen)
        place = int(np.argmax(self.task.sign * values))
        return float(values[place]), chosen[place]


def plain_greedy(solver: Solver) -> Solution:
    """The greedy rule, ties going to the lower number."""
    n = solver.graph.n_vertices
    began = time.process_time()
    chosen = solver.greedy(-np.arange(n, dtype=float)[None] / n)
    seconds = time.process_time() - began
    value, best = solver.best(chosen)
    return Solution(best, value, seconds)


def restarts(
    solver: Solver,
    random: np.random.Generator,
    n: int | None = None,
    seconds: float | None = None,
) -> tuple[Solution, int]:
    """The best of many greedy tries with random ties, and how many there were.

    n         tries; or
    seconds   processor time after which no further batch of tries begins
    """
    began, done, record, curve = time.process_time(), 0, None, []
    for size in _batches(n):
        chosen = solver.greedy(solver.noise(size, random))
        value, best = solver.best(chosen)
        done += size
        if record is None or solver.task.sign * (value - record[0]) > 0:
            record = value, best
            curve.append((time.process_time() - began, value))
        if seconds is not None and time.process_time() - began >= seconds:
            break
    assert record is not None
    took = time.process_time() - began
    return Solution(record[1], record[0], took, curve=(*curve, (took, record[0]))), done


def _batches(n: int | None) -> Iterator[int]:
    """Batches of tries that grow, so that a short budget is kept and a long one wastes nothing."""
    if n is not None:
        yield n
        return
    size = 1
    while True:
        yield size
        size = min(2 * size, 16)
