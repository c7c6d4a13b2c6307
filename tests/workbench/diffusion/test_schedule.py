"""The geometric noise schedule against quadrature of its rate."""

from __future__ import annotations

import pytest
import torch

from workbench.diffusion.schedule import GeometricSchedule
from workbench.errors import InputError


def test_variance_is_the_integral_of_the_rate():
    schedule = GeometricSchedule(0.02, 5.0)
    t = torch.linspace(0.0, 1.0, 20_001, dtype=torch.float64)
    integral = torch.cumulative_trapezoid(schedule.rate(t), t)
    assert torch.allclose(schedule.variance(t)[1:], integral, rtol=1e-5)


def test_ends():
    schedule = GeometricSchedule(0.1, 3.0)
    ends = schedule.variance(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert float(ends[0]) == 0.0
    assert float(ends[1]) == pytest.approx(9.0 - 0.01)
    assert schedule.final_variance == pytest.approx(9.0 - 0.01)


@pytest.mark.parametrize("levels", [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_refuses_levels_out_of_order(levels):
    with pytest.raises(InputError, match="sigma_min"):
        GeometricSchedule(*levels)
