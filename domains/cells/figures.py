"""Pictures of snapshots, held-out predictions, scores, gene trends, networks and fates.

Each returns a matplotlib `Figure`. Times are coloured along one perceptually even map (viridis), sets by the
house colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from workbench.runs.plotting import COLOURS, curve_with_band, legend, new_figure, with_unit

GREY, DARK = "#c3cad2", "#5b6673"
MOST_POINTS = 3000
GRID = 22


def embedding(
    points: Sequence[Float[np.ndarray, "_ 2"]],
    names: Sequence[str],
    velocity: Sequence[Float[np.ndarray, "_ 2"]],
    paths: Float[np.ndarray, "time path 2"] | None,
    labels: tuple[str, str],
    time_title: str,
) -> Figure:
    """Cells coloured by time with streamlines of the mean velocity nearby, and some trajectories."""
    figure, axes = new_figure(6.4, 4.8)
    colours = time_colours(len(points))
    for cells, name, colour in zip(points, names, colours, strict=True):
        shown = cells[thinned(len(cells), MOST_POINTS // len(points))]
        axes.plot(*shown.T, "o", ms=3.5, color=colour, alpha=0.7, label=name, mec="none")
    streamlines(axes, np.concatenate(list(points)), np.concatenate(list(velocity)))
    if paths is not None:
        for k in range(min(paths.shape[1], 12)):
            label = "trajectory" if k == 0 else None
            axes.plot(*paths[:, k].T, color=COLOURS[1], lw=0.9, alpha=0.8, label=label)
    axes.autoscale()  # streamlines end where cells are few; every cell and path is shown
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    legend_at_right(axes, time_title)
    return figure


def streamlines(axes: Axes, points: np.ndarray, velocity: np.ndarray) -> None:
    """Kernel averages of the velocity on a grid, drawn where cells are near."""
    low, high = np.quantile(points, 0.002, axis=0), np.quantile(points, 0.998, axis=0)
    grid = [np.linspace(low[i], high[i], GRID) for i in (0, 1)]
    x, y = np.meshgrid(*grid)
    places = np.stack([x.ravel(), y.ravel()], 1)
    width = (high - low) / GRID
    rows = thinned(len(points), 4000)
    apart = (places[:, None] - points[rows][None]) / np.maximum(width, 1e-12)
    kernel = np.exp(-0.5 * (apart**2).sum(2))
    mass = kernel.sum(1)
    mean = (kernel @ velocity[rows]) / np.maximum(mass, 1e-12)[:, None]
    mean[mass < 0.02 * mass.max()] = np.nan
    if np.nanmax(np.abs(mean)) == 0 or np.isnan(mean).all():
        return
    u, v = mean[:, 0].reshape(x.shape), mean[:, 1].reshape(x.shape)
    axes.streamplot(grid[0], grid[1], u, v, color=DARK, linewidth=0.7, arrowsize=0.8, density=1.1)


def held_out(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "_ 2"]]], labels: tuple[str, str]
) -> Figure:
    """A panel per held-out time: the observed cells in grey under each prediction."""
    n = len(panels)
    figure, axes = new_figure(max(4.0, 3.2 * n), 3.6, columns=n)
    for place, (title, sets) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for k, (name, points) in enumerate(sets.items()):
            shown = points[thinned(len(points), 600)]
            if k == 0:
                place.plot(*shown.T, "o", ms=5, color=GREY, label=name, mec="none")
            else:
                colour = COLOURS[(k - 1) % len(COLOURS)]
                place.plot(*shown.T, "o", ms=2.8, color=colour, alpha=0.8, label=name, mec="none")
        place.set_title(title, pad=4)
        place.set_xlabel(labels[0])
    first = np.atleast_1d(axes)[0]
    first.set_ylabel(labels[1])
    handles, words = first.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper left", ncols=4, frameon=False)
    return figure


def bars(
    values: Mapping[str, Mapping[str, tuple[float, float]]],
    floors: Mapping[str, float],
    ylabel: str,
    xlabel: str,
) -> Figure:
    """A group of bars per held-out time: name -> (value, deviation), with the floor as a line."""
    times = list(values)
    names = list(dict.fromkeys(name for one in values.values() for name in one))
    width = 0.8 / len(names)
    figure, axes = new_figure(max(5.5, 1.1 + 0.34 * len(names) * len(times)), 3.6)
    for k, name in enumerate(names):
        at = np.arange(len(times)) + (k - (len(names) - 1) / 2) * width
        heights = [values[time].get(name, (np.nan, 0.0)) for time in times]
        colour, hatch = COLOURS[k % len(COLOURS)], "//" if k >= len(COLOURS) else None
        axes.bar(
            at,
            [h[0] for h in heights],
            width * 0.92,
            yerr=[h[1] for h in heights],
            color=colour,
            hatch=hatch,
            label=name,
            error_kw={"lw": 0.9, "ecolor": DARK},
        )
    for i, time in enumerate(times):
        label = "split-half floor" if i == 0 else None
        axes.hlines(floors[time], i - 0.45, i + 0.45, color="black", ls="--", lw=1.2, label=label)
    axes.set_xticks(range(len(times)), times)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, fontsize=8)
    return figure


def gene_trends(
    times: np.ndarray,
    simulated: Float[np.ndarray, "time path gene"],
    observed_at: np.ndarray,
    observed: Sequence[Float[np.ndarray, "_ gene"]],
    names: Sequence[str],
    time_label: str,
) -> Figure:
    """Median and 80 % band of the trajectories per gene, with the same of the observed cells as bars."""
    figure, axes = new_figure(2.3 * len(names), 2.7, columns=len(names))
    for g, (place, name) in enumerate(zip(np.atleast_1d(axes), names, strict=True)):
        low, middle, high = np.quantile(simulated[:, :, g], [0.1, 0.5, 0.9], axis=1)
        curve_with_band(place, times, middle, (low, high), colour=COLOURS[0])
        seen = np.array([np.quantile(cells[:, g], [0.1, 0.5, 0.9]) for cells in observed])
        error = np.stack([seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 1]])
        place.errorbar(
            observed_at, seen[:, 1], error, fmt="o", ms=4, color=COLOURS[1], lw=1, capsize=2
        )
        place.set_title(name)
        place.set_xlabel(time_label)
    np.atleast_1d(axes)[0].set_ylabel("log expression")
    return figure


def network(
    scores: Float[np.ndarray, "source target"],
    genes: Sequence[str],
    truth: Float[np.ndarray, "source target"] | None = None,
) -> Figure:
    """Edge scores as a matrix; true edges are framed."""
    size = max(3.6, 0.24 * len(genes) + 1.6)
    figure, axes = new_figure(size + 0.9, size)
    shown = np.where(np.eye(len(genes), dtype=bool), np.nan, scores)
    picture = axes.imshow(shown, cmap="viridis", vmin=0.0)
    if truth is not None:
        for i, j in np.argwhere(truth > 0):
            if i != j:
                box = matplotlib.patches.Rectangle(
                    (j - 0.46, i - 0.46), 0.92, 0.92, fill=False, ec=COLOURS[1], lw=1.8
                )
                axes.add_patch(box)
    axes.set_xticks(range(len(genes)), genes, rotation=90)
    axes.set_yticks(range(len(genes)), genes)
    axes.set_xlabel("target" if truth is None else "target (true edges framed)")
    axes.set_ylabel("regulator")
    figure.colorbar(picture, ax=axes, label="edge score", shrink=0.8)
    return figure


def fates(
    points: Float[np.ndarray, "cell 2"],
    probability: Float[np.ndarray, "cell population"],
    names: Sequence[str],
    background: Float[np.ndarray, "_ 2"],
    labels: tuple[str, str],
) -> Figure:
    """A panel per terminal population: cells coloured by the probability to end there."""
    n = min(len(names), 4)
    figure, axes = new_figure(2.9 * n + 0.9, 3.2, columns=n)
    grey = background[thinned(len(background), 1500)]
    picture: Any = None
    for k, place in enumerate(np.atleast_1d(axes)):
        place.plot(*grey.T, "o", ms=2.5, color=GREY, mec="none")
        picture = place.scatter(*points.T, c=probability[:, k], s=8, cmap="viridis", vmin=0, vmax=1)
        place.set_title(names[k])
        place.set_xlabel(labels[0])
    np.atleast_1d(axes)[0].set_ylabel(labels[1])
    figure.colorbar(picture, ax=axes, label="probability", shrink=0.8)
    return figure


def scatter(
    truth: np.ndarray, found: np.ndarray, xlabel: str, ylabel: str, unit: str | None
) -> Figure:
    """Inferred against true values, with the line of equality."""
    figure, axes = new_figure(4.2, 3.8)
    rows = thinned(len(truth), MOST_POINTS)
    axes.plot(truth[rows], found[rows], "o", ms=2.5, alpha=0.4, color=COLOURS[0], mec="none")
    ends = [float(min(truth.min(), found.min())), float(max(truth.max(), found.max()))]
    axes.plot(ends, ends, "--", color=DARK, lw=1.0, label="equal")
    axes.set_xlabel(with_unit(xlabel, unit))
    axes.set_ylabel(with_unit(ylabel, unit))
    legend(axes)
    return figure


def training_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], ylabel: str) -> Figure:
    """Logged values against steps, each as it was logged and none smoothed."""
    figure, axes = new_figure(5.8, 3.2)
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, lw=1.0, marker="o" if len(steps) < 3 else None, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    legend(axes)
    return figure


def time_colours(n: int) -> list[Any]:
    """Colours from dark to light along time; the palest end is left out."""
    return [matplotlib.colormaps["viridis"](0.05 + 0.85 * k / max(1, n - 1)) for k in range(n)]


def legend_at_right(axes: Axes, title: str) -> None:
    many = len(axes.get_legend_handles_labels()[1]) > 14
    axes.legend(
        title=title,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        markerscale=1.6,
        ncols=2 if many else 1,
    )


def thinned(n: int, most: int) -> np.ndarray:
    """At most about `most` of n rows, evenly spread."""
    return np.arange(0, n, max(1, -(-n // max(1, most))))


def as_array(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()
