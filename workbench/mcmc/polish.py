"""MCMC polishing: given samples moved by MCMC towards the target, as a curve against steps.

Every sample starts a chain of its own; the law of the chains tends to exp(-u) from whatever they were
drawn from, so that energies against steps show how far the draw was from the target and what it
costs to mend. The same from relaxed random starts is the control: a draw that is polished no faster
than that has been of no use.

Each chain adapts its own step size during the first `move.n_warmup` moves, since a clash and a good
sample need steps that differ by orders of magnitude; only the moves after that leave exp(-u) exactly
unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.mcmc import hamiltonian, hmc, mala
from workbench.mcmc.hamiltonian import ChainState
from workbench.problem import Energy


@dataclass(frozen=True)
class Config:
    """n_steps        moves of every sample
    n_checkpoints  points of the curve after the start, evenly spaced in the logarithm of steps
    move           HMC or MALA; step sizes adapt in the first `move.n_warmup` moves
    """

    n_steps: int = 200
    n_checkpoints: int = 12
    move: hmc.Config | mala.Config = field(default_factory=lambda: hmc.Config(n_warmup=60))

    def checkpoints(self) -> list[int]:
        """Steps after which energies are noted: 0 first, `n_steps` last, ascending."""
        ratio = self.n_steps ** (1 / max(1, self.n_checkpoints - 1))
        steps = {min(self.n_steps, round(ratio**i)) for i in range(self.n_checkpoints)}
        return sorted(steps | {0, self.n_steps})


@dataclass(frozen=True, eq=False)
class PolishState:
    """chains    one per sample, each with its own step size; `chains.n_steps` moves made
    energies  [checkpoint, sample]; rows of checkpoints ahead are not yet filled
    """

    chains: ChainState
    energies: Float[Tensor, " checkpoint sample"]


def init(config: Config, energy: Energy, x: Float[Tensor, " sample *event"]) -> PolishState:
    """Chains at the samples `x`.

    Raises `InputError` for samples without finite energy and force, and for n_steps or
    n_checkpoints below one.
    """
    if min(config.n_steps, config.n_checkpoints) < 1:
        raise InputError(
            f"n_steps is {config.n_steps} and n_checkpoints {config.n_checkpoints}: both must be "
            f"at least 1"
        )
    chains = hamiltonian.start(config.move, energy, x, group=torch.arange(len(x), device=x.device))
    energies = torch.zeros((len(config.checkpoints()), len(x)), dtype=x.dtype, device=x.device)
    energies[0] = chains.energy
    return PolishState(chains, energies)


def step(
    config: Config, energy: Energy, state: PolishState, generator: torch.Generator
) -> tuple[PolishState, dict[str, float]]:
    """One move of every sample. The new state shares the buffer `energies` with the old one.

    Info: acceptance (mean), median_energy.
    """
    chains, info = hamiltonian.step(config.move, energy, state.chains, generator)
    checkpoints = config.checkpoints()
    if chains.n_steps in checkpoints:
        state.energies[checkpoints.index(chains.n_steps)] = chains.energy
    return replace(state, chains=chains), {
        "acceptance": float(info.acceptance.mean()),
        "median_energy": float(chains.energy.median()),
    }


def run(
    config: Config, energy: Energy, x: Float[Tensor, " sample *event"], generator: torch.Generator
) -> PolishState:
    """All moves. `energies` is the curve, `chains.x` the polished samples."""
    state = init(config, energy, x)
    for _ in range(config.n_steps):
        state = step(config, energy, state, generator)[0]
    return state
