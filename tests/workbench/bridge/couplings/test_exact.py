"""Exact plans against POT, permutations and their own certificate."""

from __future__ import annotations

import ot
import pytest
import torch

from workbench.bridge.couplings.exact import exact_plan
from workbench.errors import InputError


def _clouds(generator, n=60, m=45, dim=3):
    x0 = torch.randn(n, dim, generator=generator)
    x1 = torch.randn(m, dim, generator=generator) * 1.3 + 1.0
    return x0, x1


def test_cost_and_marginals_with_weights(generator):
    x0, x1 = _clouds(generator)
    w0, w1 = torch.rand(60, generator=generator), torch.rand(45, generator=generator)
    plan = exact_plan(x0, x1, w0, w1)
    cost = ot.dist(x0.double().numpy(), x1.double().numpy())
    a, b = (w.double() / w.double().sum() for w in (w0, w1))
    assert plan.cost == pytest.approx(ot.emd2(a.numpy(), b.numpy(), cost), rel=1e-9)
    dense = torch.from_numpy(plan.sparse().toarray())
    torch.testing.assert_close(dense.sum(1), a)
    torch.testing.assert_close(dense.sum(0), b)
    assert plan.duality_gap < 1e-8 and plan.converged and len(plan.mass) < 60 + 45


def test_a_moved_copy_is_matched_to_itself(generator):
    x0 = torch.randn(50, 2, generator=generator)
    order = torch.randperm(50, generator=generator)
    plan = exact_plan(x0, x0[order] + 3.0)
    assert torch.equal(order[plan.target], plan.source)
    assert plan.cost == pytest.approx(18.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_keep_both_marginals(generator, weighted):
    x0, x1 = _clouds(generator, 203, 170)
    w0, w1 = torch.ones(203), torch.ones(170)
    if weighted:
        w0 = torch.rand(203, generator=generator)
        w0[5] = 30.0  # a cell that fills more than a block
    plan = exact_plan(x0, x1, w0, w1, block=40, generator=generator)
    dense = torch.from_numpy(plan.sparse().toarray())
    torch.testing.assert_close(dense.sum(1), w0.double() / w0.double().sum())
    torch.testing.assert_close(dense.sum(0), torch.full((170,), 1 / 170).double())
    best = exact_plan(x0, x1, w0, w1).cost
    assert best < plan.cost < 1.5 * best
    assert "blocks of 40" in plan.method


def test_what_cannot_be_solved_is_said(generator):
    x0, x1 = _clouds(generator)
    with pytest.raises(InputError, match="needs a generator"):
        exact_plan(x0, x1, block=20)
    with pytest.raises(InputError, match="weights of shape"):
        exact_plan(x0, x1, torch.ones(59))
    with pytest.raises(InputError, match="GiB"):
        exact_plan(torch.zeros(200_000, 2), torch.zeros(200_000, 2))
