"""The tiled Sinkhorn solver against POT, the closed-form Gaussian coupling and its own certificate."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from workbench.bridge.couplings import entropic
from workbench.bridge.couplings.entropic import entropic_plan
from workbench.bridge.couplings.plan import uniform
from workbench.bridge.gaussian import GaussianBridge
from workbench.errors import InputError


def _clouds(generator, n, m, dim=4):
    x0 = torch.randn(n, dim, generator=generator)
    x1 = torch.randn(m, dim, generator=generator) * 1.4 + 0.7
    return x0, x1


def _pot(x0, x1, epsilon):
    cost = ot.dist(x0.double().numpy(), x1.double().numpy())
    log = {"method": "sinkhorn_log", "stopThr": 1e-10, "numItermax": 20_000}
    return ot.sinkhorn([], [], cost, epsilon, **log)


@pytest.mark.parametrize("epsilon", [4.0, 0.4])
def test_same_plan_as_pot(generator, epsilon):
    x0, x1 = _clouds(generator, 90, 70)
    plan = entropic_plan(x0, x1, epsilon, tolerance=1e-7, generator=generator)
    reference = _pot(x0, x1, epsilon)
    assert np.abs(plan.sparse().toarray() - reference).max() < 1e-6 * reference.max() * 100
    assert plan.marginal_error < 1e-7 and plan.duality_gap < 1e-6


def test_tiles_in_single_precision_give_the_same_cost(generator, monkeypatch):
    x0, x1 = _clouds(generator, 300, 200)
    reference = _pot(x0, x1, 1.0)
    cost = ot.dist(x0.double().numpy(), x1.double().numpy())
    for name, value in {"DOUBLE_UP_TO": 0, "TILE_ELEMENTS": 7 * 200, "SUBSAMPLE": 60}.items():
        monkeypatch.setattr(entropic, name, value)
    a, b = uniform(300, None), uniform(200, None)
    solved = entropic.solve(x0, x1, 1.0, a, b, 1e-5, 2000, generator)
    law = np.exp((solved.f.numpy()[:, None] + solved.g.numpy()[None] - cost) / 1.0) / 300 / 200
    assert solved.converged
    assert (law * cost).sum() == pytest.approx((reference * cost).sum(), rel=1e-4)


def test_drawn_pairs_follow_the_plan(generator, monkeypatch):
    x0, x1 = _clouds(generator, 60, 40)
    monkeypatch.setattr(entropic, "LISTED_UP_TO", 0)
    plan = entropic_plan(x0, x1, 2.0, pairs_per_cell=400, generator=generator)
    reference = _pot(x0, x1, 2.0)
    # Systematic draws: every conditional probability is met to one part in 400, twice over.
    conditional = plan.sparse().toarray() * 60
    assert np.abs(conditional - reference * 60).max() < 2.5 / 400
    assert plan.sparse().sum(1) == pytest.approx(1 / 60)


def test_gaussian_coupling(generator):
    # 1,500 samples: covariances are known to about 1 / sqrt(1500) = 2.6 %, five of those allowed.
    a, b = torch.tensor([[1.0, 0.3], [0.3, 0.5]]), torch.tensor([[0.6, -0.4], [-0.4, 1.5]])
    x0 = torch.randn(1500, 2, generator=generator) @ torch.linalg.cholesky(a).T
    x1 = torch.randn(1500, 2, generator=generator) @ torch.linalg.cholesky(b).T + 1.0
    exact = GaussianBridge(torch.zeros(2), a, torch.ones(2), b, sigma=0.8)
    plan = entropic_plan(x0, x1, 2 * 0.8**2, generator=generator)
    y0, y1 = x0[plan.source].double(), x1[plan.target].double()
    centred = (y0 - y0.mean(0)) * plan.mass[:, None]
    found = centred.T @ (y1 - y1.mean(0))
    assert float((found - exact.coupling).norm() / exact.coupling.norm()) < 0.13
    assert plan.cost == pytest.approx(exact.transport_cost(), rel=0.13)


def test_no_convergence_is_an_error_and_never_a_uniform_plan(generator):
    x0, x1 = _clouds(generator, 80, 80)
    with pytest.raises(InputError, match="marginal error"):
        entropic_plan(x0, x1, 1e-3, tolerance=1e-9, max_iterations=5, generator=generator)
    with pytest.raises(InputError, match="epsilon"):
        entropic_plan(x0, x1, 0.0, generator=generator)


def test_far_apart_clouds_do_not_underflow(generator):
    x0, x1 = _clouds(generator, 50, 50)
    near = entropic_plan(x0, x1, 0.5, tolerance=1e-6, generator=generator)
    far = entropic_plan(x0, x1 + 1000.0, 0.5, tolerance=1e-6, generator=generator)
    assert np.abs((near.sparse() - far.sparse()).toarray()).max() < 1e-5


@pytest.mark.slow
def test_twenty_thousand_cells_in_bounded_memory(generator):
    import resource

    x0, x1 = _clouds(generator, 20_000, 20_000, 50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = entropic_plan(x0, x1, 20.0, generator=generator)
    grown_gib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    assert plan.converged and plan.marginal_error < 1e-3 and plan.duality_gap < 1e-2
    assert grown_gib < 2.0


def test_fates_far_apart_with_unequal_shares_converge_in_long_steps(generator):
    far = torch.tensor([6.0, 0.0])
    x0, x1 = (torch.randn(200, 2, generator=generator) for _ in range(2))
    x0[:100], x1[:110] = x0[:100] - far, x1[:110] - far
    x0[100:], x1[110:] = x0[100:] + far, x1[110:] + far
    a, b = uniform(200, None), uniform(200, None)
    solved = entropic.solve(x0, x1, 1.0, a, b, 1e-5, 2000, generator)
    reference = _pot(x0, x1, 1.0)
    law = np.exp(solved.f.numpy()[:, None] + solved.g.numpy()[None])
    law = law * np.exp(-ot.dist(x0.double().numpy(), x1.double().numpy())) / 200**2
    assert solved.converged and solved.iterations < 200  # 491 without them
    assert law[:100, 110:].sum() == pytest.approx(reference[:100, 110:].sum(), abs=1e-4)
    assert law[100:, :110].sum() == pytest.approx(0.05, abs=1e-4)
