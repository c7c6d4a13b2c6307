"""What a network sees of a batch of states: the open problem of each as one batched graph, with features.

Nodes of all rows are numbered through. Features of a node: whether it may be added and whether it is needy, the
logarithm of its degree and its degree over the row's mean, its weight, the logarithms of the row's size and
of the number of chosen vertices (the uniform backward law depends on it), the task's greedy score, and all
of the task's scores over the row's best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.graphs import _kernels
from domains.graphs.environment import SetBuilding, SetState
from domains.graphs.task import Open, Task
from workbench.nets.gin import Adjacency


def n_features(task: Task) -> int:
    """Features of a node."""
    return 8 + task.n_hints


@dataclass(frozen=True)
class OpenProblems:
    """row, vertex   of each node: the row of its state and its number in the graph
    allowed       nodes that may be added
    features      [node, n_features], float32
    scale         inverse of the row's mean degree (plus one), for sums over neighbours
    scores, share the task's hints
    n_rows        number of states
    """

    row: Int[Tensor, "node"]
    vertex: Int[Tensor, "node"]
    allowed: Bool[Tensor, "node"]
    features: Float[Tensor, "node feature"]
    adjacency: Adjacency
    scale: Float[Tensor, "node"]
    scores: Float[Tensor, "node hint"]
    share: Float[Tensor, "node"]
    n_rows: int


def open_problems(environment: SetBuilding, state: SetState) -> OpenProblems:
    """The open problems of states that are not terminal."""
    graphs, task = environment.graphs, environment.task
    graph = state.graph.numpy()
    look = environment.look(state.graph, state.chosen)
    kept = look.allowed | look.needy
    row, vertex, pointer, neighbour, edge_weight = _residual(environment, graph, kept, look.needy)
    degree = np.diff(pointer).astype(float)
    n_nodes = np.bincount(row, minlength=len(graph)).astype(float)
    mean_degree = np.bincount(row, degree, len(graph)) / np.maximum(n_nodes, 1)
    unit = environment.unit.numpy()
    ones = np.ones(len(row))
    gain = 0.0 * ones if look.gain is None else look.gain[row, vertex]
    weight = ones
    if task.weighs_edges:
        gain = gain / unit[graph[row]]
    else:
        weight = graphs.vertex_weight[graphs.first[graph[row]] + vertex] / unit[graph[row]]
    needy, allowed = look.needy[row, vertex], look.allowed[row, vertex]
    if task.weighs_edges:
        edge_weight = edge_weight / unit[graph[np.repeat(row, np.diff(pointer))]]
    problem = Open(
        row, degree, n_nodes[row], weight, gain, needy, allowed, pointer, neighbour, edge_weight, len(graph)
    )  # fmt: skip
    scores, share = task.hints(problem)
    over_best = scores - _best(scores, row, allowed, len(graph))[row]
    chosen = state.chosen.sum(1).numpy().astype(float)
    columns = [
        allowed, needy, np.log1p(degree), degree / (mean_degree[row] + 1.0), weight,
        np.log1p(chosen)[row], np.log1p(n_nodes)[row], np.clip(scores[:, 0], -10, 10),
        *np.clip(over_best.T, -10, 10),
    ]  # fmt: skip
    edge_weights = None
    if task.weighs_edges:
        edge_weights = torch.from_numpy(edge_weight.astype(np.float32))
    return OpenProblems(
        torch.from_numpy(row),
        torch.from_numpy(vertex),
        torch.from_numpy(allowed),
        torch.from_numpy(np.stack(columns, 1).astype(np.float32)),
        Adjacency(torch.from_numpy(pointer), torch.from_numpy(neighbour), edge_weights),
        torch.from_numpy((1.0 / (mean_degree[row] + 1.0)).astype(np.float32)),
        torch.from_numpy(scores.astype(np.float32)),
        torch.from_numpy(share.astype(np.float32)),
        len(graph),
    )


def _best(
    scores: np.ndarray, row: np.ndarray, allowed: np.ndarray, n_rows: int
) -> Float[np.ndarray, "row hint"]:
    """The largest score of a vertex that may be added, in each row; 0 where there is none."""
    best = np.zeros((n_rows, scores.shape[1]))
    rows, first = np.unique(row[allowed], return_index=True)  # nodes stand row by row
    if len(rows):
        best[rows] = np.maximum.reduceat(scores[allowed], first)
    return best


def _residual(
    environment: SetBuilding, graph: np.ndarray, kept: np.ndarray, needy: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Rows, vertices and compressed rows of the batched open problems."""
    graphs = environment.graphs
    sizes, entries = np.zeros(len(graph), np.int64), np.zeros(len(graph), np.int64)
    rows = (graphs.first, graphs.pointer, graphs.neighbour)
    _kernels.residual_sizes(*rows, graph, kept, needy, sizes, entries)
    n, m = int(sizes.sum()), int(entries.sum())
    row, vertex = np.empty(n, np.int64), np.empty(n, np.int64)
    pointer, neighbour = np.zeros(n + 1, np.int64), np.empty(m, np.int32)
    weight = np.empty(m)
    _kernels.residual_graphs(
        *rows, graphs.edge_weight, graph, kept, needy, row, vertex, pointer, neighbour, weight
    )
    return row, vertex, pointer, neighbour, weight
