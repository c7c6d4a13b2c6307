"""Figures in one house style: quiet axes, colours that colour-blind readers can tell apart.

Colours: Okabe and Ito, "Color Universal Design" (2008). Figures are made without pyplot: no display
is needed and no global state is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

_STYLE: Any = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6673",
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "font.size": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "workbench",
    "xtick.color": "#5b6673",
    "ytick.color": "#5b6673",
}

DOTS_PER_INCH = 150


def new_figure(width: float = 5.5, height: float = 3.4, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches, and its axes: one, or an array of `columns`."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(1, columns)


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write `NAME.png` (150 dpi) and `NAME.svg`; returns the PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    with matplotlib.rc_context(_STYLE):
        figure.savefig(path, dpi=DOTS_PER_INCH)
        # no date: the same run gives the same file
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return path


def histograms(
    axes: Axes,
    values: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    unit: str | None = None,
    weights: Mapping[str, ArrayLike] | None = None,
    bins: int | Sequence[float] = 60,
    interval: tuple[float, float] | None = None,
) -> None:
    """Outlines of normalised histograms on common bins, one per entry of `values`.

    weights    for the entries that carry some
    interval   what is drawn; default: the 0.5 to 99.5 % quantiles of the first entry, half as wide
               again
    The share of each set outside the drawn interval is given in the legend when above 0.1 %.
    """
    arrays = {label: np.asarray(x, dtype=float).ravel() for label, x in values.items()}
    edges = _edges(next(iter(arrays.values())), bins, interval)
    for label, x in arrays.items():
        weight = np.asarray((weights or {}).get(label, np.ones_like(x)), dtype=float).ravel()
        counts, _ = np.histogram(x, bins=edges, weights=weight)
        share = counts.sum() / weight.sum()
        outside = f" ({1 - share:.1%} outside)" if share < 0.999 else ""
        axes.stairs(
            counts / weight.sum() / np.diff(edges), edges, label=f"{label}{outside}", lw=1.6
        )
    axes.set_xlabel(with_unit(xlabel, unit))
    axes.set_ylabel("density")
    axes.set_ylim(bottom=0)
    legend(axes)


def _edges(
    x: np.ndarray, bins: int | Sequence[float], interval: tuple[float, float] | None
) -> np.ndarray:
    if not isinstance(bins, int):
        return np.asarray(bins, dtype=float)
    if interval is None:
        low, high = np.quantile(x[np.isfinite(x)], [0.005, 0.995])
        margin = 0.25 * (high - low) or 0.5
        interval = (low - margin, high + margin)
    return np.linspace(*interval, bins + 1)


def curve_with_band(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    band: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    label: str | None = None,
    colour: str | None = None,
) -> None:
    """A line and a shaded band: `band` is one standard error [point], or (low, high)."""
    (line,) = axes.plot(x, y, label=label, color=colour)
    if band is None:
        return
    if isinstance(band, tuple):
        low, high = band
    else:
        low, high = np.asarray(y) - np.asarray(band), np.asarray(y) + np.asarray(band)
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def legend(axes: Axes) -> None:
    """The names of the lines above the plot, where they hide nothing."""
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def with_unit(label: str, unit: str | None) -> str:
    """`energy` and `kT` -> `energy / kT`."""
    return f"{label} / {unit}" if unit else label
