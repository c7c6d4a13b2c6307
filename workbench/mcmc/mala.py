"""Metropolis-adjusted Langevin algorithm: samples exp(-beta u(x)).

The proposal is one Euler step of Langevin dynamics, x' = x + h beta M^-1 F + sqrt(2 h) M^-1/2 z,
accepted by Metropolis and Hastings. With h = e^2/2 this is exactly one leapfrog step of size e with
fresh velocities z, and the acceptance probability is the same number, so it shares the move of
`hamiltonian`; `step_size` is e.

Roberts and Tweedie, "Exponential convergence of Langevin distributions and their discrete
approximations" (1996); Roberts and Rosenthal, "Optimal scaling of discrete approximations to
Langevin diffusions" (1998): acceptance 0.574 is optimal in high dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.mcmc import hamiltonian
from workbench.mcmc.hamiltonian import ChainState, MoveInfo
from workbench.mcmc.observation import Observation
from workbench.problem import Energy


@dataclass(frozen=True)
class Config:
    """step_size          first guess of e = sqrt(2 h); adapted in the first `n_warmup` moves
    target_acceptance  0.574: the optimum in high dimension
    inverse_mass       one value, or one for each row of a configuration (particle), relative
    """

    step_size: float = 0.05
    target_acceptance: float = 0.574
    n_warmup: int = 500
    inverse_mass: tuple[float, ...] = (1.0,)

    def leapfrog_range(self) -> tuple[int, int]:
        return 1, 1


def init(
    config: Config,
    energy: Energy,
    x: Float[Tensor, " chain *event"],
    generator: torch.Generator,
    beta: Float[Tensor, " chain"] | None = None,
    group: Int[Tensor, " chain"] | None = None,
) -> ChainState:
    """Chains at `x`. `beta` (default 1) is each chain's inverse temperature; chains of one `group`
    share a step size (default: all). Raises `InputError` for a start without finite energy."""
    return hamiltonian.start(config, energy, x, beta, group)


def step(
    config: Config, energy: Energy, state: ChainState, generator: torch.Generator
) -> tuple[ChainState, MoveInfo]:
    """One move of every chain."""
    return hamiltonian.step(config, energy, state, generator)


def observe(config: Config, state: ChainState) -> Observation:
    """All chains, each a ladder of its own."""
    return hamiltonian.observe(state)
