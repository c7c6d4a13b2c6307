"""Readers: one small weighted graph in every format, and what is wrong with a file, with its line."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from domains.graphs.readers import from_networkx, read_graph
from workbench.errors import InputError

EDGES = [(0, 1, 2.0), (1, 2, -1.5), (0, 3, 1.0)]
WEIGHTS = [1.0, 2.0, 1.0, 0.5]

DIMACS = "c a graph\np edge 4 3\nn 2 2\nn 4 0.5\ne 1 2 2\ne 3 2 -1.5\ne 4 1 1\n"
METIS = "% a graph\n4 3 011\n1 2 2 4 1\n2 1 2 3 -1.5\n1 2 -1.5\n0.5 1 1\n"
EDGE_LIST = "# a graph\n0 1 2\n2 1 -1.5\n3 0 1\n"


def graphml() -> str:
    graph = networkx.Graph()
    graph.add_nodes_from((str(v), {"weight": w}) for v, w in enumerate(WEIGHTS))
    graph.add_weighted_edges_from((str(u), str(v), w) for u, v, w in EDGES)
    return "\n".join(networkx.generate_graphml(graph))


@pytest.mark.parametrize(
    ("name", "text", "weighted"),
    [
        ("g.dimacs", DIMACS, True),
        ("g.metis", METIS, True),
        ("g.edges", EDGE_LIST, False),
        ("g.csv", EDGE_LIST.replace(" ", ","), False),
        ("g.graphml", graphml(), True),
    ],
)
def test_every_format(name, text, weighted, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    graph = read_graph(path)
    edges, weights = graph.edges()
    assert edges.tolist() == [[0, 1], [0, 3], [1, 2]] and weights.tolist() == [2.0, 1.0, -1.5]
    assert graph.vertex_weight.tolist() == (WEIGHTS if weighted else [1.0] * 4)
    first = "1" if name in ("g.dimacs", "g.metis") else "0"
    assert graph.named([0]) == [first]


def test_the_format_can_be_said(tmp_path):
    path = tmp_path / "graph"
    path.write_text(DIMACS)
    assert read_graph(path, "dimacs").n_edges == 3
    with pytest.raises(InputError, match="cannot be told from its name"):
        read_graph(path)


def test_names_of_an_edge_list_are_kept_and_lone_vertices_too(tmp_path):
    path = tmp_path / "g.txt"
    path.write_text("bob alice\n10 bob\n9\n")
    graph = read_graph(path)
    assert graph.vertex_names == ("9", "10", "alice", "bob") and graph.n_edges == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("g.dimacs", "", "is empty"),
        (
            "g.dimacs",
            "p edge 3 1\ne 1 4\n",
            "line 2: vertex 4 and the graph has the vertices 1 to 3",
        ),
        ("g.dimacs", "p edge 3 1\na 1 2\n", "line 2: arcs"),
        ("g.dimacs", "e 1 2\n", "line 1: .*has to come first"),
        ("g.dimacs", "p edge 3 1\ne 1 x\n", 'line 2: a vertex is "x"'),
        ("g.dimacs", "p edge 0 0\n", "no vertices"),
        ("g.metis", "3 2\n2\n1 3\n", "3 vertices are announced and 2 lines follow"),
        ("g.metis", "2 1\n2\n\n", "edge 1 2 stands at one of its ends only"),
        ("g.metis", "2 1\n5\n1\n", "line 2: vertex 5"),
        ("g.edges", "1 2 3 4\n", "line 1"),
        ("g.edges", "1 2 heavy\n", 'line 1: weight is "heavy"'),
        ("g.edges", "1 2 inf\n", "line 1: weight is inf"),
        ("g.graphml", "<graphml", "is not GraphML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(name, text, words, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_graph(path)


def test_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_graph(tmp_path / "none.dimacs")
    path = tmp_path / "g.dimacs"
    path.write_bytes(bytes(range(128, 255)))
    with pytest.raises(InputError, match="is not text"):
        read_graph(path)


def test_networkx_graphs():
    multi = networkx.MultiGraph([(0, 1), (0, 1), (1, 1)])
    graph = from_networkx(multi)
    assert graph.n_edges == 1 and len(graph.notes) == 2
    with pytest.raises(InputError, match="directed"):
        from_networkx(networkx.DiGraph([(0, 1)]))
    strange = networkx.Graph([(0, 1, {"weight": "much"})])
    with pytest.raises(InputError, match="not a number"):
        from_networkx(strange)
    assert np.array_equal(from_networkx(networkx.path_graph(3)).edges()[1], [1.0, 1.0])
