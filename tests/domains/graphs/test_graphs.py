"""Graphs: making them, fixing vertices, complements, and the recipes of instances."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from domains.graphs import graphs as module
from domains.graphs.graphs import collect, complement, make_graph, mean_weights, with_fixed
from domains.graphs.instances import RB_SMALL, instances, names
from tests.domains.graphs.graph_cases import neighbours, random_graph
from workbench.errors import InputError


def test_loops_are_dropped_and_parallel_edges_merged():
    edges = np.array([[0, 1], [1, 0], [2, 2], [1, 2]])
    graph = make_graph("g", 3, edges, np.array([1.0, 2.5, 9.0, -1.0]))
    found, weights = graph.edges()
    assert found.tolist() == [[0, 1], [1, 2]] and weights.tolist() == [3.5, -1.0]
    assert "1 self-loops dropped" in graph.notes[0] and "weights summed" in graph.notes[1]
    plain = make_graph("g", 3, edges)
    assert plain.edges()[1].tolist() == [1.0, 1.0] and "as one edge each" in plain.notes[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, np.empty((0, 2))), "no vertices"),
        ((2, np.array([[0, 1]]), np.array([np.nan])), "not finite"),
        ((2, np.array([[0, 1]]), None, np.array([1.0, -2.0])), "weight -2 at vertex 1"),
    ],
)
def test_graphs_that_are_none(arguments, words):
    with pytest.raises(InputError, match=words):
        make_graph("g", *arguments)


def test_a_graph_too_large_says_how_large_would_fit(monkeypatch):
    class Memory:
        available = 10_000_000

    monkeypatch.setattr(module.psutil, "virtual_memory", Memory)
    with pytest.raises(InputError, match=r"at most [\d,]+ edges would fit"):
        module.check_fits("g", 1000, 10_000_000)
    module.check_fits("g", 1000, 10_000)


def test_complement():
    graph = random_graph(9, 1)
    other = complement(graph)
    for v, (inside, outside) in enumerate(zip(neighbours(graph), neighbours(other), strict=True)):
        assert inside | outside == set(range(9)) - {v} and not inside & outside
    assert np.array_equal(other.vertex_weight, graph.vertex_weight)


def test_fixed_vertices():
    graph = random_graph(5, 1)
    assert with_fixed(graph, [1], [3]).fixed.tolist() == [0, 1, 0, 2, 0]
    for inside, outside, words in (([5], [], "0 to 4"), ([1], [1], "in and out at once")):
        with pytest.raises(InputError, match=words):
            with_fixed(graph, inside, outside)


def test_graphs_in_one_place():
    made = [random_graph(n, n) for n in (3, 7, 5)]
    graphs = collect(made)
    assert (len(graphs), graphs.width) == (3, 7)
    for g, graph in enumerate(made):
        for v in range(graph.n_vertices):
            at = graphs.first[g] + v
            row = graphs.neighbour[graphs.pointer[at] : graphs.pointer[at + 1]]
            assert set(row.tolist()) == neighbours(graph)[v]
    vertices, edges = mean_weights(graphs)
    assert vertices == pytest.approx([graph.vertex_weight.mean() for graph in made])
    assert edges[1] == pytest.approx(np.abs(made[1].edge_weight).mean())
    with pytest.raises(InputError, match="no graph was given"):
        collect([])


@pytest.mark.parametrize("family", ["rb-tiny", "rb-small", "ba-small", "er-tiny"])
def test_families_are_reproducible_and_nested(family):
    first, again, more = (instances(family, n, 3) for n in (2, 2, 3))
    for one, other, longer in zip(first, again, more, strict=False):
        assert np.array_equal(one.neighbour, other.neighbour)
        assert np.array_equal(one.neighbour, longer.neighbour)
    assert not np.array_equal(first[0].neighbour, first[1].neighbour)
    assert not np.array_equal(first[0].neighbour, instances(family, 1, 4)[0].neighbour)


def test_rb_graphs_keep_to_the_recipe():
    for graph in instances("rb-small", 3, 0):
        assert RB_SMALL.vertices[0] <= graph.n_vertices <= RB_SMALL.vertices[1]
        assert (np.diff(graph.pointer) > 0).all()


def test_ba_graphs_keep_to_the_recipe():
    graph = instances("ba-small", 1, 0)[0]
    assert graph.n_edges == 4 * (graph.n_vertices - 4)


def test_known_graphs():
    petersen = instances("petersen", 7, 0)
    assert len(petersen) == 1
    assert (petersen[0].n_vertices, petersen[0].n_edges) == (10, 15)
    assert {graph.name for graph in instances("known", 1, 0)} >= {"petersen", "karate"}
    found = networkx.Graph(petersen[0].edges()[0].tolist())
    assert networkx.is_isomorphic(found, networkx.petersen_graph())
    with pytest.raises(InputError, match='did you mean "petersen"'):
        instances("peterson", 1, 0)
    assert "rb-large" in names()
