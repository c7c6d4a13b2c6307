"""Graphs from and to torch-geometric."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from domains.graphs.environment import SetBuilding
from domains.graphs.geometric import batch_of, from_geometric, to_geometric
from domains.graphs.open_problems import open_problems
from tests.domains.graphs.graph_cases import TASKS, random_graph
from workbench.errors import InputError

data = pytest.importorskip("torch_geometric.data")


def test_a_batch_there_and_back():
    graphs = [random_graph(n, n) for n in (4, 9, 6)]
    batch = batch_of(graphs)
    assert batch.num_graphs == 3 and batch.num_nodes == 19 and batch.is_undirected()
    for one, other in zip(graphs, from_geometric(batch), strict=True):
        for name in ("pointer", "neighbour", "edge_weight", "vertex_weight"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name))


def test_plain_data_with_loops_and_parallel_edges():
    edges = torch.tensor([[0, 1, 1, 0, 1, 2, 2, 2], [1, 0, 0, 1, 2, 1, 2, 2]])
    weight = torch.tensor([1.0, 1.0, 0.5, 0.5, -2.0, -2.0, 7.0, 7.0])
    graph = from_geometric(data.Data(edge_index=edges, edge_attr=weight[:, None], num_nodes=4))[0]
    pairs, weights = graph.edges()
    assert graph.n_vertices == 4 and pairs.tolist() == [[0, 1], [1, 2]]
    assert weights.tolist() == [1.5, -2.0]
    assert "self-loops dropped" in graph.notes[0] and "summed" in graph.notes[1]
    assert from_geometric(data.Data(num_nodes=3))[0].n_edges == 0


@pytest.mark.parametrize(
    ("edges", "weight", "words"),
    [
        ([[0, 1], [1, 2]], None, "one direction only"),
        ([[0, 1], [1, 0]], [1.0, 2.0], "one direction only"),
        ([[0, 1], [1, 0]], [1.0], "1 edge weights for 2 edges"),
        ([[0, 9], [9, 0]], None, "vertex 9"),
    ],
)
def test_what_is_no_undirected_graph_is_refused(edges, weight, words):
    weights = None if weight is None else torch.tensor(weight)
    given = data.Data(edge_index=torch.tensor(edges), edge_weight=weights, num_nodes=3)
    with pytest.raises(InputError, match=words):
        from_geometric(given)


def test_without_the_extra_one_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"):
        to_geometric(random_graph(3, 0))


def test_the_network_sees_the_batch_that_torch_geometric_makes():
    """The open problems of fresh states: the same nodes and edges in the same order as a `Batch`."""
    graphs = [random_graph(n, n, weighted=False) for n in (5, 8)]
    environment = SetBuilding(TASKS["mis"], graphs)
    nodes = open_problems(environment, environment.initial_state(2))
    batch = batch_of(graphs)
    degree = nodes.adjacency.pointer.diff()
    tail = torch.arange(len(degree)).repeat_interleave(degree)
    assert torch.equal(batch.edge_index, torch.stack([tail, nodes.adjacency.neighbour.long()]))
    assert torch.equal(batch.batch, nodes.row)
