"""Figures of samples of crystals: coverage, a gallery of structures, the hull of a binary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from pymatgen.core import Structure

from domains.crystals.crystals import Crystals
from domains.crystals.hull import Hull
from domains.crystals.wyckoff import SYSTEMS, wyckoff
from workbench.runs.plotting import COLOURS, new_figure

_GREY = "#5b6673"
_MOST_GROUPS = 20
_ROTATION = np.array([[0.94, -0.34, 0.0], [0.12, 0.33, 0.94], [-0.32, -0.88, 0.35]])


def coverage(crystals: Crystals) -> Figure:
    """How often each crystal system, the most frequent groups, and each element occur."""
    figure, (left, middle, right) = new_figure(11.0, 3.6, columns=3)
    systems = Counter(int(wyckoff().system[g - 1]) for g in crystals.group)
    shares = [systems[i] / len(crystals) for i in range(len(SYSTEMS))]
    left.barh(range(len(SYSTEMS)), shares, color=COLOURS[0])
    left.set_yticks(range(len(SYSTEMS)), SYSTEMS)
    left.set_xlabel("share of samples")
    groups = Counter(crystals.group.tolist()).most_common(_MOST_GROUPS)
    names = [f"{wyckoff().symbol[g - 1]} ({g})" for g, _ in groups]
    middle.barh(range(len(groups)), [n / len(crystals) for _, n in groups], color=COLOURS[2])
    middle.set_yticks(range(len(groups)), names, fontsize=6)
    middle.invert_yaxis()
    middle.set_xlabel(f"share of samples, {len(groups)} most frequent groups")
    holding = np.array([(crystals.kind == i).any(1).mean() for i in range(len(crystals.elements))])
    right.bar(range(len(holding)), holding, color=COLOURS[1])
    right.set_xticks(range(len(holding)), crystals.elements.symbols, fontsize=7)
    right.set_ylabel("share of samples that hold it")
    return figure


def gallery(cells: Sequence[Structure], titles: Sequence[str]) -> Figure:
    """Drawings of some structures: all atoms in and on the edge of the conventional cell."""
    columns = min(4, len(cells))
    n_rows = -(-len(cells) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * n_rows), layout="constrained")
    symbols = sorted({site.specie.symbol for cell in cells for site in cell})
    colour = {symbol: COLOURS[i % len(COLOURS)] for i, symbol in enumerate(symbols)}
    for place, (cell, title) in enumerate(zip(cells, titles, strict=True)):
        axes = figure.add_subplot(n_rows, columns, place + 1)
        _draw(axes, cell, colour)
        axes.set_title(title, fontsize=8)
    marks = [
        figure.axes[0].plot([], [], "o", color=colour[s], markeredgecolor=_GREY, label=s)[0]
        for s in symbols
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(symbols), frameon=False)
    return figure


def _draw(axes, cell: Structure, colour: Mapping[str, str]) -> None:
    lattice = cell.lattice.matrix
    centre = lattice.sum(0) / 2
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    edges = [
        ((np.array([a, b]) @ lattice - centre) @ _ROTATION.T)[:, :2]
        for a in corners
        for b in corners
        if np.abs(a - b).sum() == 1 and tuple(a) < tuple(b)
    ]
    axes.add_collection(LineCollection(edges, colors=_GREY, linewidths=0.7, zorder=0))
    points, kinds, sizes = [], [], []
    for site in cell:
        for shift in corners:
            fractional = np.mod(site.frac_coords, 1.0)
            fractional = np.where(fractional > 0.999, 0.0, fractional) + shift
            if (fractional <= 1.001).all():
                points.append((fractional @ lattice - centre) @ _ROTATION.T)
                kinds.append(colour[site.specie.symbol])
                sizes.append(float(site.specie.atomic_radius or 1.0))
    order = np.argsort([point[2] for point in points])
    scale = 130.0 / np.linalg.norm(lattice, axis=1).max()
    placed = np.array(points)[order]
    axes.scatter(
        placed[:, 0],
        placed[:, 1],
        s=[(scale * sizes[i]) ** 2 * 0.12 for i in order],
        color=[kinds[i] for i in order],
        edgecolors=_GREY,
        linewidths=0.6,
        zorder=1,
    )
    axes.set_aspect("equal")
    axes.margins(0.15)
    axes.set_axis_off()


def binary_hull(
    symbols: Sequence[str],
    fraction: Float[np.ndarray, "crystal"],
    energies_ev_per_atom: Float[np.ndarray, "crystal"],
    hull: Hull,
    relaxed: tuple[Float[np.ndarray, "relaxed"], Float[np.ndarray, "relaxed"]] | None,
) -> Figure:
    """Formation energy against the fraction of the second element, over the hull."""
    figure, axes = new_figure(5.5, 3.6)
    axes.plot(fraction, energies_ev_per_atom, ".", color=COLOURS[5], label="samples", zorder=1)
    if relaxed is not None:
        axes.plot(*relaxed, "o", color=COLOURS[1], markersize=4, label="relaxed", zorder=3)
    grid = np.linspace(0.0, 1.0, 201)
    depth = [hull.depth_ev_per_atom(np.array([1 - x, x])) for x in grid]
    axes.plot(grid, depth, color=COLOURS[0], label="hull of substituted types", zorder=2)
    lowest = min(depth) if relaxed is None else min(min(depth), float(relaxed[1].min()))
    axes.set_ylim(1.15 * lowest if lowest < 0 else -0.5, 0.3)
    axes.set_xlabel(f"atomic fraction of {symbols[1]} in {symbols[0]}-{symbols[1]}")
    axes.set_ylabel("formation energy (eV/atom)")
    axes.legend(frameon=False, fontsize=8)
    return figure


def playground_laws(
    learned: Float[np.ndarray, "crystal"], exact: Float[np.ndarray, "crystal"]
) -> Figure:
    """Exact and learned probability of each crystal of the small space."""
    figure, axes = new_figure(5.0, 3.2)
    order = np.argsort(-exact)
    places = np.arange(len(order))
    axes.bar(places - 0.2, exact[order], 0.4, color=COLOURS[0], label="exact")
    axes.bar(places + 0.2, learned[order], 0.4, color=COLOURS[1], label="learned")
    axes.set_xlabel("crystal, by exact probability")
    axes.set_ylabel("probability")
    axes.set_xticks(places, [str(i + 1) for i in places])
    axes.legend(frameon=False)
    return figure
