"""Local minimisation of a batch of configurations: min u(x), each from its own start.

FIRE: damped molecular dynamics with unit masses whose velocity is turned towards the force,

    v <- (1 - a) v + a |v| F / |F|,

the time step growing while v.F > 0, and velocity set to zero and the step cut where v.F < 0. Every
configuration has its own step and its own a. Displacements in one step are cut to `max_step` per
row, which is what lets a start with clashes (forces of 1e10 and more) come apart.

Bitzek, Koskinen, Gaehler, Moseler, Gumbsch, "Structural relaxation made simple" (2006). Different
from it: the cut of displacements, and the step is taken by semi-implicit Euler.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.errors import InputError
from workbench.mcmc.hamiltonian import refuse_bad_starts
from workbench.problem import Energy, project

# Constants of the paper: steps before the time step grows, its growth and cut, mixing and its decay.
N_DELAY, GROW, CUT, MIX, MIX_DECAY = 5, 1.1, 0.5, 0.1, 0.99


@dataclass(frozen=True)
class Config:
    """n_steps    greatest number of force evaluations of each configuration
    time_step  first time step (unit masses, kT); it grows up to ten times that
    max_step   farthest any row of a configuration moves in one step, in the length unit
    tolerance  stop when no component of the force exceeds it, kT per length
    """

    n_steps: int = 500
    time_step: float = 0.01
    max_step: float = 0.1
    tolerance: float = 1e-3


@dataclass(frozen=True, eq=False)
class Relaxed:
    """x [batch, *event] at the lowest energy seen, its energy [batch], and whether the tolerance
    was met [batch]."""

    x: Float[Tensor, " batch *event"]
    energy: Float[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]


def relax(config: Config, energy: Energy, x: Float[Tensor, " batch *event"]) -> Relaxed:
    """Follows the force from `x` to (near) the next local minimum. Mean-free energies stay centred.

    Energies never end above where they started. Raises `InputError` for a start without finite
    energy and force, or a config that cannot be used.
    """
    if min(config.n_steps, config.time_step, config.max_step, config.tolerance) <= 0:
        raise InputError(f"relaxation needs positive settings, not {config}")
    x = project(energy, x)
    u, force = energy.energy_and_force(x)
    refuse_bad_starts(u, force)
    best_x, best_u = x, u
    rows = (-1, *[1] * (x.ndim - 1))
    velocity = torch.zeros_like(x)
    time_step = torch.full_like(u, config.time_step)
    mix, n_downhill = torch.full_like(u, MIX), torch.zeros_like(u)
    converged = _largest(force) < config.tolerance
    for _ in range(config.n_steps):
        if bool(converged.all()):
            break
        downhill = (velocity * force).flatten(1).sum(1) > 0
        n_downhill = torch.where(downhill, n_downhill + 1, 0.0)
        growing = n_downhill > N_DELAY
        grown = (time_step * GROW).clamp(max=10 * config.time_step)
        time_step = torch.where(growing, grown, time_step)
        time_step = torch.where(downhill, time_step, time_step * CUT)
        mix = torch.where(growing, mix * MIX_DECAY, torch.where(downhill, mix, MIX))
        velocity = torch.where(downhill.view(rows), velocity, 0.0)
        step = time_step.view(rows)
        velocity = velocity + step * force
        turned = force * (_norm(velocity) / _norm(force).clamp(min=1e-30)).view(rows)
        velocity = torch.lerp(velocity, turned, mix.view(rows))
        move = step * velocity
        # The longest move of any row sets the cut, so that directions are kept.
        longest = (move if x.ndim > 2 else move[..., None]).norm(dim=-1).amax(dim=1)
        cut = (config.max_step / longest.clamp(min=1e-30)).clamp(max=1.0).view(rows)
        velocity = velocity * cut
        x = x + torch.where(converged.view(rows), 0.0, move * cut)
        u, force = energy.energy_and_force(x)
        lower = u < best_u
        best_x, best_u = torch.where(lower.view(rows), x, best_x), torch.where(lower, u, best_u)
        converged = converged | (_largest(force) < config.tolerance)
    return Relaxed(project(energy, best_x), best_u, converged)


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def _largest(force: Tensor) -> Tensor:
    return force.flatten(1).abs().amax(dim=1)
