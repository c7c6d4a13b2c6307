"""Distances against cases that are known, rivals and intervals against hand-made ones."""

from __future__ import annotations

import math

import pytest
import torch

from domains.cells.bootstrap import HeldOut, paired_difference, resampled
from domains.cells.comparison import Prediction, compare, draws, equal_count, pick
from domains.cells.distances import correlation_and_slope, mmd, pqmass, w1, w2, wasserstein
from domains.cells.rivals import neighbour_plan, position, rivals
from domains.cells.snapshots import make_snapshots
from workbench.errors import InputError


def test_a_shift_is_its_own_distance(generator):
    x = torch.randn(80, 3, generator=generator)
    shift = torch.tensor([3.0, 4.0, 0.0])
    assert w1(x, x[torch.randperm(80, generator=generator)] + shift) == pytest.approx(5.0, rel=1e-5)
    assert w2(x, x + shift) == pytest.approx(5.0, rel=1e-5)
    assert w1(x, x) == pytest.approx(0.0, abs=1e-9)


def test_weights_move_mass():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
    given = torch.tensor([0.75, 0.25])
    assert wasserstein(x, y, 1, given, torch.tensor([0.25, 0.75])) == pytest.approx(0.5)
    assert wasserstein(x, y, 2, given, torch.tensor([0.25, 0.75])) == pytest.approx(math.sqrt(0.5))


def test_mmd_is_near_zero_for_one_law_and_grows_with_distance(generator):
    x, y = torch.randn(2, 400, 3, generator=generator)
    values = [mmd(x + shift, y) for shift in (0.0, 0.5, 2.0)]
    assert values[0] < 0.08 < values[1] < values[2]


def test_pqmass_tells_laws_apart_and_leaves_numpys_generator_alone(generator):
    import numpy as np

    x, y = torch.randn(2, 300, 2, generator=generator)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    same, shifted = pqmass(x, y), pqmass(x + 1.0, y)
    assert same > 0.05 > 1e-3 > shifted
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert pqmass(x, y) == same


def test_growth_scores():
    truth = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert correlation_and_slope(2 * truth + 5, truth) == pytest.approx((1.0, 2.0))
    with pytest.raises(InputError, match="all equal"):
        correlation_and_slope(truth, torch.ones(4))


def line_shots():
    """Two points that move along a line, seen at 0, 1 and 4: the middle lies at a quarter."""
    ends = torch.tensor([[0.0, 0.0], [0.0, 10.0]]).repeat_interleave(10, 0)
    step = torch.tensor([4.0, 0.0])
    return make_snapshots([ends, ends + 0.25 * step, ends + step], [0.0, 1.0, 4.0], "h")


def test_the_midpoint_uses_real_times(generator):
    shots = line_shots()
    assert position(shots, 1) == 0.25
    found = rivals(shots, 1, generator)
    observed = shots.cells(1)
    drawn = draws(shots.weights(1), equal_count(shots, 1), 3, generator)
    values = compare(w1, found, observed, drawn)
    at_real = found["midpoint"].cells
    assert torch.allclose(at_real[:, 0], torch.ones(len(at_real)))
    assert torch.allclose(found["midpoint_index"].cells[:, 0], torch.full((len(at_real),), 2.0))
    assert float(values["previous"].mean()) >= 1.0
    assert float(values["next"].mean()) >= 3.0
    plan = neighbour_plan(shots, 1, generator)
    moved = shots.cells(2)[plan.target] - shots.cells(0)[plan.source]
    assert torch.allclose(moved[:, 1], torch.zeros(len(moved)))


def test_every_side_of_a_comparison_has_the_same_number(generator):
    sizes = (40, 50, 22)
    shots = make_snapshots([torch.randn(n, 2, generator=generator) for n in sizes], [0, 1, 2])
    assert equal_count(shots, 1) == 22
    assert equal_count(shots, 1, cap=10) == 10
    for draw in draws(shots.weights(1), 22, 5, generator):
        assert len(draw.observed) == len(draw.other) == 22
        assert not set(draw.observed.tolist()) & set(draw.other.tolist())
    weighted = pick(torch.arange(3.0)[:, None], torch.tensor([0.0, 1.0, 0.0]), 7, seed=0)
    assert torch.equal(weighted, torch.ones(7, 1))


def test_an_interval_holds_the_difference_and_excludes_zero_where_it_is_clear(generator):
    observed = torch.randn(100, 2, generator=generator)
    near = [Prediction(torch.randn(100, 2, generator=generator)) for _ in range(3)]
    far = Prediction(torch.randn(100, 2, generator=generator) + 3.0)
    held = HeldOut(observed, 50, near, far)
    mean = sum(w1(p.cells, observed) for p in near) / 3 - w1(far.cells, observed)
    interval = paired_difference(w1, [held], mean, generator, resamplings=40)
    assert interval.low < interval.mean < interval.high < 0
    alike = HeldOut(observed, 50, near[:2], near[2])
    interval = paired_difference(w1, [alike], 0.0, generator, resamplings=40)
    assert interval.low < 0 < interval.high


def test_resampling_is_paired_by_source_cell():
    """Source cell i is row i of one prediction and rows 2 i, 2 i + 1 of the other."""
    ours = Prediction(torch.arange(6.0)[:, None])
    rival = Prediction(torch.arange(6.0).repeat_interleave(2)[:, None], torch.full((12,), 1 / 12))
    a, b = resampled(ours, 50, seed=4), resampled(rival, 50, seed=4)
    assert torch.equal(a, b) and len(a.unique()) == 6
