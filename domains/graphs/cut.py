"""Maximum cut: the weight of the edges between the chosen vertices and the others.

A move adds any vertex, whatever it gains, and stopping is a move of its own: every set of vertices is an
object and the parents are all members, for edge weights of any sign. Where nothing is fixed, the first
vertex is put on the side that is not chosen, so that each cut is counted once. The value of an unfinished
set is its cut.

Differs from Zhang et al. (2023, arXiv 2305.17010), where vertices with more chosen than other neighbours are
ruled out on the way: there a member taken back may be one that had been ruled out before it came, and
a P_B over all members is not one over parents.

The open problem is the graph induced by the vertices not yet chosen, with the gain of each as a field: the
cut of S and T is that of S plus what these two tell of T. The greedy hint is the gain. Looking further, a
neighbour that is chosen later takes away twice its edge's weight; a few rounds of mean field estimate
how likely that is for each, and what is lost by it is a hint of its own, after few and after more rounds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from domains.graphs import _kernels
from domains.graphs.graphs import FIXED_OUT, FREE, Graph, Graphs
from domains.graphs.task import Look, Open, Rows, Task, members

ROUNDS = (4, 16)  # of mean field
SLOPE = 2.0  # of a chance in a gain, per mean edge weight


def look(graphs: Graphs, graph: Any, chosen: Rows) -> Look:
    allowed = np.zeros_like(chosen)
    gain = np.zeros(chosen.shape)
    _kernels.cut_gains(*graphs.arrays, graph, chosen, allowed, gain)
    return Look(allowed, allowed, gain)


def value(graphs: Graphs, graph: Any, chosen: Rows) -> np.ndarray:
    found = np.zeros(len(chosen))
    _kernels.cut_values(*graphs.arrays, graph, chosen, found)
    return found


def hints(nodes: Open) -> tuple[np.ndarray, np.ndarray]:
    columns = [nodes.gain]
    for n_rounds in ROUNDS:
        lost = np.empty(len(nodes.gain))
        rows = (nodes.pointer, nodes.neighbour, nodes.edge_weight)
        _kernels.mean_field(*rows, nodes.gain, SLOPE, n_rounds, lost)
        columns.append(-lost)
    return np.stack(columns, 1), 0.25 * np.maximum(nodes.gain, 0.0)


def prepared(graph: Graph) -> Graph:
    if (graph.fixed != FREE).any() or graph.n_vertices == 1:
        return graph
    fixed = graph.fixed.copy()
    fixed[0] = FIXED_OUT
    return replace(graph, fixed=fixed)


def feasible(graph: Graph, chosen: np.ndarray) -> bool:
    """Every set of vertices is a cut."""
    return True


TASK = Task(
    "cut",
    "maximum cut",
    sign=1,
    stops=True,
    weighs_edges=True,
    hint_scale=0.3,
    n_hints=1 + len(ROUNDS),
    look=look,
    parents=members,
    value=value,
    hints=hints,
    prepared=prepared,
    feasible=feasible,
)
