"""Metropolis chains over the objects of a synthetic environment: the classical method beside a sampler.

    x' from the environment's symmetric `propose`;  accept with probability min(1, (R(x') / R(x))^beta)

One reward evaluation per chain and step. Chains start at uniform random objects, and no step is thrown
away: what the chains have seen is what so many evaluations buy. Source: Metropolis et al. (1953).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from domains.synthetic.environment import SyntheticEnvironment
from workbench.errors import InputError
from workbench.gflownet import states


def metropolis(
    environment: SyntheticEnvironment,
    n_chains: int,
    generator: torch.Generator,
    beta: float = 1.0,
) -> Iterator[tuple[Any, Float[Tensor, "chain"]]]:
    """The objects of all chains and their log-rewards, first the start and then after every step,
    without end. Their law is R^beta. Raises InputError for fewer than one chain."""
    if n_chains < 1:
        raise InputError(f"{n_chains} chains cannot be run: take at least one")
    state = environment.uniform_objects(n_chains, generator)
    log_reward = environment.log_reward(state)
    while True:
        yield state, log_reward
        proposed = environment.propose(state, generator)
        log_proposed = environment.log_reward(proposed)
        draw = torch.rand(n_chains, generator=generator, device=generator.device).double()
        accept = draw.log() < beta * (log_proposed - log_reward)
        state = states.where(accept, proposed, state)
        log_reward = torch.where(accept, log_proposed, log_reward)
