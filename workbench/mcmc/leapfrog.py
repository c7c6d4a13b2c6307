"""One leapfrog trajectory per chain and its Metropolis choice, from draws that are passed in.

`hamiltonian` explains the move. Two forms of the same arithmetic: compiled on the CPU, where tensor
operations on small batches cost more than the energy itself, and tensor operations elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.mcmc import _kernels
from workbench.problem import centred


class Potential(Protocol):
    """What a trajectory asks of an `Energy`."""

    mean_free: bool

    def energy_and_force(self, x: Tensor, /) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, eq=False)
class Place:
    """Where chains are: x [chain, *event], energy [chain] and force [chain, *event], without beta."""

    x: Float[Tensor, " chain *event"]
    energy: Float[Tensor, " chain"]
    force: Float[Tensor, " chain *event"]


@dataclass(frozen=True, eq=False)
class Drive:
    """What drives the chains of one move.

    step          [chain]: leapfrog step
    beta          [chain]: inverse temperature
    inverse_mass  [1] or [row]: by first axis of the event
    noise         [chain, *event]: standard normal draws
    draw          [chain]: exponential draws
    """

    step: Float[Tensor, " chain"]
    beta: Float[Tensor, " chain"]
    inverse_mass: Float[Tensor, " row"]
    noise: Float[Tensor, " chain *event"]
    draw: Float[Tensor, " chain"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where the chains are after the choice, the acceptance probability [chain], float64, and how
    many proposals were refused because their change of H was not finite."""

    place: Place
    probability: Float[Tensor, " chain"]
    n_nonfinite: Int[Tensor, ""]


def trajectory(energy: Potential, place: Place, drive: Drive, n_leapfrog: int) -> Outcome:
    """`n_leapfrog` steps and the choice; compiled where the tensors are on the CPU."""
    if place.x.device.type == "cpu":
        return trajectory_compiled(energy, place, drive, n_leapfrog)
    return trajectory_torch(energy, place, drive, n_leapfrog)


def trajectory_compiled(energy: Potential, place: Place, drive: Drive, n_leapfrog: int) -> Outcome:
    """CPU tensors only."""
    shape, n_chains = place.x.shape, len(place.x)
    equal_masses = len(drive.inverse_mass) == 1
    width = shape[-1] if energy.mean_free else 0
    per_row = place.x[0].numel() // len(drive.inverse_mass)
    inverse_mass = np.repeat(drive.inverse_mass.numpy(), per_row)
    step, beta = drive.step.numpy(), drive.beta.numpy()

    def flat(tensor: Tensor) -> Tensor:
        return tensor.reshape(n_chains, -1).contiguous()

    old = (flat(place.x).numpy(), place.energy.numpy(), flat(place.force).numpy())
    velocity = flat(drive.noise.clone()).numpy()
    x, kinetic = _kernels.open_trajectory(
        old[0], old[2], velocity, step, beta, inverse_mass, width if equal_masses else 0
    )
    proposal = torch.from_numpy(x).view(shape)
    for left in reversed(range(n_leapfrog)):
        u, force = energy.energy_and_force(proposal)
        if left:
            _kernels.kick_and_drift(x, velocity, flat(force).numpy(), step, beta, inverse_mass)
    x, u, force, probability, n_nonfinite = _kernels.close_trajectory(
        old,
        (x, u.numpy(), flat(force).numpy()),
        velocity,
        kinetic,
        drive.draw.numpy(),
        step,
        beta,
        inverse_mass,
        width,
    )
    moved = Place(
        torch.from_numpy(x).view(shape), torch.from_numpy(u), torch.from_numpy(force).view(shape)
    )
    return Outcome(moved, torch.from_numpy(probability), torch.tensor(n_nonfinite))


def trajectory_torch(energy: Potential, place: Place, drive: Drive, n_leapfrog: int) -> Outcome:
    """Tensors on any device."""
    shape = place.x.shape
    column = (-1, *[1] * (len(shape) - 1))
    masses = drive.inverse_mass
    inverse_mass = masses if len(masses) == 1 else masses.view(-1, *[1] * (len(shape) - 2))
    noise = drive.noise
    if energy.mean_free and len(masses) == 1:
        noise = centred(noise)
    step = drive.step.view(column)
    kick = (step * drive.beta.view(column) * inverse_mass).expand(shape)
    velocity = noise * inverse_mass.sqrt() + 0.5 * kick * place.force
    x = place.x
    for left in reversed(range(n_leapfrog)):
        x = torch.addcmul(x, step, velocity)
        u, force = energy.energy_and_force(x)
        velocity = torch.addcmul(velocity, force, kick, value=1.0 if left else 0.5)
    kinetic = (velocity.square() / inverse_mass - noise.square()).flatten(1).sum(1)
    change = (drive.beta * (u - place.energy) + 0.5 * kinetic).double()
    finite = torch.isfinite(change)
    # An exponential draw exceeds dH with probability min(1, exp(-dH)); NaN compares as refused.
    accept = finite & (drive.draw > change)
    rows = accept.view(column)
    moved = Place(
        torch.where(rows, centred(x) if energy.mean_free else x, place.x),
        torch.where(accept, u, place.energy),
        torch.where(rows, force, place.force),
    )
    probability = torch.where(finite, torch.exp(-change.clamp(min=0)), 0.0)
    return Outcome(moved, probability, (~finite).sum())
