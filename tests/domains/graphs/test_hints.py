"""What the tasks say about vertices, against dense matrices on one graph."""

from __future__ import annotations

import numpy as np
import pytest

from domains.graphs import cut
from domains.graphs.environment import SetBuilding
from domains.graphs.graphs import Graph
from domains.graphs.open_problems import open_problems
from tests.domains.graphs.graph_cases import TASKS, random_graph


def dense(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Adjacency as zeros and ones, and with weights."""
    edges, weights = graph.edges()
    ones = np.zeros((graph.n_vertices,) * 2)
    ones[edges[:, 0], edges[:, 1]] = 1.0
    weighted = ones.copy()
    weighted[edges[:, 0], edges[:, 1]] = weights
    return ones + ones.T, weighted + weighted.T


def hints(name: str, graph: Graph) -> np.ndarray:
    """Scores at the start, [vertex, hint]."""
    environment = SetBuilding(TASKS[name], [graph])
    nodes = open_problems(environment, environment.initial_state(1))
    assert nodes.vertex.tolist() == list(range(graph.n_vertices))
    return nodes.scores.numpy()


def rounds(x: np.ndarray, rivals: np.ndarray, n: int) -> np.ndarray:
    columns = [np.log(x)]
    for _ in range(n):
        total = rivals @ x
        columns.append(-np.log(total))
        x = x / total
    return np.stack(columns, 1)


def test_independent_sets_compete_in_closed_neighbourhoods():
    graph = random_graph(9, 1)
    ones, _ = dense(graph)
    weight = graph.vertex_weight / graph.vertex_weight.mean()
    expected = rounds(weight / (ones.sum(1) + 1), ones + np.eye(9), 5)
    np.testing.assert_allclose(hints("mis", graph), expected, rtol=1e-5, atol=1e-6)


def test_cliques_compete_in_the_complement_and_count_triangles():
    graph = random_graph(9, 2, 0.6)
    ones, _ = dense(graph)
    weight = graph.vertex_weight / graph.vertex_weight.mean()
    expected = rounds(weight / (9 - ones.sum(1)), 1 - ones, 2)
    found = hints("clique", graph)
    np.testing.assert_allclose(found[:, :3], expected, rtol=1e-5, atol=1e-6)
    common = (ones * (ones @ ones)).sum(1)
    np.testing.assert_allclose(found[:, 3], np.log((common + 1) / (ones.sum(1) + 1)), rtol=1e-5)


def test_undominated_vertices_divide_their_votes():
    graph = random_graph(9, 3)
    closed = dense(graph)[0] + np.eye(9)
    weight = graph.vertex_weight / graph.vertex_weight.mean()
    x = closed.sum(1) / weight
    columns = [np.log(x)]
    for _ in range(4):
        votes = closed @ (1 / (closed @ x))
        columns.append(np.log(votes))
        x = x * votes
    np.testing.assert_allclose(hints("mds", graph), np.stack(columns, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_field_of_a_cut(weighted):
    """Vertex 0 is held on its side, so it is no node of the open problem."""
    graph = random_graph(9, 4, weighted=weighted)
    _, weights = dense(graph)
    weights = weights / np.abs(graph.edges()[1]).mean()
    gain, inner = weights.sum(1)[1:], weights[1:, 1:]
    environment = SetBuilding(TASKS["cut"], [graph])
    found = open_problems(environment, environment.initial_state(1)).scores.numpy()
    np.testing.assert_allclose(found[:, 0], gain, rtol=1e-5, atol=1e-6)
    for column, n_rounds in enumerate(cut.ROUNDS, 1):
        chance = np.full(8, 0.5)
        for _ in range(n_rounds):
            chance = chance / 2 + 0.5 / (1 + np.exp(-cut.SLOPE * (gain - 2 * inner @ chance)))
        np.testing.assert_allclose(found[:, column], -2 * inner @ chance, rtol=1e-4, atol=1e-5)
