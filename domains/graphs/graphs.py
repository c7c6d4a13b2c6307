"""Graphs of different sizes in one set of arrays, with weights and vertices that are fixed in or out.

A `Graph` is simple and undirected: self-loops are dropped, parallel edges are merged (their weights summed),
and `notes` says so. `Graphs` holds many of them as compressed rows: the neighbours of vertex v of graph g are
`neighbour[pointer[first[g] + v] : pointer[first[g] + v + 1]]`, numbered within their graph. Each edge stands
twice, once at each end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import psutil
from jaxtyping import Float, Int, Int8

from workbench.errors import InputError

FREE, FIXED_IN, FIXED_OUT = 0, 1, 2
BYTES_PER_EDGE = 2 * (4 + 8) + 48  # both entries of an edge, and what sorting them takes
BYTES_PER_VERTEX = 8 + 8 + 1 + 64
SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class Graph:
    """One graph.

    pointer, neighbour   compressed rows of the adjacency matrix, neighbours ascending
    edge_weight          of each entry, the same at both ends
    vertex_weight        above zero
    fixed                0 free, 1 in the set, 2 out of it
    vertex_names         as the user knows them; empty: numbers from 0
    notes                what was changed while the graph was made, in sentences
    """

    name: str
    pointer: Int[np.ndarray, "vertex_and_one"]
    neighbour: Int[np.ndarray, "entry"]
    edge_weight: Float[np.ndarray, "entry"]
    vertex_weight: Float[np.ndarray, "vertex"]
    fixed: Int8[np.ndarray, "vertex"]
    vertex_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def n_vertices(self) -> int:
        return len(self.vertex_weight)

    @property
    def n_edges(self) -> int:
        return len(self.neighbour) // 2

    @property
    def is_weighted(self) -> bool:
        """Whether some vertex weight is not one."""
        return bool((self.vertex_weight != 1).any())

    def edges(self) -> tuple[Int[np.ndarray, "edge 2"], Float[np.ndarray, "edge"]]:
        """Each edge once, lower end first, and its weight."""
        tail = np.repeat(np.arange(self.n_vertices), np.diff(self.pointer))
        once = tail < self.neighbour
        return np.stack([tail, self.neighbour], 1)[once], self.edge_weight[once]

    def named(self, vertices: Sequence[int]) -> list[str | int]:
        """Vertices as the user knows them."""
        return [self.vertex_names[v] if self.vertex_names else int(v) for v in vertices]


def make_graph(
    name: str,
    n_vertices: int,
    edges: Int[np.ndarray, "edge 2"],
    edge_weight: Float[np.ndarray, "edge"] | None = None,
    vertex_weight: Float[np.ndarray, "vertex"] | None = None,
    vertex_names: Sequence[str] = (),
) -> Graph:
    """A graph from a list of edges, in any order and either direction. Raises InputError for a graph
    without vertices, weights that are not finite, vertex weights not above zero, or more than fits."""
    if n_vertices < 1:
        raise InputError(f"graph {name} has no vertices: give one with at least one vertex")
    check_fits(name, n_vertices, len(edges))
    weight = np.ones(len(edges)) if edge_weight is None else np.asarray(edge_weight, dtype=float)
    weights = np.ones(n_vertices) if vertex_weight is None else np.asarray(vertex_weight, float)
    if not np.isfinite(weight).all():
        raise InputError(f"graph {name} has an edge weight that is not finite: give finite numbers")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        worst = int(np.argmin(np.where(np.isfinite(weights), weights, -np.inf)))
        raise InputError(
            f"graph {name} has weight {weights[worst]:g} at vertex {worst}: vertex weights are above 0"
        )
    notes = []
    edges = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    loops = edges[:, 0] == edges[:, 1]
    if loops.any():
        notes.append(f"{name}: {int(loops.sum())} self-loops dropped")
        edges, weight = edges[~loops], weight[~loops]
    low, high = edges.min(1), edges.max(1)
    key, place = np.unique(low * n_vertices + high, return_inverse=True)
    if len(key) < len(edges):
        changed = "their weights summed" if edge_weight is not None else "as one edge each"
        notes.append(f"{name}: {len(edges) - len(key)} parallel edges merged, {changed}")
    ones = np.ones(len(key))
    total = np.bincount(place, weight, len(key)) if edge_weight is not None else ones
    low, high = key // n_vertices, key % n_vertices
    tail, head = np.concatenate([low, high]), np.concatenate([high, low])
    order = np.lexsort((head, tail))
    pointer = np.zeros(n_vertices + 1, dtype=np.int64)
    np.cumsum(np.bincount(tail, minlength=n_vertices), out=pointer[1:])
    return Graph(
        name,
        pointer,
        head[order].astype(np.int32),
        np.concatenate([total, total])[order],
        weights,
        np.zeros(n_vertices, dtype=np.int8),
        tuple(vertex_names),
        tuple(notes),
    )


def check_fits(name: str, n_vertices: int, n_edges: int) -> None:
    """Raises InputError where a graph of this size would not fit into half of the free memory."""
    room = SHARE_OF_MEMORY * psutil.virtual_memory().available
    needed = BYTES_PER_VERTEX * n_vertices + BYTES_PER_EDGE * n_edges
    if needed > room:
        largest = int(max(0.0, room - BYTES_PER_VERTEX * n_vertices) / BYTES_PER_EDGE)
        raise InputError(
            f"graph {name} with {n_vertices:,} vertices and {n_edges:,} edges needs {needed / 1e9:.1f} GB "
            f"and {room / 1e9:.1f} GB can be used: at most {largest:,} edges would fit"
        )


def with_fixed(graph: Graph, inside: Sequence[int], outside: Sequence[int]) -> Graph:
    """The graph with the given vertices fixed in and out. Raises InputError for a vertex that does not
    exist or is fixed both ways."""
    fixed = graph.fixed.copy()
    for vertices, value, flag in (
        (inside, FIXED_IN, "--fix-in"),
        (outside, FIXED_OUT, "--fix-out"),
    ):
        for v in vertices:
            if not 0 <= v < graph.n_vertices:
                raise InputError(
                    f"{flag} names vertex {v} and {graph.name} has the vertices 0 to "
                    f"{graph.n_vertices - 1}: give one of them"
                )
            if fixed[v] not in (FREE, value):
                raise InputError(f"vertex {v} is fixed in and out at once: leave one of them out")
            fixed[v] = value
    return replace(graph, fixed=fixed)


def complement(graph: Graph) -> Graph:
    """The graph with an edge exactly where `graph` has none; weights and fixed vertices are kept."""
    n = graph.n_vertices
    check_fits(f"complement of {graph.name}", n, n * (n - 1) // 2 - graph.n_edges)
    absent = np.ones((n, n), dtype=bool)
    np.fill_diagonal(absent, False)
    absent[np.repeat(np.arange(n), np.diff(graph.pointer)), graph.neighbour] = False
    pairs = np.argwhere(np.triu(absent))
    made = make_graph(f"complement of {graph.name}", n, pairs, vertex_weight=graph.vertex_weight)
    return replace(made, fixed=graph.fixed, vertex_names=graph.vertex_names)


@dataclass(frozen=True)
class Graphs:
    """Many graphs, one after the other; see the head of this file."""

    graphs: tuple[Graph, ...]
    first: Int[np.ndarray, "graph_and_one"] = field(repr=False)
    pointer: Int[np.ndarray, "vertex_and_one"] = field(repr=False)
    neighbour: Int[np.ndarray, "entry"] = field(repr=False)
    edge_weight: Float[np.ndarray, "entry"] = field(repr=False)
    vertex_weight: Float[np.ndarray, "vertex"] = field(repr=False)
    fixed: Int8[np.ndarray, "vertex"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.graphs)

    @property
    def width(self) -> int:
        """Vertices of the largest graph."""
        return int(np.diff(self.first).max())

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What the kernels take, in their order."""
        return (
            self.first,
            self.pointer,
            self.neighbour,
            self.edge_weight,
            self.vertex_weight,
            self.fixed,
        )


def collect(graphs: Sequence[Graph]) -> Graphs:
    """Graphs one after the other. Raises InputError where there is none."""
    if not graphs:
        raise InputError("no graph was given: give at least one")
    sizes = np.array([graph.n_vertices for graph in graphs])
    entries = np.array([len(graph.neighbour) for graph in graphs])
    starts = np.concatenate([[0], np.cumsum(entries)])
    pointers = [graph.pointer[:-1] + start for graph, start in zip(graphs, starts, strict=False)]
    return Graphs(
        tuple(graphs),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([*pointers, starts[-1:]]).astype(np.int64),
        np.concatenate([graph.neighbour for graph in graphs]).astype(np.int32),
        np.concatenate([graph.edge_weight for graph in graphs]).astype(np.float64),
        np.concatenate([graph.vertex_weight for graph in graphs]).astype(np.float64),
        np.concatenate([graph.fixed for graph in graphs]).astype(np.int8),
    )


def mean_weights(
    graphs: Graphs,
) -> tuple[Float[np.ndarray, "graph"], Float[np.ndarray, "graph"]]:
    """Mean vertex weight of each graph, and mean absolute edge weight (1 where there is none)."""
    vertices = np.add.reduceat(graphs.vertex_weight, graphs.first[:-1]) / np.diff(graphs.first)
    starts = graphs.pointer[graphs.first]
    running = np.concatenate([[0.0], np.cumsum(np.abs(graphs.edge_weight))])
    n, total = np.diff(starts), running[starts[1:]] - running[starts[:-1]]
    return vertices, np.where(total > 0, total / np.maximum(n, 1), 1.0)
