"""Seeds and first weights follow from a generator and from nothing else."""

from __future__ import annotations

import torch
from torch import nn

from workbench.seeds import seed_from, weights_from


def test_weights_follow_from_the_generator_alone():
    made = []
    for noise in (0, 1):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        with weights_from(torch.Generator().manual_seed(7)):
            made.append(nn.Linear(3, 3).weight)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*made)


def test_seeds_of_one_generator_differ():
    generator = torch.Generator().manual_seed(7)
    assert len({seed_from(generator) for _ in range(100)}) == 100
