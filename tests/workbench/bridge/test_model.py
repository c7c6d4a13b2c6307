"""Units: what a model gives in data units whatever the frame, and one score from both scalings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.bridge.frame import Frame
from workbench.bridge.model import BridgeModel, Networks
from workbench.errors import InputError


class _Linear(nn.Module):
    """factor times x in the frame, whatever the time."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x, t):
        return self.factor * x + t[:, None]


FRAME = Frame(torch.tensor([1.0, -1.0]), 5.0, 24.0, 12.0)


def test_velocity_score_and_growth_in_data_units():
    model = BridgeModel(FRAME, Networks(_Linear(2.0), _Linear(-1.0), _Linear(3.0)), 0.5, "plain")
    x, t = torch.tensor([[6.0, 4.0]]), 30.0  # frame: (1, 1) at time 0.5
    torch.testing.assert_close(model.velocity(x, t), torch.full((1, 2), 2.5 * 5 / 12))
    torch.testing.assert_close(model.score(x, t), torch.full((1, 2), -0.5 / 5))
    torch.testing.assert_close(model.growth(x, t), torch.tensor([3.5 / 12]))
    assert model.sigma == pytest.approx(0.5 * 5 / 12**0.5)
    g = 0.7
    forward, backward = model.drift(x, t, g), model.backward_drift(x, t, g)
    torch.testing.assert_close(forward - backward, g**2 * model.score(x, t))
    torch.testing.assert_close(0.5 * (forward + backward), model.velocity(x, t))


def test_both_scalings_give_the_same_score():
    x = torch.tensor([[3.0, 2.0]])
    plain = BridgeModel(FRAME, Networks(_Linear(0.0), _Linear(-1.0)), 0.5, "plain")
    half_sigma_squared = 0.5**2 / 2
    scaled = nn.Module()
    scaled.forward = lambda x, t: half_sigma_squared * (t[:, None] - x)  # type: ignore[method-assign]
    drift = BridgeModel(FRAME, Networks(_Linear(0.0), scaled), 0.5, "drift")
    torch.testing.assert_close(plain.score(x, 26.0), drift.score(x, 26.0))


def test_what_was_not_learned_is_said():
    model = BridgeModel(FRAME, Networks(_Linear(1.0)), 0.5)
    assert not model.has_score and not model.has_growth
    x = torch.zeros(1, 2)
    model.drift(x, 24.0, 0.0)
    with pytest.raises(InputError, match="sf2m"):
        model.drift(x, 24.0, 0.5)
    with pytest.raises(InputError, match="unbalanced"):
        model.growth(x, 24.0)
