"""A phylogram: tips evenly spaced, edges as long as their lengths, supports beside the nodes, a scale bar."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from domains.phylogeny.consensus import LabelledTree
from workbench.runs.plotting import COLOURS

_INK = "#1f2933"
_GREY = "#5b6673"
# Room for the names of the taxa, in widths of a letter at this size, and height of a tip.
LETTER_INCHES, TIP_INCHES = 0.072, 0.19
WELL_SUPPORTED = 0.95


def positions(tree: LabelledTree) -> tuple[np.ndarray, np.ndarray]:
    """x (sum of lengths from the root) and y (tips 0, 1, 2, ... from the top) of every node."""
    below = tree.children()
    order = tree.postorder(below)
    x, y = np.zeros(len(below)), np.zeros(len(below))
    n_placed = 0
    for node in order:
        if below[node]:
            y[node] = 0.5 * (y[below[node][0]] + y[below[node][-1]])
        else:
            y[node] = n_placed
            n_placed += 1
    for node in reversed(order):
        parent = int(tree.parent[node])
        if parent >= 0:
            x[node] = x[parent] + max(float(tree.lengths[node]), 0.0)
    return x, y


def draw_tree(axes: Axes, tree: LabelledTree, unit: str = "substitutions per site") -> None:
    """The tree on `axes`; supports in percent, in blue from 95 % on, in orange below; `unit` of lengths."""
    x, y = positions(tree)
    below = tree.children()
    segments = []
    for node, children in enumerate(below):
        parent = int(tree.parent[node])
        if parent >= 0:
            segments.append([(x[parent], y[node]), (x[node], y[node])])
        if children:
            ends = [y[child] for child in children]
            segments.append([(x[node], min(ends)), (x[node], max(ends))])
    axes.add_collection(LineCollection(segments, colors=_INK, linewidths=1.2, capstyle="round"))
    width = float(x.max()) or 1.0
    for tip, name in enumerate(tree.names):
        label = name.replace("_", " ")
        axes.text(x[tip] + 0.012 * width, y[tip], label, va="center", fontsize=8, style="italic")
    _write_supports(axes, tree, x, y, width)
    axes.set_ylim(len(tree.names) + 0.6, -0.8)
    axes.set_xlim(-0.02 * width, width * 1.02)
    axes.axis("off")
    _scale_bar(axes, width, len(tree.names), unit)


def size_of(tree: LabelledTree) -> tuple[float, float]:
    """Inches (width, height) at which names and tips are readable."""
    longest = max(len(name) for name in tree.names)
    return 5.0 + LETTER_INCHES * longest, 0.9 + TIP_INCHES * len(tree.names)


def _write_supports(
    axes: Axes, tree: LabelledTree, x: np.ndarray, y: np.ndarray, width: float
) -> None:
    below = tree.children()
    for node, support in enumerate(tree.supports.tolist()):
        if math.isnan(support):
            continue
        colour = COLOURS[0] if support >= WELL_SUPPORTED else COLOURS[1]
        # Right of the node there is room between the edges of its children, but for a middle child.
        crowded = any(abs(y[child] - y[node]) < 0.3 for child in below[node])
        axes.text(
            x[node] + 0.006 * width,
            y[node] - (0.3 if crowded else 0.0),
            f"{100 * support:.0f}",
            va="center",
            fontsize=6.5,
            color=colour,
        )


def _scale_bar(axes: Axes, width: float, n_tips: int, unit: str) -> None:
    """A round length of about a fifth of the tree."""
    power = 10.0 ** math.floor(math.log10(0.25 * width))
    length = max(power * step for step in (1, 2, 5) if power * step <= 0.25 * width)
    height = n_tips + 0.1
    axes.plot([0, length], [height, height], color=_GREY, lw=1.6, solid_capstyle="butt")
    text = f"{length:g} {unit}"
    axes.text(length + 0.015 * width, height, text, va="center", fontsize=7.5, color=_GREY)
