"""Maximum clique: every two chosen vertices are adjacent.

A move adds a vertex that is adjacent to all chosen ones; the set is finished when it is maximal. Every subset
of a clique is a state, so the parents are the members. The value is the weight of the set, finished or not.

The open problem is the graph induced by the allowed vertices. A clique is an independent set of the
complement, and the hints are those of `independent_set` there, the greedy one being weight / (number of open
vertices that are not adjacent, the vertex itself included). The last hint is how many neighbours a vertex
and its neighbours have in common: members of a large clique have many, whatever their degree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from domains.graphs import _kernels
from domains.graphs.graphs import FIXED_IN, Graph, Graphs
from domains.graphs.independent_set import competition, weights
from domains.graphs.task import Look, Open, Rows, Task, members
from workbench.errors import InputError

N_HINTS = 4


def look(graphs: Graphs, graph: Any, chosen: Rows) -> Look:
    allowed = np.zeros_like(chosen)
    _kernels.clique_allowed(*graphs.arrays, graph, chosen, allowed)
    return Look(allowed, allowed)


def hints(nodes: Open) -> tuple[np.ndarray, np.ndarray]:
    share = nodes.weight / (nodes.n_nodes - nodes.degree)
    rounds = competition(share, lambda x: nodes.in_row(x) - nodes.around(x), N_HINTS - 2)
    common = np.empty(len(share))
    _kernels.triangles(nodes.pointer, nodes.neighbour, common)
    closeness = np.log((common + 1.0) / (nodes.degree + 1.0))
    return np.concatenate([rounds, closeness[:, None]], 1), share


def _adjacent_to_all(graph: Graph, inside: np.ndarray) -> np.ndarray:
    """Of each vertex of `inside`, whether it is adjacent to all others of it."""
    return np.array(
        [
            len(np.intersect1d(graph.neighbour[graph.pointer[v] : graph.pointer[v + 1]], inside))
            == len(inside) - 1
            for v in inside
        ],
        dtype=bool,
    )


def prepared(graph: Graph) -> Graph:
    inside = np.flatnonzero(graph.fixed == FIXED_IN)
    fits = _adjacent_to_all(graph, inside)
    if not fits.all():
        raise InputError(
            f"vertex {inside[~fits][0]} of {graph.name} is fixed in but not adjacent to all others that are: "
            "no clique holds them, free one of them"
        )
    return graph


def feasible(graph: Graph, chosen: np.ndarray) -> bool:
    return bool(_adjacent_to_all(graph, np.flatnonzero(chosen)).all())


TASK = Task(
    "clique",
    "maximum clique",
    sign=1,
    stops=False,
    weighs_edges=False,
    hint_scale=0.5,
    n_hints=N_HINTS,
    look=look,
    parents=members,
    value=weights,
    hints=hints,
    prepared=prepared,
    feasible=feasible,
)
