"""Unbalanced semi-couplings: marginals, optimality and what fades."""

from __future__ import annotations

import math

import pytest
import torch

from workbench.bridge.couplings.unbalanced import unbalanced_plan
from workbench.bridge.wfr import action
from workbench.errors import InputError


def test_two_points_cost_their_action():
    # One point to one point: the optimum is KL + KL + cost, and 2 delta^2 times it the WFR action.
    x0, x1 = torch.zeros(1, 2), torch.tensor([[0.9, 0.4]])
    m0, m1, delta = torch.tensor([0.7]).double(), torch.tensor([1.9]).double(), 0.8
    plan = unbalanced_plan(x0, x1, m0, m1, delta, tolerance=1e-10)
    distance = float(x1.norm())
    carried = plan.cost / distance**2
    half = math.cos(distance / (2 * delta))
    assert carried == pytest.approx(math.sqrt(0.7 * 1.9) * half, rel=1e-6)
    kl = sum(carried * math.log(carried / m) - carried + m for m in (0.7, 1.9))
    value = 2 * delta**2 * (kl - 2 * carried * math.log(half))
    assert value == pytest.approx(float(action(x1.norm(dim=1), m0, m1, delta)), rel=1e-6)


def test_semi_couplings_have_the_masses_given(generator):
    x0, x1 = torch.randn(120, 3, generator=generator), torch.randn(150, 3, generator=generator)
    m0, m1 = torch.rand(120, generator=generator) + 0.1, torch.rand(150, generator=generator) + 0.1
    plan = unbalanced_plan(x0, x1, m0, m1, 2.0)
    leaving = torch.zeros(120).double().index_add_(0, plan.source, plan.mass)
    arriving = torch.zeros(150).double().index_add_(0, plan.target, plan.target_mass)
    torch.testing.assert_close(leaving, m0.double())
    torch.testing.assert_close(arriving, m1.double())
    assert 0 <= plan.duality_gap < 1e-3


def test_growing_in_place_moves_nothing(generator):
    # Two clusters far apart; one doubles, one halves. Balanced transport would have to move mass.
    x = torch.cat(
        [
            torch.randn(40, 2, generator=generator) * 0.1,
            torch.randn(40, 2, generator=generator) * 0.1 + 8.0,
        ]
    )
    m0 = torch.ones(80)
    m1 = torch.cat([torch.full((40,), 2.0), torch.full((40,), 0.5)])
    plan = unbalanced_plan(x, x, m0, m1, 2.0)
    assert bool(((plan.source < 40) == (plan.target < 40)).all())
    ratio = (plan.target_mass.sum() / plan.mass.sum()).item()
    assert ratio == pytest.approx(1.25)


def test_blocks_keep_total_masses(generator, monkeypatch):
    from workbench.bridge.couplings import unbalanced

    monkeypatch.setattr(unbalanced, "LARGEST_DENSE", 50 * 50)
    x0, x1 = torch.randn(130, 2, generator=generator), torch.randn(120, 2, generator=generator)
    masses = torch.ones(130) / 130, 1.5 * torch.ones(120) / 120
    plan = unbalanced_plan(x0, x1, *masses, 4.0, block=40, generator=generator)
    assert float(plan.mass.sum()) == pytest.approx(1.0)
    assert float(plan.target_mass.sum()) == pytest.approx(1.5)


def test_bad_masses_and_reach(generator):
    x0 = torch.randn(20, 2, generator=generator)
    with pytest.raises(InputError, match="positive number per cell"):
        unbalanced_plan(x0, x0, torch.zeros(20), torch.ones(20), 1.0)
    with pytest.raises(InputError, match="without a partner"):
        unbalanced_plan(x0, x0 + 100.0, torch.ones(20), torch.ones(20), 1.0)
    with pytest.raises(InputError, match="relative gap"):
        unbalanced_plan(
            x0, x0 + 1, torch.ones(20), torch.ones(20), 9.0, tolerance=1e-9, max_iterations=25
        )
