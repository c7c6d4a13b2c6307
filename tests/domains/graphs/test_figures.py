"""Figures are drawn with what they are given."""

from __future__ import annotations

import numpy as np
import pytest

from domains.graphs.figures import gaps_against_time, graph_with_sets, values_in_training
from domains.graphs.instances import instances
from tests.domains.graphs.graph_cases import random_graph


@pytest.mark.parametrize("cuts", [False, True])
def test_a_panel_for_each_set(cuts):
    graph = instances("petersen", 1, 0)[0]
    sets = np.eye(10, dtype=bool)[:3]
    figure = graph_with_sets(graph, sets, ["a", "b", "c"], cuts)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == [
        "a",
        "b",
        "c",
    ]
    inside = [axes.collections[-1].get_offsets() for axes in figure.axes]
    assert [len(points) for points in inside] == [1, 1, 1]
    assert not np.allclose(inside[0], inside[1])


def test_disconnected_graphs_and_large_ones_have_a_layout():
    for graph in (random_graph(12, 1, 0.05), random_graph(410, 1, 0.005)):
        chosen = np.zeros((1, graph.n_vertices), dtype=bool)
        assert len(graph_with_sets(graph, chosen, ["none"]).axes) == 1


def test_gaps_have_a_line_for_each_solver():
    figure = gaps_against_time({"greedy": ([1e-3], [4.0]), "gflownet_x": ([0.1, 1.0], [3.0, 0.0])})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["gflownet x"].get_ydata()) == [3.0, 0.0]
    assert figure.axes[0].get_xscale() == "log" and "greedy" in lines


def test_training_has_a_panel_for_each_curve_with_its_start():
    figure = values_in_training([0, 5], {"single sets": [1.0, 2.0], "best of 20": [3.0, 3.5]})
    assert [axes.get_title() for axes in figure.axes] == ["single sets", "best of 20"]
    assert list(figure.axes[1].lines[0].get_ydata()) == [3.0, 3.5]
    assert list(figure.axes[1].lines[1].get_ydata()) == [3.0, 3.0]
