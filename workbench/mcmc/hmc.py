"""Hamiltonian Monte Carlo with trajectories of random length: samples exp(-beta u(x)).

A move draws velocities, follows L leapfrog steps and accepts with min(1, exp(-dH)), see
`hamiltonian`. L is uniform between (1 - jitter) and (1 + jitter) times `n_leapfrog`, one draw
for all chains, independent of their state: this keeps the chain exact and free of the resonances
that a fixed length has with harmonic modes.

Duane, Kennedy, Pendleton, Roweth, "Hybrid Monte Carlo" (1987); Neal, "MCMC using Hamiltonian
dynamics" (2011, arXiv 1206.1901).
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
    """step_size          first guess of the leapfrog step; adapted in the first `n_warmup` moves
    n_leapfrog         mean number of leapfrog steps of a move
    jitter             half-width of the spread of that number, as a fraction of it
    target_acceptance  0.8: near the optimum for long trajectories
    inverse_mass       one value, or one for each row of a configuration (particle), relative
    """

    step_size: float = 0.05
    n_leapfrog: int = 10
    jitter: float = 0.5
    target_acceptance: float = 0.8
    n_warmup: int = 500
    inverse_mass: tuple[float, ...] = (1.0,)

    def leapfrog_range(self) -> tuple[int, int]:
        spread = round(self.jitter * self.n_leapfrog)
        return max(1, self.n_leapfrog - spread), self.n_leapfrog + spread


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
    """One trajectory of every chain."""
    return hamiltonian.step(config, energy, state, generator)


def observe(config: Config, state: ChainState) -> Observation:
    """All chains, each a ladder of its own."""
    return hamiltonian.observe(state)
