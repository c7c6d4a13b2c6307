"""Minimum dominating set: every vertex is chosen or has a chosen neighbour.

A move adds a vertex that dominates at least one vertex which was not dominated before; the set is finished
when all are. Parents: members that alone dominate some vertex. Taking such a member back leaves a state:
the others only gain private vertices by it, so the order in which they were added still works. Every minimal
dominating set is an object, and some others are; the value is the weight of the set, minimised.

Differs from Zhang et al. (2023, arXiv 2305.17010), who start from all vertices and remove: here a trajectory
is as long as the set (28 and not 200 moves on a graph of 230 vertices), the partial reward counts what is
in the set already, and the open problem shrinks: it is the undominated vertices and those that
could dominate them, with the edges that have an undominated end. The greedy hint is x_v = gain / weight.
Looking further, every undominated vertex divides one vote among those that could dominate it, in proportion
to x, and x is multiplied by the votes: vertices that few others can replace grow. Each round's factor is a
hint of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from domains.graphs import _kernels
from domains.graphs.graphs import FIXED_OUT, Graph, Graphs
from domains.graphs.independent_set import weights
from domains.graphs.task import Look, Open, Rows, Task
from workbench.errors import InputError

N_HINTS = 5


def look(graphs: Graphs, graph: Any, chosen: Rows) -> Look:
    allowed, needy = np.zeros_like(chosen), np.zeros_like(chosen)
    gain = np.zeros(chosen.shape)
    _kernels.domination(*graphs.arrays, graph, chosen, allowed, needy, gain)
    return Look(allowed, needy, gain)


def parents(graphs: Graphs, graph: Any, chosen: Rows) -> Rows:
    removable = np.zeros_like(chosen)
    _kernels.private_members(*graphs.arrays, graph, chosen, removable)
    return removable


def hints(nodes: Open) -> tuple[np.ndarray, np.ndarray]:
    x = np.maximum(nodes.gain, 0.5) / nodes.weight
    columns = [np.log(x)]
    for _ in range(N_HINTS - 1):
        able = np.where(nodes.allowed, x, 0.0)
        among = able + nodes.around(able)
        vote = np.where(nodes.needy, 1.0 / np.where(nodes.needy, among, 1.0), 0.0)
        votes = np.where(nodes.allowed, vote + nodes.around(vote), 1.0)
        columns.append(np.log(votes))
        x = x * votes
    return np.stack(columns, 1), -nodes.needy.astype(float) / (nodes.degree + 1.0)


def prepared(graph: Graph) -> Graph:
    free = graph.fixed != FIXED_OUT
    for v in range(graph.n_vertices):
        around = graph.neighbour[graph.pointer[v] : graph.pointer[v + 1]]
        if not (free[v] or free[around].any()):
            raise InputError(
                f"vertex {v} of {graph.name} and all its neighbours are fixed out: nothing can dominate it, "
                "free one of them"
            )
    return graph


def feasible(graph: Graph, chosen: np.ndarray) -> bool:
    edges, _ = graph.edges()
    dominated = chosen.copy()
    dominated[edges[chosen[edges[:, 0]], 1]] = True
    dominated[edges[chosen[edges[:, 1]], 0]] = True
    return bool(dominated.all())


TASK = Task(
    "mds",
    "minimum dominating set",
    sign=-1,
    stops=False,
    weighs_edges=False,
    hint_scale=0.75,
    n_hints=N_HINTS,
    look=look,
    parents=parents,
    value=weights,
    hints=hints,
    prepared=prepared,
    feasible=feasible,
)
