"""Every state of one small graph, for exact answers: an `EnumerableEnvironment`; all optima by brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.graphs.environment import SetBuilding, SetState
from domains.graphs.graphs import FIXED_IN, FIXED_OUT, Graph, collect
from domains.graphs.task import Task
from workbench.errors import InputError
from workbench.gflownet import states

MOST_STATES = 400_000
MOST_VERTICES = 20  # of a graph whose sets of vertices are all looked at
TOLERANCE = 1e-9


class Enumerated(SetBuilding):
    """`SetBuilding` on one graph whose states are listed, level by level from the start. Raises InputError
    where there are more than `MOST_STATES`."""

    draw_start: Any = None  # one graph: not conditional

    def __init__(self, task: Task, graph: Graph) -> None:
        super().__init__(task, [graph])
        level = self.initial_state(1)
        found = [level]
        while len(level.graph):
            row, action = self.forward_mask(level).nonzero(as_tuple=True)
            following = self.step(states.select(level, row), action)
            level = self._once(following)
            found.append(level)
            if sum(len(part.graph) for part in found) > MOST_STATES:
                raise InputError(
                    f"graph {graph.name} has more than {MOST_STATES:,} states: give a smaller one"
                )
        listed = states.concatenate(found)
        size = listed.chosen.sum(1) + listed.stopped * (0.5 if task.stops else 0.0)
        self._listed = states.select(listed, size.argsort(stable=True))
        keys = self.keys(self._listed)
        self._order = keys.argsort()
        self._sorted = keys[self._order]
        self.n_states = len(keys)

    def _once(self, state: SetState) -> SetState:
        unique, place = torch.unique(self.keys(state), return_inverse=True)
        first = torch.empty_like(unique).scatter_(0, place, torch.arange(len(place)))
        return states.select(state, first)

    def all_states(self) -> SetState:
        return self._listed

    def index(self, state: SetState) -> Int[Tensor, "batch"]:
        return self._order[torch.searchsorted(self._sorted, self.keys(state))]


def all_sets(task: Task, graph: Graph) -> Bool[np.ndarray, "set vertex"]:
    """Every set of vertices that keeps to what is fixed, in binary order. Raises InputError for a graph of
    more than `MOST_VERTICES` vertices."""
    n = graph.n_vertices
    if n > MOST_VERTICES:
        raise InputError(
            f"graph {graph.name} has {n} vertices: all sets can be looked at up to {MOST_VERTICES}"
        )
    fixed = task.prepared(graph).fixed
    sets = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    kept = sets[:, fixed == FIXED_IN].all(1) & ~sets[:, fixed == FIXED_OUT].any(1)
    return sets[kept]


def optima(
    task: Task, graph: Graph
) -> tuple[Float[np.ndarray, ""], Bool[np.ndarray, "optimum vertex"]]:
    """The best value and all sets that have it, by looking at every set. Solutions are told from other sets by
    the whole of their pairs or neighbourhoods, not by the moves of the environment."""
    sets = all_sets(task, graph)
    solutions = sets[_feasible(task, graph, sets)]
    pool = collect([task.prepared(graph)])
    values = task.value(pool, np.zeros(len(solutions), dtype=np.int64), solutions)
    best = (task.sign * values).max()
    return task.sign * best, solutions[task.sign * values >= best - TOLERANCE]


def _feasible(task: Task, graph: Graph, sets: np.ndarray) -> Bool[np.ndarray, "set"]:
    edges, _ = graph.edges()
    fits = np.ones(len(sets), dtype=bool)
    if task.name == "mis":
        for u, v in edges:
            fits &= ~(sets[:, u] & sets[:, v])
    elif task.name == "clique":
        adjacent = np.eye(graph.n_vertices, dtype=bool)
        adjacent[edges[:, 0], edges[:, 1]] = adjacent[edges[:, 1], edges[:, 0]] = True
        for u, v in np.argwhere(~adjacent):
            fits &= ~(sets[:, u] & sets[:, v])
    elif task.name == "mds":
        for v in range(graph.n_vertices):
            around = graph.neighbour[graph.pointer[v] : graph.pointer[v + 1]]
            fits &= sets[:, v] | sets[:, around].any(1)
    return fits
