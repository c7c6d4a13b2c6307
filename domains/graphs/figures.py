"""Pictures: a graph with some of its sets, and gaps against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx
import numpy as np
from jaxtyping import Bool
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from domains.graphs.graphs import Graph
from workbench.runs.plotting import COLOURS, legend, new_figure

_GREY = "#c3cad2"
_DARK = "#5b6673"
_MOST_PATHS = 60
_CROWDED = 100  # vertices above which marks and lines get small


def graph_with_sets(
    graph: Graph,
    sets: Bool[np.ndarray, "set vertex"],
    titles: Sequence[str],
    cuts: bool = False,
) -> Figure:
    """One panel per set: its vertices filled, the others open; with `cuts` the edges that are cut dark."""
    figure, panels = new_figure(2.9 * len(sets), 3.3, columns=len(sets))
    figure.set_layout_engine("constrained", h_pad=0.12)  # else titles touch the upper edge
    place = _layout(graph)
    edges, _ = graph.edges()
    crowded = graph.n_vertices > _CROWDED
    for axes, chosen, title in zip(np.atleast_1d(panels), sets, titles, strict=True):
        marked = chosen[edges[:, 0]] != chosen[edges[:, 1]] if cuts else np.zeros(len(edges), bool)
        for which, colour, width in ((~marked, _GREY, 0.25), (marked, COLOURS[5], 0.5)):
            lines = place[edges[which]]
            axes.add_collection(
                LineCollection(
                    list(lines),
                    colors=colour,
                    linewidths=width * (1 if crowded else 4),
                    alpha=0.3 if crowded else 1.0,
                )
            )
        size = 10 if crowded else 70
        for inside, colour, edge in ((False, "white", _DARK), (True, COLOURS[1], "black")):
            points = place[chosen == inside]
            axes.scatter(
                *points.T, s=size, c=colour, edgecolors=edge, linewidths=0.6, zorder=2 + inside
            )
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal")
        axes.margins(0.06)
        axes.axis("off")
    return figure


def _layout(graph: Graph) -> np.ndarray:
    """Positions [vertex, 2]: path lengths or springs; a circle for large graphs, whose groups stay together."""
    known = networkx.Graph()
    known.add_nodes_from(range(graph.n_vertices))
    known.add_edges_from(map(tuple, graph.edges()[0].tolist()))
    if graph.n_vertices > _MOST_PATHS:
        found = networkx.circular_layout(known)
    elif networkx.is_connected(known):
        found = networkx.kamada_kawai_layout(known)
    else:
        found = networkx.spring_layout(known, seed=0, iterations=100)
    return np.array([found[v] for v in range(graph.n_vertices)])


def gaps_against_time(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> Figure:
    """(seconds, gap in percent) of each solver: a line with marks where there are several points."""
    figure, axes = new_figure(6.4, 4.2)
    marks = "osD^vP*X<>"
    for i, (name, (seconds, gap)) in enumerate(lines.items()):
        axes.plot(
            seconds,
            gap,
            marker=marks[i % len(marks)],
            color=COLOURS[i % len(COLOURS)],
            ls="-" if i < len(COLOURS) else "--",
            ms=6,
            label=name.replace("_", " "),
        )
    axes.set_xscale("log")
    axes.set_xlabel("seconds per graph, training apart")
    axes.set_ylabel("mean gap to the best known / %")
    axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])
    axes.axhline(0.0, color=_DARK, lw=0.8, ls=":")
    legend(axes)
    return figure


def values_in_training(steps: Sequence[int], curves: Mapping[str, Sequence[float]]) -> Figure:
    """Mean values against training steps, one panel per curve: their scales differ less than their levels."""
    figure, panels = new_figure(7.0, 3.0, columns=len(curves))
    for i, (axes, (name, values)) in enumerate(
        zip(np.atleast_1d(panels), curves.items(), strict=True)
    ):
        axes.plot(steps, values, marker="o", ms=4, color=COLOURS[i])
        axes.axhline(values[0], color=_DARK, lw=0.8, ls=":")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("step")
        axes.set_ylabel("mean value")
    return figure
