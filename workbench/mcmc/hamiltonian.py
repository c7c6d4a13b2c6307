"""The Metropolis-corrected leapfrog move that MALA, HMC, tempering and SMC share.

Each chain c samples exp(-beta_c u(x)). With velocities v ~ N(0, M^-1) and total energy
H = beta u(x) + v.M v / 2, leapfrog steps of size e

    v <- v + (e/2) beta M^-1 F(x),   x <- x + e v,   v <- v + (e/2) beta M^-1 F(x)

keep volume and turn back under v -> -v, so accepting with probability min(1, exp(-dH)) leaves the
law unchanged. Chains are rows of one batch; a rung of tempering is a chain with its own beta.

Mean-free energies: u is invariant to translation. With equal masses the velocity of the centre is
drawn as zero. With unequal masses the centre is let free and x is moved back to centre zero after
the move: the extended law is flat in the centre, which is a linear coordinate, so the law of what
is left is exp(-u) on centred configurations, whatever the masses.

Step sizes follow a Robbins-Monro recursion towards a target acceptance, one per group of chains,
during warm-up only; afterwards the averaged iterate is frozen.

Duane, Kennedy, Pendleton, Roweth, "Hybrid Monte Carlo" (1987); Neal, "MCMC using Hamiltonian
dynamics" (2011, arXiv 1206.1901); averaging as in Hoffman and Gelman, "The No-U-Turn Sampler"
(2011, arXiv 1111.4246).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.mcmc.leapfrog import Drive, Place, trajectory
from workbench.mcmc.observation import Observation
from workbench.problem import Energy, project

# Weight of a new iterate in the averaged log step after t steps: t^-0.75.
AVERAGING_POWER = -0.75


@runtime_checkable
class MoveConfig(Protocol):
    """What the move reads from the config of MALA or HMC."""

    @property
    def step_size(self) -> float: ...
    @property
    def target_acceptance(self) -> float: ...
    @property
    def n_warmup(self) -> int: ...
    @property
    def inverse_mass(self) -> tuple[float, ...]: ...

    def leapfrog_range(self) -> tuple[int, int]:
        """Least and greatest number of leapfrog steps of one move."""
        ...


@dataclass(frozen=True, eq=False)
class ChainState:
    """Chains between two moves.

    x              [chain, *event]
    energy, force  [chain], [chain, *event]: u and -grad u at x, without beta
    beta           [chain]: inverse temperature, 1 = the target
    group          [chain]: index of the step size the chain uses
    log_step       [group], float64: log step size under adaptation
    log_step_mean  [group], float64: its average, in use after warm-up
    n_steps        moves made
    """

    x: Float[Tensor, " chain *event"]
    energy: Float[Tensor, " chain"]
    force: Float[Tensor, " chain *event"]
    beta: Float[Tensor, " chain"]
    group: Int[Tensor, " chain"]
    log_step: Float[Tensor, " group"]
    log_step_mean: Float[Tensor, " group"]
    n_steps: int


@dataclass(frozen=True, eq=False)
class MoveInfo:
    """acceptance [group]: mean acceptance probability of the move. n_nonfinite: proposals refused
    because their energy or velocity was not finite."""

    acceptance: Float[Tensor, " group"]
    n_nonfinite: Int[Tensor, ""]


def start(
    config: MoveConfig,
    energy: Energy,
    x: Float[Tensor, " chain *event"],
    beta: Float[Tensor, " chain"] | None = None,
    group: Int[Tensor, " chain"] | None = None,
) -> ChainState:
    """Chains at `x`, at inverse temperatures `beta` (default 1), with one step size per group.

    Raises `InputError` where the energy or force at a start is not finite, and for a config that
    cannot be used.
    """
    _check(config, energy)
    x = project(energy, x).contiguous()
    u, force = energy.energy_and_force(x)
    refuse_bad_starts(u, force)
    beta = torch.ones_like(u) if beta is None else beta.to(u)
    group = torch.zeros(len(x), dtype=torch.int64, device=x.device) if group is None else group
    n_groups = int(group.max()) + 1
    log_step = torch.full((n_groups,), config.step_size, dtype=torch.float64, device=x.device).log()
    return ChainState(x, u, force, beta, group, log_step, log_step.clone(), 0)


def step(
    config: MoveConfig, energy: Energy, state: ChainState, generator: torch.Generator
) -> tuple[ChainState, MoveInfo]:
    """One move of every chain, and one step of adaptation while in warm-up."""
    state, info = move(config, energy, state, generator)
    t = state.n_steps
    if t > config.n_warmup:
        return state, info
    log_step = state.log_step + (info.acceptance - config.target_acceptance) / t**0.5
    mean = torch.lerp(state.log_step_mean, log_step, t**AVERAGING_POWER)
    log_step = mean if t == config.n_warmup else log_step
    return replace(state, log_step=log_step, log_step_mean=mean), info


def move(
    config: MoveConfig, energy: Energy, state: ChainState, generator: torch.Generator
) -> tuple[ChainState, MoveInfo]:
    """One Metropolis-corrected trajectory of every chain, with the step sizes as they are."""
    low, high = config.leapfrog_range()
    n_leapfrog = low
    if high > low:
        n_leapfrog = int(torch.randint(low, high + 1, (), generator=generator))
    drive = Drive(
        step=state.log_step.exp().to(state.x)[state.group],
        beta=state.beta,
        inverse_mass=torch.tensor(config.inverse_mass, dtype=state.x.dtype, device=state.x.device),
        noise=torch.empty_like(state.x).normal_(generator=generator),
        draw=torch.empty_like(state.beta, dtype=torch.float64).exponential_(generator=generator),
    )
    place = Place(state.x, state.energy, state.force)
    outcome = trajectory(energy, place, drive, n_leapfrog)
    moved = replace(
        state,
        x=outcome.place.x,
        energy=outcome.place.energy,
        force=outcome.place.force,
        n_steps=state.n_steps + 1,
    )
    return moved, MoveInfo(_group_mean(state, outcome.probability), outcome.n_nonfinite)


def observe(state: ChainState) -> Observation:
    """All chains, each independent of the others."""
    ladder = torch.arange(len(state.x), device=state.x.device)
    return Observation(state.x, state.energy, state.beta.double(), ladder)


def _group_mean(state: ChainState, values: Tensor) -> Tensor:
    zeros = torch.zeros_like(state.log_step)
    sums = zeros.index_add(0, state.group, values)
    return sums / zeros.index_add(0, state.group, torch.ones_like(values))


def refuse_bad_starts(u: Float[Tensor, " chain"], force: Float[Tensor, " chain *event"]) -> None:
    """Raises `InputError` where a chain would start from an energy or force that is not finite."""
    bad = ~(torch.isfinite(u) & torch.isfinite(force.flatten(1)).all(dim=1))
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise InputError(
            f"{int(bad.sum())} of {len(u)} starts have no finite energy and force (first: chain "
            f"{first}, energy {float(u[first])}): relax them first, or start them in float64"
        )


def _check(config: MoveConfig, energy: Energy) -> None:
    low, high = config.leapfrog_range()
    masses = config.inverse_mass
    if not config.step_size > 0:
        raise InputError(f"step_size is {config.step_size}: give a positive step")
    if not 0 < config.target_acceptance < 1:
        raise InputError(
            f"target_acceptance is {config.target_acceptance}: give a number between 0 and 1"
        )
    if not 1 <= low <= high:
        raise InputError(f"n_leapfrog gives {low} to {high} steps: give at least one")
    if len(masses) not in (1, energy.event_shape[0]) or min(masses) <= 0:
        raise InputError(
            f"inverse_mass has {len(masses)} values, the least {min(masses)}: give one positive "
            f"value, or one for each of the {energy.event_shape[0]} rows of a configuration"
        )
