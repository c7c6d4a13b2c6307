"""The force field in plain torch operations: any device, any float dtype, differentiable.

The same terms and parameters as the compiled kernels (see `force_field_parameters`), batch first.
It serves tensors that are not on the CPU, gives gradients of any order, and is the second,
independent implementation that the kernels are tested against.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from domains.molecules.force_field_parameters import BornModel, ForceFieldParameters


class TorchForceField:
    """Energies in kJ/mol of positions in nm; parameters are moved once per device and dtype."""

    def __init__(self, parameters: ForceFieldParameters) -> None:
        self.parameters = parameters
        self._moved: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}

    def _tensors(self, x: Tensor) -> dict[str, Tensor]:
        key = (x.device, x.dtype)
        if key not in self._moved:
            p = self.parameters
            arrays = {k: v for k, v in vars(p).items() if isinstance(v, np.ndarray)}
            if p.born is not None:
                arrays["born_atoms"] = np.column_stack([p.born.atoms, p.born.surface_terms])
            self._moved[key] = {
                name: torch.as_tensor(
                    a, device=x.device, dtype=x.dtype if a.dtype.kind == "f" else None
                )
                for name, a in arrays.items()
            }
        return self._moved[key]

    def energy(self, x: Float[Tensor, "batch particle 3"]) -> Float[Tensor, "batch"]:
        """kJ/mol; differentiable in `x`."""
        t = self._tensors(x)
        total = _bonds(x, t) + _angles(x, t) + _torsions(x, t) + _pairs(x, t)
        if len(self.parameters.map_atoms):
            total = total + _cross_maps(x, t)
        if self.parameters.born is not None:
            total = total + _generalized_born(x, t["born_atoms"], self.parameters.born)
        return total

    def energy_and_force(
        self, x: Float[Tensor, "batch particle 3"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch particle 3"]]:
        """kJ/mol and kJ/mol/nm, without a graph."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            energy = self.energy(leaf)
            (gradient,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach(), -gradient


def _vectors(x: Tensor, atoms: Tensor, first: int, second: int) -> Tensor:
    return x.index_select(-2, atoms[:, first]) - x.index_select(-2, atoms[:, second])


def _bonds(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    r = _vectors(x, t["bond_atoms"], 0, 1).norm(dim=-1)
    length, k = t["bond_parameters"].unbind(-1)
    return (0.5 * k * (r - length) ** 2).sum(-1)


def _angles(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    a, c = _vectors(x, t["angle_atoms"], 0, 1), _vectors(x, t["angle_atoms"], 2, 1)
    theta = torch.atan2(torch.linalg.cross(a, c).norm(dim=-1), (a * c).sum(-1))
    rest, k = t["angle_parameters"].unbind(-1)
    return (0.5 * k * (theta - rest) ** 2).sum(-1)


def torsion_angles(
    x: Float[Tensor, "batch particle 3"], atoms: Tensor
) -> Float[Tensor, "batch torsion"]:
    """Dihedral angles in (-pi, pi] of `atoms [torsion, 4]`, zero when cis."""
    u, v, t = _vectors(x, atoms, 0, 1), _vectors(x, atoms, 2, 1), _vectors(x, atoms, 2, 3)
    m, n = torch.linalg.cross(u, v), torch.linalg.cross(v, t)
    return torch.atan2(v.norm(dim=-1) * (u * n).sum(-1), (m * n).sum(-1))


def _torsions(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    phi = torsion_angles(x, t["torsion_atoms"])
    parameters = t["torsion_parameters"]
    total = parameters[:, 0].expand_as(phi)
    for n in range(1, (parameters.shape[1] + 1) // 2):
        even, odd = parameters[:, 2 * n - 1], parameters[:, 2 * n]
        total = total + even * torch.cos(n * phi) + odd * torch.sin(n * phi)
    return total.sum(-1)


def _cross_maps(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    turn = 2 * torch.pi
    size = t["map_sizes"][t["map_which"]]
    step = turn / size.to(x.dtype)

    def cell_and_fraction(atoms: Tensor) -> tuple[Tensor, Tensor]:
        angle = torsion_angles(x, atoms)
        scaled = torch.where(angle < 0, angle + turn, angle) / step
        cell = torch.minimum(scaled.detach().long(), size - 1)
        return cell, scaled - cell

    row, u = cell_and_fraction(t["map_atoms"][:, :4])
    column, v = cell_and_fraction(t["map_atoms"][:, 4:])
    start = t["map_starts"][t["map_which"]]
    patch = t["map_coefficients"][start + row * size + column].unflatten(-1, (4, 4))
    powers = torch.arange(4, device=x.device)
    return torch.einsum(
        "...mij,...mi,...mj->...", patch, u[..., None] ** powers, v[..., None] ** powers
    )


def _pairs(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    inverse_square = 1 / _vectors(x, t["pair_atoms"], 0, 1).square().sum(-1)
    q, c12, c6 = t["pair_parameters"].unbind(-1)
    inverse_sixth = inverse_square**3
    return (q * inverse_square.sqrt() + (c12 * inverse_sixth - c6) * inverse_sixth).sum(-1)


def _descreening(r: Tensor, o: Tensor, s: Tensor, complete: bool) -> Tensor:
    """H(r; o, s) of `_force_field_born_kernels`."""
    upper, distance = r + s, (r - s).abs()
    lower = torch.maximum(o.expand_as(distance), distance)
    value = (
        1 / lower
        - 1 / upper
        + 0.25 * (r - s * s / r) * (upper**-2 - lower**-2)
        + 0.5 * torch.log(lower / upper) / r
    )
    if complete:
        value = value + torch.where(s - r > o, 2 * (1 / o - 1 / lower), torch.zeros_like(value))
    return torch.where(upper > o, value, torch.zeros_like(value))


def _generalized_born(x: Tensor, atoms: Tensor, model: BornModel) -> Tensor:
    n = len(atoms)
    charge, o, s, radius, surface = atoms.unbind(-1)
    first, second = torch.triu_indices(n, n, 1, device=x.device)
    r = (x.index_select(-2, first) - x.index_select(-2, second)).norm(dim=-1)
    integral = torch.zeros(x.shape[:-1], dtype=x.dtype, device=x.device)
    onto_first = _descreening(r, o[first], s[second], model.complete)
    onto_second = _descreening(r, o[second], s[first], model.complete)
    integral = integral.index_add(-1, first, onto_first).index_add(-1, second, onto_second)
    psi = 0.5 * o * integral
    alpha, beta, gamma = model.constants
    bend = torch.tanh(alpha * psi - beta * psi**2 + gamma * psi**3)
    born = 1 / (1 / o - bend / radius)
    own = surface / born**6 - 0.5 * model.strength * charge**2 / born
    product = born.index_select(-1, first) * born.index_select(-1, second)
    f = (r * r + product * torch.exp(-r * r / (4 * product))).sqrt()
    mutual = model.strength * charge[first] * charge[second] / f
    return own.sum(-1) - mutual.sum(-1)
