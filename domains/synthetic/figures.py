"""Figures of laws over the objects of a synthetic environment."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from domains.synthetic.hypergrid import Hypergrid
from workbench.errors import InputError
from workbench.runs.plotting import COLOURS, new_figure

_DARK = "#5b6673"
_MOST_DRAWN = 20_000


def grid_laws(
    grid: Hypergrid, laws: dict[str, Float[Tensor, "object"]], axes: tuple[int, int] = (0, 1)
) -> Figure:
    """Heat maps of several laws over a hypergrid, each summed over all but two coordinates, on one
    scale; and the difference of the last from the first.

    laws   probabilities of all points in lexicographic order, by label; the true one first
    Raises InputError for a grid of one dimension.
    """
    if grid.dimensions < 2:
        raise InputError(f"{grid.name} has one dimension: a heat map needs two")
    planes = {}
    for label, law in laws.items():
        full = law.reshape([grid.height] * grid.dimensions)
        others = [i for i in range(grid.dimensions) if i not in axes]
        planes[label] = (full.sum(others) if others else full).T.numpy()
    names = list(planes)
    difference = planes[names[-1]] - planes[names[0]]
    figure, panels = new_figure(3.0 * (len(names) + 1), 3.0, columns=len(names) + 1)
    top = max(plane.max() for plane in planes.values())
    for panel, (label, plane) in zip(panels[:-1], planes.items(), strict=True):
        image = panel.imshow(plane, origin="lower", vmin=0, vmax=top, cmap="viridis")
        panel.set_title(label)
    figure.colorbar(image, ax=panels[:-1], label="probability", shrink=0.85)
    edge = max(float(np.abs(difference).max()), 1e-12)
    image = panels[-1].imshow(difference, origin="lower", vmin=-edge, vmax=edge, cmap="RdBu_r")
    panels[-1].set_title(f"{names[-1]} - {names[0]}")
    figure.colorbar(image, ax=panels[-1], shrink=0.85)
    for panel in panels:
        panel.set_xlabel(f"coordinate {axes[0] + 1}")
        panel.set_ylabel(f"coordinate {axes[1] + 1}")
    return figure


def log_law(
    log_reward: Float[Tensor, "object"],
    log_p: Float[Tensor, "object"],
    log_partition: float | None,
) -> Figure:
    """log p of objects against their log R, with the line log p = log R - log Z where Z is known.

    Of more than 20,000 objects an even selection is drawn."""
    figure, axes = new_figure()
    stride = -(-len(log_p) // _MOST_DRAWN)
    x, y = log_reward[::stride].double(), log_p[::stride].double()
    axes.plot(x.numpy(), y.numpy(), ".", ms=3, alpha=0.35, color=COLOURS[0], label="objects")
    if log_partition is not None:
        ends = torch.stack([x.min(), x.max()])
        truth = (ends - log_partition).numpy()
        axes.plot(ends.numpy(), truth, color=_DARK, ls="--", lw=1.2, label="log R - log Z")
    axes.set_xlabel("log R")
    axes.set_ylabel("log p")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9, markerscale=2.5)
    return figure
