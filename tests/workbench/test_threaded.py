"""Threads change how a batch is evaluated, never what comes out."""

from __future__ import annotations

import pytest
import torch

from domains.molecules import LennardJones
from workbench.problem import Energy
from workbench.threaded import SMALLEST_PART, ThreadedEnergy


@pytest.mark.parametrize("n", [0, 1, SMALLEST_PART, 2 * SMALLEST_PART, 3 * SMALLEST_PART + 5])
def test_results_are_those_of_one_thread(n, generator):
    energy = LennardJones(5)
    x = torch.randn((n, 5, 3), generator=generator, dtype=torch.float64)
    threaded = ThreadedEnergy(energy, 3)
    u, force = threaded.energy_and_force(x)
    expected_u, expected_force = energy.energy_and_force(x)
    assert torch.equal(u, expected_u) and torch.equal(force, expected_force)
    assert torch.equal(threaded.energy(x), expected_u)


def test_small_batches_stay_whole():
    sizes = []

    class Watched(LennardJones):
        def energy(self, x):
            sizes.append(len(x))
            return super().energy(x)

    threaded = ThreadedEnergy(Watched(4), 2)
    threaded.energy(torch.randn(2 * SMALLEST_PART - 1, 4, 3))
    assert sizes == [2 * SMALLEST_PART - 1]
    sizes.clear()
    threaded.energy(torch.randn(2 * SMALLEST_PART + 1, 4, 3))
    assert sorted(sizes) == [SMALLEST_PART, SMALLEST_PART + 1]


def test_other_members_are_the_energys_own():
    threaded = ThreadedEnergy(LennardJones(4), 2)
    assert isinstance(threaded, Energy)
    assert threaded.event_shape == (4, 3) and threaded.degrees_of_freedom == 9


def test_an_error_in_a_part_reaches_the_caller():
    with pytest.raises(ValueError, match="float32 or float64"):
        ThreadedEnergy(LennardJones(4), 2).energy(torch.zeros((100, 4, 3), dtype=torch.float16))
