"""Small graphs with weights and fixed vertices, and slow, plain versions of what kernels compute."""

from __future__ import annotations

import itertools

import numpy as np

from domains.graphs import clique, cut, dominating_set, independent_set
from domains.graphs.graphs import Graph, make_graph, with_fixed

TASKS = {module.TASK.name: module.TASK for module in (independent_set, clique, dominating_set, cut)}


def random_graph(n: int, seed: int, p: float = 0.4, weighted: bool = True) -> Graph:
    """An ER graph; weights of vertices from 0.5 to 2, of edges from -1 to 2."""
    random = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(n), 2)))
    edges = pairs[random.random(len(pairs)) < p]
    weights = random.uniform(0.5, 2.0, n) if weighted else None
    edge_weights = random.uniform(-1.0, 2.0, len(edges)) if weighted else None
    return make_graph(f"random-{n}-{seed}", n, edges, edge_weights, weights)


def small_graphs() -> list[Graph]:
    """Weighted and plain graphs of up to 8 vertices, some with fixed vertices."""
    graphs = [random_graph(n, seed) for n, seed in ((2, 0), (5, 1), (7, 2), (8, 3))]
    graphs += [random_graph(8, 4, 0.25, weighted=False), make_graph("alone", 3, np.empty((0, 2)))]
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [0, 2], [5, 6], [6, 0]])
    plain = make_graph("fixed", 7, edges)
    return [*graphs, with_fixed(plain, [0], [1])]


def neighbours(graph: Graph) -> list[set[int]]:
    return [
        set(graph.neighbour[graph.pointer[v] : graph.pointer[v + 1]].tolist())
        for v in range(graph.n_vertices)
    ]
