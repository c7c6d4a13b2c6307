"""What Lennard-Jones and double-well clusters share: shapes, the compiled call, random starts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.problem import centred


def run_kernel(
    kernel: Callable[..., None],
    x: Float[Tensor, "batch particle space"],
    parameters: tuple[float, ...],
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch particle space"]]:
    """Calls a compiled pair kernel on a CPU tensor; parameters take the tensor's precision.

    Raises `ValueError` for a dtype other than float32 and float64."""
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"energies take float32 or float64, not {x.dtype}")
    positions = x.detach().contiguous()
    energy = torch.empty(len(positions), dtype=x.dtype)
    force = torch.empty_like(positions)
    real = np.float32 if x.dtype == torch.float32 else np.float64
    kernel(positions.numpy(), *(real(p) for p in parameters), energy.numpy(), force.numpy())
    return energy, force


def pair_differences(
    x: Float[Tensor, "batch particle space"],
) -> tuple[Float[Tensor, "batch pair space"], Tensor, Tensor]:
    """x_i - x_j over unordered pairs i < j, with the pairs' indices i and j [pair]."""
    n = x.shape[-2]
    i, j = torch.triu_indices(n, n, offset=1, device=x.device)
    return x[:, i] - x[:, j], i, j


def scatter_pair_forces(
    pull: Float[Tensor, "batch pair space"], i: Tensor, j: Tensor, n_particles: int
) -> Float[Tensor, "batch particle space"]:
    """Adds each pair's force to its first particle and subtracts it from its second."""
    force = pull.new_zeros((len(pull), n_particles, pull.shape[-1]))
    return force.index_add(1, i, pull).index_add(1, j, -pull)


def random_ball(
    n: int, n_particles: int, n_space: int, radius: float, generator: torch.Generator
) -> Float[Tensor, "n particle space"]:
    """Independent uniform points in a ball of the given radius, centred; float64."""
    direction = torch.randn((n, n_particles, n_space), generator=generator, dtype=torch.float64)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    depth = torch.rand((n, n_particles, 1), generator=generator, dtype=torch.float64)
    return centred(radius * direction * depth ** (1.0 / n_space))
