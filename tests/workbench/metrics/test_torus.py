"""Torus histograms: wrapping, weights, and the divergence against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from workbench.errors import InputError
from workbench.metrics import torus


def test_angles_wrap(generator: torch.Generator) -> None:
    angles = 20 * torch.rand((500, 2), generator=generator, dtype=torch.float64) - 10
    inside = torus.wrapped(angles)
    assert bool(((inside >= -math.pi) & (inside < math.pi)).all())
    torch.testing.assert_close(torch.cos(inside), torch.cos(angles))
    turned = angles + 2 * math.pi * torch.tensor([1.0, -2.0])
    torch.testing.assert_close(torus.torus_histogram(angles), torus.torus_histogram(turned))
    edge = torch.tensor([[math.pi, -math.pi], [-math.pi - 1e-17, math.pi - 1e-12]])
    assert float(torus.torus_histogram(edge, bins=4).sum()) == 1


def test_histogram_places_and_weights() -> None:
    angles = torch.tensor([[-3.0, 3.0], [0.1, -0.1], [0.1, -0.1]])
    histogram = torus.torus_histogram(angles, torch.tensor([2.0, 1.0, 1.0]), bins=2)
    assert histogram.tolist() == [[0.0, 0.5], [0.5, 0.0]]


def test_divergence_of_equal_disjoint_and_known_laws() -> None:
    p = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    q = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)
    assert torus.jensen_shannon(p, p) == 0
    assert torus.jensen_shannon(p, q) == pytest.approx(0.5 * math.log(2))
    far = torus.jensen_shannon_2d(torch.zeros(9, 2) + 0.1, torch.ones(9, 2))
    assert far == pytest.approx(math.log(2))


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="angles are NaN"):
        torus.torus_histogram(torch.tensor([[0.0, torch.nan]]))
    with pytest.raises(InputError, match="at least one bin"):
        torus.torus_histogram(torch.zeros(1, 2), bins=0)
