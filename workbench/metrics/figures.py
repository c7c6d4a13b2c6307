"""Figures of samples against their law, for any system: each returns a matplotlib `Figure`.

Sets of samples are given as `Sampled(values, weights)` by label; where a reference is among them it
comes first, sets the range, and is drawn as a grey area. Legends stand outside the axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from workbench.errors import InputError
from workbench.metrics.distances import (
    normalised,
    pair_distance_edges,
    pair_distance_histogram,
)
from workbench.metrics.modes import ModeStatistics
from workbench.problem import Energy
from workbench.runs.plotting import COLOURS, curve_with_band, new_figure, with_unit

_GREY = "#c3cad2"
_DARK = "#5b6673"


@dataclass(frozen=True, eq=False)
class Sampled:
    """Numbers, or positions [sample, particle, space], with their weights (None = equal)."""

    values: Tensor
    weights: Float[Tensor, "sample"] | None = None


@dataclass(frozen=True, eq=False)
class Curve:
    """Points y(x), with a standard error where there is one."""

    x: Float[Tensor, "point"]
    y: Float[Tensor, "point"]
    stderr: Float[Tensor, "point"] | None = None


def energy_histogram(
    sets: Mapping[str, Sampled],
    *,
    has_reference: bool = True,
    note: str = "",
    label: str = "energy",
    unit: str = "kT",
    bins: int = 60,
) -> Figure:
    """Histograms of energies (or of any number). `note` stands above: the distance and its floor.

    The range is that of the first set between its 0.1 and 99.9 % quantiles, widened by a quarter;
    what lies outside is given in the legend.
    """
    low, high = _range(next(iter(sets.values())))
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64)
    counts = {}
    for name, one in sets.items():
        share = normalised(one.weights, len(one.values))
        inside, _ = np.histogram(one.values.double().cpu(), edges.numpy(), weights=share.numpy())
        counts[name] = torch.from_numpy(inside)
    figure, axes = new_figure()
    _outlines(axes, counts, edges, has_reference)
    axes.set_xlabel(with_unit(label, unit))
    _finish(figure, axes, note)
    return figure


def pair_distance_figure(
    sets: Mapping[str, Sampled],
    *,
    has_reference: bool = True,
    note: str = "",
    unit: str | None = "nm",
    bins: int = 100,
) -> Figure:
    """Histograms of all interatomic distances, from zero to the largest of the first set."""
    edges = pair_distance_edges(next(iter(sets.values())).values, bins)
    counts = {
        name: pair_distance_histogram(one.values, edges, one.weights)[1:-1]
        for name, one in sets.items()
    }
    figure, axes = new_figure()
    _outlines(axes, counts, edges, has_reference)
    axes.set_xlabel(with_unit("pair distance", unit))
    _finish(figure, axes, note)
    return figure


def traces(
    variables: Mapping[str, Float[Tensor, "step chain"]],
    *,
    units: Mapping[str, str | None],
    steps_per_row: int = 1,
    n_chains: int = 6,
) -> Figure:
    """One panel per variable (energy, radius of gyration, ...): the first few chains over time, and
    the mean over all chains."""
    figure, panels = new_figure(7.2, 2.8, columns=len(variables))
    for axes, (name, values) in zip(np.atleast_1d(panels), variables.items(), strict=True):
        rows = values.double().cpu().numpy()
        steps = steps_per_row * np.arange(1, len(rows) + 1)
        for i in range(min(n_chains, rows.shape[1])):
            line = axes.plot(steps, rows[:, i], color=COLOURS[5], lw=0.5, alpha=0.7)
        line[0].set_label(f"{min(n_chains, rows.shape[1])} of {rows.shape[1]} chains")
        axes.plot(steps, rows.mean(1), color=COLOURS[0], lw=1.4, label="mean over chains")
        axes.set_xlabel("step")
        axes.set_ylabel(with_unit(name, units.get(name)))
    _legend(figure, np.atleast_1d(panels)[0])
    return figure


def mode_coverage(
    energy: Energy,
    x: Float[Tensor, "sample 2"],
    statistics: ModeStatistics | None = None,
    weights: Float[Tensor, "sample"] | None = None,
    n_drawn: int = 2000,
) -> Figure:
    """Contours of a law in the plane, `n_drawn` of the samples, and the modes found and missed.

    With `weights` the points drawn are the first of a resampling in even strides. Raises
    `InputError` for an energy that is not in the plane.
    """
    if energy.event_shape != (2,):
        raise InputError(f"{energy.name} is not in the plane: mode coverage cannot be drawn.")
    points = x.detach().cpu()[_strided(normalised(weights, len(x)), n_drawn)]
    centres = energy.known.mode_centres
    frame = points if centres is None else centres.to(points)
    margin = 0.12 * (frame.amax(0) - frame.amin(0)).max() + 1e-3
    low, high = (frame.amin(0) - margin).tolist(), (frame.amax(0) + margin).tolist()
    figure, axes = new_figure(5.2, 4.8)
    _contours(axes, energy, low, high)
    axes.plot(*points.T.tolist(), ".", ms=2.5, color=COLOURS[0], alpha=0.5, label="samples")
    if centres is not None and statistics is not None:
        found = statistics.found
        for kind, mark, colour, which in (
            ("found", "o", COLOURS[2], centres[found]),
            ("missed", "X", COLOURS[1], centres[~found]),
        ):
            name = f"modes {kind} ({len(which)})"
            axes.plot(*which.T.tolist(), mark, ms=7, mfc="none", mew=1.4, color=colour, label=name)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_xlabel(with_unit("$x_1$", _unit(energy)))
    axes.set_ylabel(with_unit("$x_2$", _unit(energy)))
    _legend(figure, axes)
    return figure


def curves(
    lines: Mapping[str, Curve],
    *,
    xlabel: str,
    ylabel: str,
    unit: str | None = None,
    floor: float | None = None,
    reference: float | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """Figures against cost: a polishing curve against steps, an error against evaluations.

    Bands are one standard error. `floor` is the metric's noise floor, `reference` the true value.
    """
    figure, axes = new_figure()
    for name, line in lines.items():
        band = None if line.stderr is None else _array(line.stderr)
        x, y = _array(line.x), _array(line.y)
        if log_y and band is not None:
            # A band that reaches zero has no lower edge on this axis: it ends a decade down.
            curve_with_band(axes, x, y, (np.maximum(y - band, 0.1 * y), y + band), label=name)
        else:
            curve_with_band(axes, x, y, band, label=name)
    if floor is not None:
        axes.axhline(floor, color=_DARK, ls=":", lw=1.2, label="noise floor")
    if reference is not None:
        axes.axhline(reference, color=_DARK, ls="--", lw=1.2, label="reference")
    axes.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(with_unit(ylabel, unit))
    _legend(figure, axes)
    return figure


def polishing_curve(
    samples: Curve,
    control: Curve,
    *,
    floor: float | None = None,
    ylabel: str = "energy $W_2$",
    unit: str | None = "kT",
) -> Figure:
    """Quality against MCMC steps, from the sampler's output and from relaxed random starts."""
    return curves(
        {"from the sampler": samples, "from relaxed random starts": control},
        xlabel="polishing steps",
        ylabel=ylabel,
        unit=unit,
        floor=floor,
        log_y=True,
    )


def _array(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


def _unit(energy: Energy) -> str | None:
    return None if energy.length_unit == "1" else energy.length_unit


def _range(one: Sampled) -> tuple[float, float]:
    values = one.values.detach().double().cpu()
    values = values[torch.isfinite(values)]
    if not len(values):
        raise InputError("There is no finite value to draw: check the samples.")
    order = values.sort().values
    low = float(order[int(0.001 * (len(order) - 1))])
    high = float(order[math.ceil(0.999 * (len(order) - 1))])
    margin = 0.25 * (high - low) or 0.5
    return low - margin, high + margin


def _outlines(axes: Axes, counts: Mapping[str, Tensor], edges: Tensor, has_reference: bool) -> None:
    """Densities from shares of the whole; the rest, which lies outside the edges, is told."""
    colours = iter(COLOURS)
    for i, (name, share) in enumerate(counts.items()):
        outside = 1 - float(share.sum())
        label = f"{name} ({outside:.1%} outside)" if outside > 5e-4 else name
        density = (share / torch.diff(edges)).numpy()
        if has_reference and i == 0:
            axes.stairs(density, edges.numpy(), fill=True, color=_GREY, label=label)
        else:
            axes.stairs(density, edges.numpy(), color=next(colours), lw=1.6, label=label)
    axes.set_ylabel("density")
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    axes.set_ylim(bottom=0)


def _strided(share: Tensor, n: int) -> Tensor:
    """Rows of a systematic resampling at `n` even strides; every row for equal weights and few."""
    points = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    rows = torch.searchsorted(share.cumsum(0), points).clamp_(max=len(share) - 1)
    return rows.unique() if len(share) <= n else rows


def _contours(axes: Axes, energy: Energy, low: list[float], high: list[float]) -> None:
    grids = [torch.linspace(a, b, 160) for a, b in zip(low, high, strict=True)]
    u = energy.energy(torch.cartesian_prod(*grids)).reshape(160, 160).T.numpy()
    levels = float(u.min()) + np.arange(0.5, 10, 1.5)
    axes.contour(*(g.numpy() for g in grids), u, levels=levels, colors=_GREY, linewidths=0.8)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=9,
        markerscale=1.4,
    )


def _finish(figure: Figure, axes: Axes, note: str) -> None:
    if note:
        axes.set_title(note, fontsize=9, loc="left", color=_DARK)
    _legend(figure, axes)
