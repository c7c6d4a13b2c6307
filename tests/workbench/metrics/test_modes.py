"""Mode coverage on hand-made samples of two known modes."""

from __future__ import annotations

import pytest
import torch

from workbench.errors import InputError
from workbench.metrics.modes import mode_statistics
from workbench.problem import KnownAnswers

KNOWN = KnownAnswers(
    mode_centres=torch.tensor([[0.0, 0.0], [10.0, 0.0]]),
    mode_weights=torch.tensor([0.25, 0.75]),
    mode_radius=1.0,
)


def test_exact_shares_give_zero() -> None:
    x = torch.tensor([[0.5, 0.0], [10.0, 0.5], [10.0, -0.5], [9.5, 0.0]])
    statistics = mode_statistics(x, None, KNOWN)
    assert (statistics.modes_found, statistics.n_modes) == (2, 2)
    assert statistics.mode_weight_tvd == 0


def test_far_samples_count_for_weights_but_not_for_discovery() -> None:
    x = torch.tensor([[3.0, 0.0], [10.0, 0.0]])
    statistics = mode_statistics(x, None, KNOWN)
    assert statistics.found.tolist() == [False, True]
    assert statistics.share_nearest.tolist() == [0.5, 0.5]
    assert statistics.mode_weight_tvd == pytest.approx(0.25)


def test_a_quarter_of_the_share_is_the_threshold() -> None:
    x = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    for weight, found in [(0.0626, True), (0.0624, False)]:
        statistics = mode_statistics(x, torch.tensor([weight, 1 - weight]), KNOWN)
        assert bool(statistics.found[0]) is found


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(InputError, match="not known"):
        mode_statistics(torch.zeros(1, 2), None, KnownAnswers())
