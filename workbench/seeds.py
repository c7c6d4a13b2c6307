"""Randomness that follows from one explicit generator, on any device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def seed_from(generator: torch.Generator) -> int:
    """A seed for another generator, drawn from this one."""
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device))


@contextlib.contextmanager
def weights_from(generator: torch.Generator) -> Iterator[None]:
    """Inside, first weights of networks, which torch draws from its global generator on the CPU, follow from
    `generator`; the global one is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from(generator))
        yield
