"""Maximum independent set: no two chosen vertices are adjacent.

A move adds a vertex without chosen neighbours, which rules its neighbours out; the set is finished when it is
maximal. Every subset of an independent set is a state, so each member could have come last: the parents
are the members. The value is the weight of the set, and so is that of an unfinished one.

The open problem is the graph induced by the vertices that are still allowed: what is chosen or ruled out
has no influence any more. Its greedy hint is weight / (degree + 1), whose sum over vertices is also a lower
bound of what can be won (Caro 1979, Wei 1981).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from domains.graphs import _kernels
from domains.graphs.graphs import FIXED_IN, Graph, Graphs
from domains.graphs.task import Look, Open, Rows, Task, members
from workbench.errors import InputError


def look(graphs: Graphs, graph: Any, chosen: Rows) -> Look:
    allowed = np.zeros_like(chosen)
    _kernels.independent_allowed(*graphs.arrays, graph, chosen, allowed)
    return Look(allowed, allowed)


def weights(graphs: Graphs, graph: Any, chosen: Rows) -> np.ndarray:
    """Weight of each set."""
    value = np.zeros(len(chosen))
    _kernels.set_weights(*graphs.arrays, graph, chosen, value)
    return value


def hints(nodes: Open) -> tuple[np.ndarray, np.ndarray]:
    share = nodes.weight / (nodes.degree + 1.0)
    return np.log(share), share


def prepared(graph: Graph) -> Graph:
    inside = np.flatnonzero(graph.fixed == FIXED_IN)
    for v in inside:
        others = graph.neighbour[graph.pointer[v] : graph.pointer[v + 1]]
        clash = np.intersect1d(others, inside)
        if len(clash):
            raise InputError(
                f"vertices {v} and {clash[0]} of {graph.name} are adjacent and both fixed in: no independent "
                "set holds both, free one of them"
            )
    return graph


def feasible(graph: Graph, chosen: np.ndarray) -> bool:
    edges, _ = graph.edges()
    return not bool((chosen[edges[:, 0]] & chosen[edges[:, 1]]).any())


TASK = Task(
    "mis",
    "maximum independent set",
    sign=1,
    stops=False,
    weighs_edges=False,
    hint_scale=1.0,
    look=look,
    parents=members,
    value=weights,
    hints=hints,
    prepared=prepared,
    feasible=feasible,
)
