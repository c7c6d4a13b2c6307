"""The Ramachandran figure: orientation, units, blanks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.molecules.figures import ramachandran_figure
from domains.molecules.ramachandran import ramachandran_map
from workbench.samples import WeightedSamples


def test_panels_units_and_orientation(generator: torch.Generator) -> None:
    angles = 0.3 * torch.randn((500, 2), generator=generator) + torch.tensor([-2.0, 2.5])
    samples = WeightedSamples(torch.zeros(500, 1, 3), torch.zeros(500))
    found = ramachandran_map(samples, angles, bins=24)
    figure = ramachandran_figure(found, found, kt_kj_per_mol=2.494, note="floor 0.02")
    figure.canvas.draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3]]
    assert titles == ["samples", "reference", "standard error"]
    assert figure.axes[3].get_ylabel() == "free energy / kJ/mol"
    image = figure.axes[0].images[0].get_array()
    # phi = -2 lies to the left, psi = 2.5 at the top; rows count upwards from psi = -pi.
    row, column = np.unravel_index(np.argmin(image.filled(np.inf)), image.shape)
    assert column < 12 < row
    assert float(image.max()) == pytest.approx(
        2.494 * float(found.free_energy_kt[found.free_energy_kt.isfinite()].max())
    )
    assert int(image.mask.sum()) == int(found.free_energy_kt.isnan().sum()) > 0


def test_without_reference_or_spread() -> None:
    samples = WeightedSamples(torch.zeros(4, 1, 3), torch.zeros(4))
    found = ramachandran_map(samples, torch.full((4, 2), 0.1), bins=4)
    figure = ramachandran_figure(found)
    figure.canvas.draw()
    assert len(figure.axes) == 4 and figure.axes[2].get_ylabel() == "free energy / kT"
