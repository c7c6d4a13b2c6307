"""Objectives as pure functions: scalings, minimisers and signs."""

from __future__ import annotations

import math

import pytest
import torch

from workbench.bridge.objectives.adversarial import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from workbench.bridge.objectives.conditional_variance import conditional_variance
from workbench.bridge.objectives.flow_matching import bridge_weight, flow_matching
from workbench.bridge.objectives.regularisers import curvature, distance_to_reference
from workbench.bridge.objectives.score_matching import drift_score_matching, plain_score_matching


def test_flow_matching_is_a_weighted_mean(generator):
    v, u = torch.randn(2, 8, 3, generator=generator)
    weight = torch.rand(8, generator=generator)
    by_hand = sum(float(weight[i]) * float(((v[i] - u[i]) ** 2).mean()) for i in range(8)) / 8
    assert float(flow_matching(v, u, weight)) == pytest.approx(by_hand, rel=1e-5)
    assert float(flow_matching(v, u)) == pytest.approx(float(((v - u) ** 2).mean()))


def test_bridge_weight_is_the_inverse_variance(generator):
    # Variance of the velocity target given s, with x1 - x0 of variance one: 1 + sigma^2 slope^2.
    s, sigma = torch.tensor([0.01, 0.3, 0.5]), torch.full((3,), 0.7)
    slope = (1 - 2 * s) / (2 * (s * (1 - s)).sqrt())
    torch.testing.assert_close(bridge_weight(s, sigma), 1 / (1 + 0.49 * slope**2))
    assert float(bridge_weight(s, sigma)[2]) == 1.0


def test_both_score_losses_agree_and_vanish_at_the_target(generator):
    noise = torch.randn(50, 3, generator=generator)
    deviation, sigma = torch.rand(50, generator=generator) + 0.1, 0.6
    score = -noise / deviation[:, None]
    assert float(plain_score_matching(score, noise, deviation)) == pytest.approx(0.0, abs=1e-10)
    scaled = 0.5 * sigma**2
    other = score + torch.randn(50, 3, generator=generator)
    plain = plain_score_matching(other, noise, deviation)
    drift = drift_score_matching(scaled * other, noise, deviation, sigma)
    torch.testing.assert_close(plain, drift)


@pytest.mark.parametrize("kind", ["vanilla", "rpgan", "r3gan"])
def test_players_pull_in_opposite_directions(kind):
    real, fake = torch.tensor([1.0]), torch.tensor([-1.0])
    assert discriminator_loss(kind, real, fake) < discriminator_loss(kind, fake, real)
    assert generator_loss(kind, real, fake) > generator_loss(kind, fake, real)
    same = {"vanilla": 2 * math.log(2), "rpgan": math.log(2), "r3gan": math.log(2)}[kind]
    assert float(discriminator_loss(kind, real * 0, real * 0)) == pytest.approx(same)


def test_gradient_penalty_of_a_quadratic(generator):
    x = torch.randn(6, 2, generator=generator).requires_grad_(True)
    penalty = gradient_penalty(x.square().sum(1), x)
    torch.testing.assert_close(penalty, 2 * x.square().sum(1).mean())
    assert penalty.requires_grad


def test_regularisers_of_a_parabola(generator):
    x0, x1 = torch.randn(2, 30, 2, generator=generator)
    s = torch.linspace(0.1, 0.9, 30)

    def parabola(x0, x1, s):
        return torch.lerp(x0, x1, s[:, None]) + 3.0 * (s * (1 - s))[:, None]

    assert float(curvature(parabola, x0, x1, s)) == pytest.approx(36.0, rel=2e-2)
    line = torch.lerp(x0, x1, s[:, None])
    away = distance_to_reference(parabola, x0, x1, s, line)
    assert float(away) == pytest.approx(float((3 * s * (1 - s)).square().mean()), rel=1e-4)


def test_variance_is_taken_over_paths_of_one_start(generator):
    # log F(path | x0) = log B(path | xK) - E(xK) + c(x0): zero, whatever c is.
    backward, energy = torch.randn(2, 5, 4, generator=generator)
    constant = 10 * torch.randn(5, 1, generator=generator)
    forward = (backward - energy + constant).requires_grad_(True)
    loss = conditional_variance(forward, backward, energy)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-9)
    shifted = conditional_variance(forward + torch.tensor([1.0, -1.0, 1.0, -1.0]), backward, energy)
    assert float(shifted.detach()) == pytest.approx(1.0, rel=1e-4)
