"""Figures: what they show is what was given, axes carry units, and legends stay off the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from workbench.errors import InputError
from workbench.metrics import figures
from workbench.metrics.figures import Curve, Sampled
from workbench.metrics.modes import mode_statistics
from workbench.problem import KnownAnswers


class _TwoWells:
    """u = |x|^2 / 2 with two made-up modes: enough of an `Energy` to be drawn."""

    name = "two-wells"
    event_shape = (2,)
    degrees_of_freedom = 2
    mean_free = False
    length_unit = "nm"
    known = KnownAnswers(
        mode_centres=torch.tensor([[0.0, 0.0], [9.0, 0.0]]),
        mode_weights=torch.tensor([0.5, 0.5]),
        mode_radius=3.0,
    )

    def energy(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x.square().sum(1)

    def energy_and_force(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.energy(x), -x

    def initial(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randn((n, 2), generator=generator)


def _legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def _legend_is_off_the_data(figure: Figure) -> bool:
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    return not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_energy_histogram_tells_what_lies_outside(generator: torch.Generator) -> None:
    reference = torch.randn(4000, generator=generator)
    ours = torch.cat([reference[:300], torch.full((100,), 1e6)])
    figure = figures.energy_histogram(
        {"reference": Sampled(reference), "ours": Sampled(ours)}, note="$W_2$ = 3 kT"
    )
    axes = figure.axes[0]
    assert axes.get_xlabel() == "energy / kT" and axes.get_title(loc="left") == "$W_2$ = 3 kT"
    assert _legend_texts(figure) == ["reference", "ours (25.0% outside)"]
    assert _legend_is_off_the_data(figure)
    (line,) = [p for p in axes.patches if p.get_label().startswith("ours")]
    heights, edges, _ = line.get_data()
    assert float((heights * np.diff(edges)).sum()) == pytest.approx(0.75)


def test_energy_histogram_uses_the_weights() -> None:
    values = torch.tensor([0.0, 0.0, 1.0])
    sets = {"ours": Sampled(values, torch.tensor([1.0, 1.0, 6.0]))}
    figure = figures.energy_histogram(sets, has_reference=False, bins=2)
    heights, edges, _ = figure.axes[0].patches[0].get_data()
    np.testing.assert_allclose(heights * np.diff(edges), [0.25, 0.75])
    with pytest.raises(InputError, match="no finite value"):
        figures.energy_histogram({"a": Sampled(torch.tensor([torch.nan]))})


def test_pair_distances_and_traces(generator: torch.Generator) -> None:
    x = torch.randn((50, 4, 3), generator=generator)
    figure = figures.pair_distance_figure({"reference": Sampled(x), "ours": Sampled(3 * x)})
    assert figure.axes[0].get_xlabel() == "pair distance / nm"
    assert "outside" in _legend_texts(figure)[1] and _legend_is_off_the_data(figure)
    rows = torch.randn((30, 8), generator=generator)
    figure = figures.traces(
        {"energy": rows, "gyration": rows}, units={"energy": "kT", "gyration": None}
    )
    assert [axes.get_ylabel() for axes in figure.axes] == ["energy / kT", "gyration"]
    assert _legend_texts(figure) == ["6 of 8 chains", "mean over chains"]
    assert len(figures.traces({"energy": rows}, units={}).axes) == 1


def test_mode_coverage_counts_found_and_missed(generator: torch.Generator, tmp_path: Path) -> None:
    energy = _TwoWells()
    x = energy.initial(500, generator)
    figure = figures.mode_coverage(energy, x, mode_statistics(x, None, energy.known))
    assert _legend_texts(figure) == ["samples", "modes found (1)", "modes missed (1)"]
    assert _legend_is_off_the_data(figure) and figure.axes[0].get_xlabel() == "$x_1$ / nm"
    weights = torch.where(x[:, 0] > 0, 1.0, 0.0)
    drawn = figures.mode_coverage(energy, x, None, weights).axes[0].lines[0].get_xdata()
    assert np.asarray(drawn).min() > 0
    energy.event_shape = (3,)
    with pytest.raises(InputError, match="not in the plane"):
        figures.mode_coverage(energy, x)


def test_curves_keep_bands_above_zero_on_a_logarithmic_axis() -> None:
    steps = torch.arange(1.0, 6.0)
    figure = figures.polishing_curve(
        Curve(steps, 1 / steps, 2 / steps), Curve(steps, 9 / steps), floor=0.1
    )
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() > 0
    assert _legend_texts(figure)[2] == "noise floor" and _legend_is_off_the_data(figure)
    figure = figures.curves(
        {"a": Curve(steps, steps, steps)}, xlabel="evaluations", ylabel="population", reference=0.01
    )
    assert figure.axes[0].get_ylabel() == "population" and "reference" in _legend_texts(figure)
