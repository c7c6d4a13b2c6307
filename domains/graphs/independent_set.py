"""Maximum independent set: no two chosen vertices are adjacent.

A move adds a vertex without chosen neighbours, which rules its neighbours out; the set is finished when it is
maximal. Every subset of an independent set is a state, so each member could have come last: the parents
are the members. The value is the weight of the set, and so is that of an unfinished one.

The open problem is the graph induced by the vertices that are still allowed: what is chosen or ruled out
has no influence any more. Its greedy hint is x_v = weight / (degree + 1), whose sum over vertices is also a
lower bound of what can be won (Caro 1979, Wei 1981). Looking further, x is divided again and again by its sum
over each closed neighbourhood: the vertices of a clique compete for one place, and those that compete
with vertices that have little to offer grow. Each round's factor is a hint of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from domains.graphs import _kernels
from domains.graphs.graphs import FIXED_IN, Graph, Graphs
from domains.graphs.task import Look, Open, Rows, Task, members
from workbench.errors import InputError

N_HINTS = 6


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
    return competition(share, lambda x: x + nodes.around(x), N_HINTS - 1), share


def competition(
    x: Float[np.ndarray, "node"],
    rivals: Callable[[np.ndarray], np.ndarray],
    n_rounds: int,
) -> Float[np.ndarray, "node hint"]:
    """log x, then the logarithm of each round's factor of x <- x / rivals(x)."""
    columns = [np.log(x)]
    for _ in range(n_rounds):
        total = rivals(x)
        columns.append(-np.log(total))
        x = x / total
    return np.stack(columns, 1)


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
    n_hints=N_HINTS,
    look=look,
    parents=members,
    value=weights,
    hints=hints,
    prepared=prepared,
    feasible=feasible,
)
