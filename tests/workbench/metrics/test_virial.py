"""The virial of Gaussian samples equals their dimension, with and without weights."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from workbench.errors import InputError
from workbench.metrics.virial import mean_virial, virial
from workbench.samples import WeightedSamples


def test_virial_of_a_gaussian_is_its_dimension(generator: torch.Generator) -> None:
    x = torch.randn((5000, 4, 3), generator=generator)
    torch.testing.assert_close(virial(x, -x), x.double().square().sum((1, 2)))
    samples = WeightedSamples(x, 0.5 * x.square().sum((1, 2)))
    estimate = mean_virial(samples, -x)
    assert 0.05 < estimate.stderr < 0.1
    assert abs(estimate.value - 12) < 5 * estimate.stderr


def test_weights_move_the_virial_to_the_target(generator: torch.Generator) -> None:
    wide = 1.3 * torch.randn((20_000, 2), generator=generator)
    energy = 0.5 * wide.square().sum(1)
    samples = WeightedSamples(wide, energy, -energy + energy / 1.3**2)
    estimate = mean_virial(samples, -wide)
    assert abs(estimate.value - 2) < 5 * estimate.stderr
    unweighted = mean_virial(WeightedSamples(wide, energy), -wide)
    assert unweighted.value > 2 + 10 * unweighted.stderr


def test_shapes_must_agree() -> None:
    # With shape checks on, these refuse first.
    with pytest.raises((InputError, TypeCheckError)):
        virial(torch.zeros(2, 3), torch.zeros(2, 2))
