"""Ramachandran maps: free energies and errors of a known law, and the divergence at its floor."""

from __future__ import annotations

import math

import pytest
import torch

from domains.molecules.ramachandran import ramachandran_divergence, ramachandran_map
from workbench.samples import WeightedSamples


def _draw(n: int, generator: torch.Generator) -> tuple[WeightedSamples, torch.Tensor]:
    """Angles from exp(cos phi + 2 cos psi) by weighting uniform ones."""
    angles = 2 * math.pi * torch.rand((n, 2), generator=generator, dtype=torch.float64)
    weights = angles[:, 0].cos() + 2 * angles[:, 1].cos()
    return WeightedSamples(torch.zeros(n, 1, 3), torch.zeros(n), weights), angles


def test_map_of_a_known_free_energy(generator: torch.Generator) -> None:
    samples, angles = _draw(100_000, generator)
    found = ramachandran_map(samples, angles, bins=12)
    middle = (torch.arange(12, dtype=torch.float64) + 0.5) / 12 * 2 * math.pi - math.pi
    exact = -(middle.cos()[:, None] + 2 * middle.cos())
    error = found.free_energy_kt - exact
    error = (error - error.mean()) / found.stderr_kt
    # The lowest bin and the curvature within bins shift both by less than the errors here.
    assert float(error.square().mean()) < 3
    assert float(found.probability.sum()) == pytest.approx(1)


def test_errors_are_those_of_counting(generator: torch.Generator) -> None:
    n = 4000
    angles = 0.01 + 2 * math.pi * torch.rand((n, 2), generator=generator, dtype=torch.float64)
    samples = WeightedSamples(torch.zeros(n, 1, 3), torch.zeros(n))
    found = ramachandran_map(samples, angles, bins=8)
    expected = ((1 - found.probability) / (found.probability * n)).sqrt()
    assert bool(((found.stderr_kt / expected - 1).abs() < 0.3).all())


def test_unvisited_bins_are_nan() -> None:
    samples = WeightedSamples(torch.zeros(4, 1, 3), torch.zeros(4))
    found = ramachandran_map(samples, torch.full((4, 2), 0.1), bins=4)
    assert int(found.free_energy_kt.isnan().sum()) == int(found.stderr_kt.isnan().sum()) == 15
    assert float(found.free_energy_kt[2, 2]) == 0


def test_divergence_of_the_same_law_is_at_its_floor(generator: torch.Generator) -> None:
    n = 8000
    reference = torch.randn((n, 2), generator=generator, dtype=torch.float64)
    angles = torch.randn((n, 2), generator=generator, dtype=torch.float64)
    samples = WeightedSamples(torch.zeros(n, 1, 3), torch.zeros(n))
    value, floor = ramachandran_divergence(samples, angles, reference, generator)
    assert 0.8 * floor.value < value < 1.3 * floor.value
    far, _ = ramachandran_divergence(samples, angles + 1, reference, generator)
    assert far > 5 * floor.value
