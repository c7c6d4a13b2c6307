"""Figures of samples of trees: consensus, split frequencies against a reference, probabilities, traces."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from domains.phylogeny.consensus import LabelledTree
from domains.phylogeny.summaries import (
    MINIMUM_FREQUENCY,
    SplitTable,
    asdsf,
    frequencies_side_by_side,
)
from domains.phylogeny.tree_drawing import LETTER_INCHES, draw_tree, size_of
from workbench.errors import InputError
from workbench.runs.plotting import COLOURS, new_figure

_DARK = "#5b6673"


def tree_figure(tree: LabelledTree, note: str = "", unit: str = "substitutions per site") -> Figure:
    """A tree with its supports, lengths in `unit`; `note` stands above."""
    width, height = size_of(tree)
    figure, axes = new_figure(width, height)
    draw_tree(axes, tree, unit)
    # Names are drawn beyond the axes, which must leave them room.
    figure.set_layout_engine("none")
    room = LETTER_INCHES * max(len(name) for name in tree.names) / width
    axes.set_position((0.02, 0.01, 0.96 - room, 0.99 - 0.3 / height))
    if note:
        figure.suptitle(
            note, fontsize=9, x=0.02, y=1 - 0.08 / height, ha="left", va="top", color=_DARK
        )
    return figure


def split_frequency_figure(
    sample: SplitTable,
    reference: SplitTable,
    names: tuple[str, str] = ("sampler", "reference chains"),
    minimum_frequency: float = MINIMUM_FREQUENCY,
) -> Figure:
    """Frequency of every split in the sample against that in the reference, with the diagonal. Splits below
    the minimum in both, which do not count in the ASDSF, are pale."""
    table = frequencies_side_by_side([reference, sample]).numpy()
    counted = (table >= minimum_frequency).any(1)
    figure, axes = new_figure(4.4, 4.4)
    axes.plot([0, 1], [0, 1], color=_DARK, lw=0.9, ls="--", zorder=1)
    label = f"below {minimum_frequency:g} in both ({int((~counted).sum())})"
    axes.plot(*table[~counted].T, ".", ms=4, color=COLOURS[5], alpha=0.5, label=label)
    label = f"splits ({int(counted.sum())})"
    axes.plot(*table[counted].T, "o", ms=5, color=COLOURS[0], alpha=0.75, mew=0, label=label)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_xlabel(f"split frequency, {names[1]}")
    axes.set_ylabel(f"split frequency, {names[0]}")
    distance = asdsf([sample, reference], minimum_frequency)
    axes.set_title(f"ASDSF {distance:.4f}", fontsize=9, loc="left", color=_DARK)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def log_probability_figure(
    log_posterior: Float[Tensor, "tree"],
    log_probability: Float[Tensor, "tree"],
    groups: dict[str, slice] | None = None,
    note: str = "",
    xlabel: str = "log likelihood + log prior",
) -> Figure:
    """Sampling probability of given trees against their posterior, both as logarithms up to a constant: the
    points of a perfect sampler lie on a line of slope one (drawn through the medians).

    `groups` names parts of the rows. Raises `InputError` where the two differ in length.
    """
    if log_posterior.shape != log_probability.shape:
        raise InputError(
            f"{len(log_posterior)} posteriors and {len(log_probability)} probabilities: give one of each "
            "per tree"
        )
    x, y = log_posterior.double().numpy(), log_probability.double().numpy()
    figure, axes = new_figure(4.6, 4.2)
    groups = groups or {f"{len(x)} trees": slice(None)}
    for i, (name, rows) in enumerate(groups.items()):
        axes.plot(x[rows], y[rows], "osD^"[i % 4], ms=4, mew=0, alpha=0.75, label=name)
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, ends + np.median(y - x), color=_DARK, ls="--", lw=1, label="slope 1")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(xlabel)
    axes.set_ylabel("log sampling probability")
    if len(x) > 2:
        r = float(np.corrcoef(x, y)[0, 1])
        axes.set_title(f"r = {r:.4f}  {note}".rstrip(), fontsize=9, loc="left", color=_DARK)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def trace_figure(
    log_posterior: Float[Tensor, "round run"],
    tree_length: Float[Tensor, "round run"],
    steps_per_round: int = 1,
    n_warmup: int = 0,
) -> Figure:
    """Log posterior and tree length along the runs; rounds of the warm-up, which come first, are shaded."""
    figure, panels = new_figure(7.6, 3.0, columns=2)
    steps = steps_per_round * np.arange(1, len(log_posterior) + 1)
    for axes, values, label in (
        (panels[0], log_posterior, "log posterior (not normalised)"),
        (panels[1], tree_length, "tree length / substitutions per site"),
    ):
        rows = values.double().numpy()
        for run in range(rows.shape[1]):
            colour = COLOURS[run % len(COLOURS)]
            axes.plot(steps, rows[:, run], lw=0.7, color=colour, alpha=0.8, label=f"run {run + 1}")
        # The way from a random start would squeeze all that follows into a line.
        settled = rows[len(rows) // 10 :]
        margin = 0.15 * float(np.ptp(settled)) or 0.5
        axes.set_ylim(settled.min() - margin, settled.max() + margin)
        if n_warmup > 0:
            axes.axvspan(0, n_warmup * steps_per_round, color="#e3e8ee", lw=0, label="warm-up")
        axes.set_xlabel("step")
        axes.set_ylabel(label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return figure
