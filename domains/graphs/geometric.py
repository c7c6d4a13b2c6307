"""Graphs as torch-geometric holds them: `Data` and `Batch` in, `Data` and `Batch` out.

An undirected edge stands twice in `edge_index`, once in each direction. `edge_weight` (or `edge_attr` with one
column) weighs edges and `vertex_weight` vertices; both may be absent. torch-geometric is an extra: nothing
else here needs it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from domains.graphs.graphs import Graph, make_graph
from workbench.errors import InputError

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


def from_geometric(data: Data | Batch, name: str = "graph") -> list[Graph]:
    """The graphs of a `Batch`, or the one of a `Data`. Raises InputError for a directed graph."""
    several = hasattr(data, "to_data_list")
    parts: Sequence[Data] = data.to_data_list() if several else [data]
    return [_graph(part, f"{name}-{i}" if several else name) for i, part in enumerate(parts)]


def _graph(data: Data, name: str) -> Graph:
    n = int(data.num_nodes or 0)
    if data.edge_index is None:
        return make_graph(name, n, np.empty((0, 2)), vertex_weight=_vertex_weight(data))
    edges = data.edge_index.T.cpu().numpy()
    weight = _edge_weight(data, name)
    if len(edges) and not 0 <= edges.min() <= edges.max() < n:
        raise InputError(
            f"graph {name} has an edge to vertex {edges.max()} and the vertices 0 to {n - 1}: mend "
            "edge_index or num_nodes"
        )
    _check_undirected(edges, weight, n, name)
    forth = edges[:, 0] < edges[:, 1]
    loops = edges[:, 0] == edges[:, 1]
    kept = forth | loops  # loops are dropped, and said, where the graph is made
    chosen = None if weight is None else weight[kept]
    return make_graph(name, n, edges[kept], chosen, _vertex_weight(data))


def _edge_weight(data: Data, name: str) -> np.ndarray | None:
    """Weights of the columns of `edge_index`."""
    given = data.edge_weight if "edge_weight" in data else data.edge_attr
    if given is None:
        return None
    found = given.detach().cpu().numpy().astype(float)
    if found.size != data.edge_index.shape[1]:
        raise InputError(
            f"graph {name} has {found.size} edge weights for {data.edge_index.shape[1]} edges: give one each"
        )
    return found.reshape(-1)


def _vertex_weight(data: Data) -> np.ndarray | None:
    if "vertex_weight" not in data:
        return None
    return data.vertex_weight.detach().cpu().numpy().astype(float)


def _check_undirected(edges: np.ndarray, weight: np.ndarray | None, n: int, name: str) -> None:
    """Every edge stands as often, and with the same weights, in both directions."""
    value = np.ones(len(edges)) if weight is None else weight
    forth, back = edges[:, 0] < edges[:, 1], edges[:, 0] > edges[:, 1]

    def listed(which: np.ndarray, low: int) -> np.ndarray:
        rows = edges[which]
        keys = np.stack([rows[:, low] * n + rows[:, 1 - low], value[which]], 1)
        return keys[np.lexsort((keys[:, 1], keys[:, 0]))]

    one, other = listed(forth, 0), listed(back, 1)
    if one.shape != other.shape or not np.allclose(one, other):
        raise InputError(
            f"graph {name} has an edge_index with edges in one direction only: make it undirected with "
            "torch_geometric.utils.to_undirected"
        )


def to_geometric(graph: Graph) -> Data:
    """The graph as a `Data` with edge_index, edge_weight, vertex_weight and num_nodes. Raises InputError where
    torch-geometric is not installed."""
    tail = np.repeat(np.arange(graph.n_vertices), np.diff(graph.pointer))
    edge_index = torch.from_numpy(np.stack([tail, graph.neighbour.astype(np.int64)]))
    return _library().Data(
        edge_index=edge_index,
        edge_weight=torch.from_numpy(graph.edge_weight.copy()),
        vertex_weight=torch.from_numpy(graph.vertex_weight.copy()),
        num_nodes=graph.n_vertices,
    )


def batch_of(graphs: Sequence[Graph]) -> Batch:
    """Graphs of different sizes as one torch-geometric `Batch`."""
    return _library().Batch.from_data_list([to_geometric(graph) for graph in graphs])


def _library() -> Any:
    if importlib.util.find_spec("torch_geometric") is None:
        raise InputError(
            'torch-geometric is not installed: pip install "sampling-workbench[graphs]"'
        )
    import torch_geometric.data

    return torch_geometric.data
