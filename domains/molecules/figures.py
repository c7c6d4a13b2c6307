"""The Ramachandran plot: free energy over two torsions, beside its standard error.

Bins never visited stay blank: white means "no sample", not "high energy".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from domains.molecules.ramachandran import RamachandranMap
from workbench.runs.plotting import new_figure

_TICKS = (-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi)
_TICK_LABELS = ("$-\\pi$", "$-\\pi/2$", "0", "$\\pi/2$", "$\\pi$")


def ramachandran_figure(
    found: RamachandranMap,
    reference: RamachandranMap | None = None,
    *,
    kt_kj_per_mol: float | None = None,
    names: tuple[str, str] = ("$\\phi$", "$\\psi$"),
    note: str = "",
) -> Figure:
    """Free energy, its standard error and, where given, the reference's free energy, side by side.

    In kJ/mol where `kt_kj_per_mol` is given, in kT otherwise; the two free energies share a scale.
    """
    scale, unit = (1.0, "kT") if kt_kj_per_mol is None else (kt_kj_per_mol, "kJ/mol")
    surfaces = [found.free_energy_kt, *([] if reference is None else [reference.free_energy_kt])]
    highest = scale * max(float(f[f.isfinite()].max()) for f in surfaces)
    titles = ["samples", *([] if reference is None else ["reference"])]
    n_panels = len(surfaces) + 1
    figure, panels = new_figure(3.3 * n_panels + 0.6, 3.4, columns=n_panels)
    for axes, surface, title in zip(panels[:-1], surfaces, titles, strict=True):
        image = _panel(axes, scale * surface, "viridis_r", (0.0, highest), names, title)
    figure.colorbar(image, ax=list(panels[:-1]), label=f"free energy / {unit}", shrink=0.8)
    error = scale * found.stderr_kt
    image = _panel(panels[-1], error, "cividis_r", _error_range(error), names, "standard error")
    figure.colorbar(image, ax=panels[-1], label=f"standard error / {unit}", shrink=0.8)
    if note:
        figure.suptitle(note, fontsize=9, x=0.01, ha="left", color="#5b6673")
    return figure


def _panel(
    axes: Axes,
    values: Tensor,
    colours: str,
    limits: tuple[float, float],
    names: Sequence[str],
    title: str,
) -> AxesImage:
    """One map; the first angle runs to the right, the second upwards."""
    image = axes.imshow(
        np.ma.masked_invalid(values.numpy().T),
        origin="lower",
        extent=(-math.pi, math.pi, -math.pi, math.pi),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    axes.set_xticks(_TICKS, _TICK_LABELS)
    axes.set_yticks(_TICKS, _TICK_LABELS)
    axes.set_xlabel(f"{names[0]} / rad")
    axes.set_ylabel(f"{names[1]} / rad")
    axes.set_title(title, fontsize=10, loc="left")
    return image


def _error_range(error: Tensor) -> tuple[float, float]:
    finite = error[error.isfinite()]
    return (0.0, float(finite.max()) or 1.0) if len(finite) else (0.0, 1.0)
