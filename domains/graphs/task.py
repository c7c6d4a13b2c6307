"""What the four problems have in common: a set of vertices that grows, and what a network sees of a state.

A `Task` is a record of functions on rows (graphs, graph number [row], chosen [row, width]), one record in
each of `independent_set.py`, `clique.py`, `dominating_set.py` and `cut.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from domains.graphs import _kernels
from domains.graphs.graphs import FIXED_IN, Graph, Graphs

Rows = Bool[np.ndarray, "row width"]


@dataclass(frozen=True)
class Look:
    """A state as the moves and the network need it.

    allowed   vertices that may be added
    needy     vertices that still have to be dealt with; those that are `allowed` or `needy` make up the open
              problem, with the edges between them that have a needy end
    gain      of adding each vertex, where the task has one that degrees do not tell
    """

    allowed: Rows
    needy: Rows
    gain: Float[np.ndarray, "row width"] | None = None


@dataclass(frozen=True)
class Open:
    """The nodes of open problems, for the hints of a task; float64 arrays over nodes but `row`.

    row        row of each node; there are `n_rows`
    pointer, neighbour, edge_weight   the open problems as one graph in compressed rows; weights over their mean
    degree     in the open problem
    n_nodes    of the node's row
    weight     vertex weight over the mean weight of the graph
    gain       see `Look`; over the mean absolute edge weight of the graph where edges are weighed
    """

    row: Int[np.ndarray, "node"]
    degree: Float[np.ndarray, "node"]
    n_nodes: Float[np.ndarray, "node"]
    weight: Float[np.ndarray, "node"]
    gain: Float[np.ndarray, "node"]
    needy: Bool[np.ndarray, "node"]
    allowed: Bool[np.ndarray, "node"]
    pointer: Int[np.ndarray, "node_and_one"]
    neighbour: Int[np.ndarray, "entry"]
    edge_weight: Float[np.ndarray, "entry"]
    n_rows: int

    def around(self, x: Float[np.ndarray, "node"]) -> Float[np.ndarray, "node"]:
        """Sums of `x` over neighbours, every edge counting one."""
        total = np.empty(len(x))
        _kernels.sums_around(self.pointer, self.neighbour, x, total)
        return total

    def in_row(self, x: Float[np.ndarray, "node"]) -> Float[np.ndarray, "node"]:
        """Sums of `x` over all nodes of the same row."""
        return np.bincount(self.row, x, self.n_rows)[self.row]


@dataclass(frozen=True)
class Task:
    """One problem.

    sign       +1 where the value is maximised, -1 where it is minimised
    stops      every state may stop (cut); else an object is finished when nothing is allowed
    weighs_edges   edge weights count, vertex weights do not
    hint_scale     weight of the greedy hint at the start of training, for beta = 1
    look       see `Look`
    parents    members that can be taken back: exactly those whose absence is a state from which they are
               allowed and that can be reached
    value      worth of the set, in the units of the weights
    hints      (scores, share) of nodes. scores [node, n_hints]: first the logarithm (or scale) by which the
               greedy rule ranks them, then what looking further around says, in terms to be added to it.
               share: how much of the rest of the value each may be good for, in mean vertex weights
    n_hints    number of scores
    prepared   the graph with what the task fixes; raises InputError where it has no solution
    feasible   whether a finished set is a solution: a check that shares no code with the moves
    """

    name: str
    title: str
    sign: int
    stops: bool
    weighs_edges: bool
    hint_scale: float
    n_hints: int
    look: Callable[[Graphs, Any, Rows], Look]
    parents: Callable[[Graphs, Any, Rows], Rows]
    value: Callable[[Graphs, Any, Rows], Float[np.ndarray, "row"]]
    hints: Callable[[Open], tuple[np.ndarray, np.ndarray]]
    prepared: Callable[[Graph], Graph]
    feasible: Callable[[Graph, Bool[np.ndarray, "vertex"]], bool]


def members(graphs: Graphs, graph: Any, chosen: Rows) -> Rows:
    """Chosen vertices that are not fixed in: the parents wherever every subset is a state."""
    held = np.zeros((len(graphs), chosen.shape[1]), dtype=bool)
    number = np.repeat(np.arange(len(graphs)), np.diff(graphs.first))
    at = np.arange(len(graphs.fixed)) - graphs.first[number]
    held[number, at] = graphs.fixed == FIXED_IN
    return chosen & ~held[graph]
