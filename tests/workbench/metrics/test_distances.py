"""Distances against closed forms, POT and hand-made cases."""

from __future__ import annotations

import ot
import pytest
import torch
from jaxtyping import TypeCheckError

from workbench.errors import InputError
from workbench.metrics import distances


def test_equal_sizes_are_sorted_differences(generator: torch.Generator) -> None:
    a = torch.randn(101, generator=generator, dtype=torch.float64)
    b = 2 + torch.randn(101, generator=generator, dtype=torch.float64)
    gap = (a.sort().values - b.sort().values).abs()
    assert distances.wasserstein_1d(a, b) == pytest.approx(float(gap.mean()), rel=1e-12)
    assert distances.energy_w2(a, b) == pytest.approx(float(gap.square().mean().sqrt()), rel=1e-12)


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_weighted_sets_agree_with_the_transport_solver(
    order: float, generator: torch.Generator
) -> None:
    a = torch.randn(57, generator=generator, dtype=torch.float64)
    b = torch.randn(83, generator=generator, dtype=torch.float64)
    p = torch.rand(57, generator=generator, dtype=torch.float64)
    p[3] = 0
    q = torch.rand(83, generator=generator, dtype=torch.float64)
    cost = (a[:, None] - b).abs() ** order
    exact = ot.emd2((p / p.sum()).numpy(), (q / q.sum()).numpy(), cost.numpy())
    assert distances.wasserstein_1d(a, b, 7 * p, q, order) == pytest.approx(
        float(exact) ** (1 / order), rel=1e-9
    )


def test_shift_and_weights_as_repetition(generator: torch.Generator) -> None:
    a = torch.randn(1000, generator=generator, dtype=torch.float64)
    assert distances.energy_w2(a, a + 3.5) == pytest.approx(3.5)
    assert distances.energy_w2(a, a) == 0
    counts = torch.tensor([1, 2, 3])
    few, other = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.5, 2.0])
    assert distances.energy_w2(few, other, counts.double()) == pytest.approx(
        distances.energy_w2(few.repeat_interleave(counts), other)
    )


def test_histogram_tvd_counts_what_falls_outside() -> None:
    reference = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert distances.histogram_tvd(reference, reference, bins=4) == 0
    assert distances.histogram_tvd(reference + 100, reference, bins=4) == pytest.approx(1)
    half_out = torch.tensor([0.0, 1.0, 50.0, 50.0])
    assert distances.histogram_tvd(half_out, reference, bins=4) == pytest.approx(0.5)


def test_pair_distances_and_their_histogram_in_chunks(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn((50, 6, 3), generator=generator, dtype=torch.float64)
    expected = torch.stack([torch.nn.functional.pdist(one) for one in x])
    torch.testing.assert_close(distances.pair_distances(x), expected)
    weights = torch.rand(50, generator=generator)
    edges = distances.pair_distance_edges(x, 20)
    whole = distances.pair_distance_histogram(x, edges, weights)
    monkeypatch.setattr(distances, "_CHUNK", 100)
    torch.testing.assert_close(distances.pair_distance_histogram(x, edges, weights), whole)
    assert float(whole.sum()) == pytest.approx(1) and float(whole[[0, -1]].sum()) == 0


def test_pair_distance_tvd_of_disjoint_sets_is_one(generator: torch.Generator) -> None:
    x = torch.randn((20, 4, 2), generator=generator)
    assert distances.pair_distance_tvd(x, x) == pytest.approx(0, abs=1e-12)
    assert distances.pair_distance_tvd(1000 * x, x) > 0.9


def test_bad_input_is_refused() -> None:
    good = torch.arange(4.0)
    with pytest.raises(InputError, match="1 of 4 values are NaN"):
        distances.energy_w2(torch.tensor([0.0, torch.nan, 1, 2]), good)
    with pytest.raises(InputError, match="not negative"):
        distances.energy_w2(good, good, torch.tensor([1.0, -1, 1, 1]))
    # With shape checks on, these refuse first.
    with pytest.raises((InputError, TypeCheckError)):
        distances.energy_w2(good, good, torch.ones(3))
    with pytest.raises(InputError, match="that varies"):
        distances.histogram_tvd(good, torch.zeros(4))
    with pytest.raises(InputError, match="reference of the same system"):
        distances.pair_distance_tvd(torch.zeros(1, 3, 2), torch.zeros(1, 4, 2))
    with pytest.raises(InputError, match="two particles"):
        distances.pair_distance_histogram(torch.zeros(1, 1, 2), torch.linspace(0, 1, 3))
