"""Noise floors: splits are disjoint, chains stay whole, and the anchor's LJ-13 floors come out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.errors import InputError
from workbench.metrics.distances import energy_w2, pair_distance_tvd
from workbench.metrics.floors import multinomial_floor, noise_floor
from workbench.metrics.torus import jensen_shannon


def test_splits_are_disjoint_and_of_the_asked_size(generator: torch.Generator) -> None:
    seen = []

    def metric(inside: torch.Tensor, outside: torch.Tensor) -> float:
        assert not set(inside.tolist()) & set(outside.tolist())
        seen.append((len(inside), len(outside)))
        return float(len(seen))

    floor = noise_floor(metric, torch.arange(100), 30, generator, n_splits=5)
    assert seen == [(30, 70)] * 5
    assert (floor.value, floor.n, floor.n_rest) == (3.0, 30, 70)
    assert "30 samples against 70" in floor.note and "too small" not in floor.note


def test_small_reference_is_halved_and_says_so(generator: torch.Generator) -> None:
    floor = noise_floor(lambda a, b: 0.0, torch.arange(101), 90, generator)
    assert (floor.n, floor.n_rest) == (50, 51)
    assert "too small for 90" in floor.note


def test_chains_stay_whole(generator: torch.Generator) -> None:
    chain = torch.arange(20).repeat_interleave(10)

    def metric(inside: torch.Tensor, outside: torch.Tensor) -> float:
        assert not set(chain[inside].tolist()) & set(chain[outside].tolist())
        return float(len(inside))

    floor = noise_floor(metric, torch.arange(200), 35, generator, chain=chain)
    assert (floor.value, floor.n, floor.n_rest) == (35.0, 35, 160)
    uneven = torch.tensor([0] * 8 + [1] * 2)
    noise_floor(lambda a, b: float(len(a) * len(b) > 0), torch.arange(10), 9, generator, 4, uneven)


def test_multinomial_floor_is_the_expected_divergence(generator: torch.Generator) -> None:
    n, m, bins = 4000, 1000, 50
    floor = multinomial_floor(jensen_shannon, torch.full((5, 10), 3.0), n, m, generator)
    # Second order: JSD of two empirical laws over B equal bins is (B - 1)/8 (1/n + 1/m) in the
    # mean.
    assert floor.value == pytest.approx((bins - 1) / 8 * (1 / n + 1 / m), rel=0.1)
    assert (floor.n, floor.n_rest) == (n, m)
    with pytest.raises(InputError, match="not empty"):
        multinomial_floor(jensen_shannon, torch.zeros(3), n, m, generator)


def test_too_little_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="four samples and two groups"):
        noise_floor(energy_w2, torch.arange(3.0), 1, generator)
    with pytest.raises(InputError, match="four samples and two groups"):
        noise_floor(energy_w2, torch.arange(9.0), 1, generator, chain=torch.zeros(9).long())


def _lj13_energy(x: torch.Tensor) -> torch.Tensor:
    """Ordered pairs, epsilon = r_m = 1, oscillator 1/2: the law of the reference file."""
    first, second = torch.triu_indices(13, 13, offset=1)
    attraction = (x[:, first] - x[:, second]).square().sum(-1) ** -3
    centred = x - x.mean(1, keepdim=True)
    return 2 * (attraction**2 - 2 * attraction).sum(1) + 0.5 * centred.square().sum((1, 2))


def test_lj13_floors_of_the_public_reference(
    reference_data: Callable[[str], Path], generator: torch.Generator
) -> None:
    rows = np.load(reference_data("boltzmann/lj13_reference.npy"))
    x = torch.from_numpy(rows).double().reshape(-1, 13, 3)
    energy = _lj13_energy(x)
    # Measured before on the same file: W2 0.48-0.50 at 512 and 0.58 for 1000 against 1000; TVD
    # 0.011.
    floor = noise_floor(energy_w2, energy, 512, generator, n_splits=20)
    assert floor.value == pytest.approx(0.49, abs=0.12)
    floor = noise_floor(energy_w2, energy[:2000], 1000, generator, n_splits=20)
    assert floor.value == pytest.approx(0.58, abs=0.2)
    floor = noise_floor(pair_distance_tvd, x, 1000, generator, n_splits=3)
    assert floor.value == pytest.approx(0.011, abs=0.003)
