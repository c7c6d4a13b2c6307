"""The frame: inverse maps, and snapshots that cannot be used."""

from __future__ import annotations

import pytest
import torch

from workbench.bridge.frame import frame_of
from workbench.errors import InputError


def test_positions_and_times_without_units(generator):
    cells = [torch.randn(50, 3, generator=generator) * 7 + 5 + k for k in range(3)]
    frame = frame_of(cells, torch.tensor([10.0, 12.0, 18.0]))
    z = frame.position(torch.cat(cells))
    assert float(z.mean(0).abs().max()) < 1e-4
    assert float(z.var(0, correction=0).mean()) == pytest.approx(1.0, rel=1e-4)
    torch.testing.assert_close(frame.data(z), torch.cat(cells))
    assert frame.time(torch.tensor([10.0, 12.0, 18.0])).tolist() == pytest.approx([0.0, 0.5, 2.0])


def test_what_cannot_be_used_is_named(generator):
    x = torch.randn(5, 2, generator=generator)
    nan = x.clone()
    nan[2, 1] = torch.nan
    cases = [
        ([x], [0.0], "at least two"),
        ([x, x], [0.0, 0.0], "do not ascend"),
        ([x, x[:, :1]], [0.0, 1.0], "features"),
        ([x, nan], [0.0, 1.5], "time 1.5 holds NaN"),
        ([x * 0, x * 0], [0.0, 1.0], "same place"),
    ]
    for cells, times, message in cases:
        with pytest.raises(InputError, match=message):
            frame_of(cells, torch.tensor(times))
