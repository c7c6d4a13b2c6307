"""Distances between laws, their floors, bounds of log Z, and counts of modes."""

from __future__ import annotations

import math

import pytest
import torch

from workbench.errors import InputError
from workbench.gflownet import evaluation

P = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
Q = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)


def test_distances_by_hand():
    assert evaluation.total_variation(P, Q) == 0.5
    assert evaluation.jensen_shannon(P, Q) == pytest.approx(0.5 * math.log(2))
    assert evaluation.jensen_shannon(P, P) == 0.0
    apart = torch.eye(2, dtype=torch.float64)
    assert evaluation.jensen_shannon(apart[0], apart[1]) == pytest.approx(math.log(2))


@pytest.mark.parametrize("n", [1, 7, 300])
def test_floor_of_total_variation_against_draws(n, generator):
    law = torch.rand(20, generator=generator, dtype=torch.float64) ** 3
    law = law / law.sum()
    drawn = torch.multinomial(law, n * 4000, True, generator=generator).reshape(4000, n)
    found = torch.tensor(
        [evaluation.total_variation(evaluation.empirical_law(row, len(law)), law) for row in drawn]
    )
    error = (float(found.mean()) - evaluation.total_variation_floor(law, n)) / float(found.std())
    assert abs(error) * math.sqrt(len(found)) < 5


def test_floor_of_many_samples_is_the_normal_approximation():
    law = torch.full((100,), 0.01, dtype=torch.float64)
    n = 1_000_000
    normal = float((law * (1 - law) / (2 * math.pi * n)).sqrt().sum())
    assert evaluation.total_variation_floor(law, n) == pytest.approx(normal, rel=1e-3)
    with pytest.raises(InputError, match="at least one"):
        evaluation.total_variation_floor(law, 0)


def test_bounds_and_importance_of_log_normal_weights(generator):
    """log w ~ N(m, s^2): ELBO m, log Z m + s^2 / 2."""
    mean, spread, n = -3.0, 0.5, 100_000
    log_w = mean + spread * torch.randn(n, generator=generator, dtype=torch.float64)
    lower, z = evaluation.mean_log_weight(log_w), evaluation.importance_log_partition(log_w)
    assert abs(lower.value - mean) < 5 * lower.stderr
    assert lower.stderr == pytest.approx(spread / math.sqrt(n), rel=0.02)
    assert abs(z.value - mean - 0.5 * spread**2) < 5 * z.stderr


def test_importance_probability_of_one_draw_is_its_ratio():
    log_pf = torch.tensor([[-1.0, -2.0], [-1.5, -2.5]], dtype=torch.float64)
    log_pb = torch.tensor([[-0.5, -0.1], [-1.0, -0.6]], dtype=torch.float64)
    found = evaluation.importance_log_probability(log_pf, log_pb)
    by_hand = [math.log((math.exp(-0.5) + math.exp(-0.5)) / 2), -1.9]
    assert found.tolist() == pytest.approx(by_hand)


def test_a_wrong_temperature_shows_in_the_slope_alone():
    reward = torch.linspace(-3, 2, 50)
    correlation, slope = evaluation.correlation_and_slope(0.5 * reward - 7, reward)
    assert correlation == pytest.approx(1.0) and slope == pytest.approx(0.5)
    assert all(math.isnan(x) for x in evaluation.correlation_and_slope(reward, 0 * reward))


def test_modes():
    assert evaluation.modes_found(torch.tensor([-1, 2, 2, 0]), 4) == 2
    assert evaluation.modes_found(torch.tensor([-1, -1]), 4) == 0
    expected = evaluation.expected_modes(torch.tensor([0.5, 0.1]), 2)
    assert expected == pytest.approx(0.75 + 0.19)
