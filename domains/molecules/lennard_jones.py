"""Lennard-Jones clusters held together by a harmonic tether to their centre.

    u(x) = depth sum_{i<j} [(r_min/r_ij)^12 - 2 (r_min/r_ij)^6] + (oscillator/2) sum_i |x_i - x_centre|^2

in units of kT. Two conventions for `depth` are in use, and they are different densities:

    pairs = "ordered"    the sum runs over i != j, each pair counted twice: depth = 2 epsilon
                         (iDEM, 2024, arXiv 2402.06121; Adjoint Sampling; ASBS). The public LJ-13 reference
                         set follows this one: its virial is 36 = 3 (13 - 1).
    pairs = "unordered"  the sum runs over i < j: depth = epsilon (bgflow).

The energy does not change under translation; the density lives on clusters whose centre is zero.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from domains.molecules import _pair_kernels
from domains.molecules.pair_clusters import (
    pair_differences,
    random_ball,
    run_kernel,
    scatter_pair_forces,
)
from workbench.errors import InputError
from workbench.problem import Estimate, KnownAnswers

# Parallel tempering of independent code, kT = 1, ordered pairs, epsilon = r_min = oscillator = 1.
MEAN_ENERGY = {13: Estimate(-42.93, 0.02), 55: Estimate(-325.51, 0.10)}


class LennardJones:
    """`Energy` of `n_particles` Lennard-Jones particles in three dimensions, reduced units.

    epsilon      well depth in kT (per ordered or unordered pair, see `pairs`)
    r_min        distance of the pair minimum
    oscillator   spring constant of the tether to the centre, kT / length^2; must be positive, for
                 without it the cluster evaporates and the density cannot be normalised
    Raises `InputError` for fewer than two particles or a parameter that is not positive.
    """

    length_unit = "1"
    mean_free = True

    def __init__(
        self,
        n_particles: int = 13,
        *,
        epsilon: float = 1.0,
        r_min: float = 1.0,
        oscillator: float = 1.0,
        pairs: Literal["ordered", "unordered"] = "ordered",
    ) -> None:
        if n_particles < 2:
            raise InputError(
                f"a Lennard-Jones cluster needs at least 2 particles, not {n_particles}"
            )
        if min(epsilon, r_min, oscillator) <= 0:
            raise InputError(
                f"epsilon, r_min and oscillator must be positive, not {epsilon}, {r_min}, {oscillator}"
            )
        if pairs not in ("ordered", "unordered"):
            raise InputError(f'pairs must be "ordered" or "unordered", not "{pairs}"')
        self.depth = (2.0 if pairs == "ordered" else 1.0) * epsilon
        self.r_min = r_min
        self.oscillator = oscillator
        self.name = f"lj{n_particles}"
        self.event_shape = (n_particles, 3)
        self.degrees_of_freedom = 3 * (n_particles - 1)
        published = (self.depth, r_min, oscillator) == (2.0, 1.0, 1.0)
        self.known = KnownAnswers(
            mean_energy=MEAN_ENERGY.get(n_particles) if published else None,
            source="long parallel tempering, independent code" if published else "",
        )
        self.description = [
            f"{n_particles} Lennard-Jones particles, {pairs} pairs: depth {self.depth:g} kT per pair at "
            f"distance {r_min:g}, harmonic tether {oscillator:g} kT per squared length to the centre"
        ]

    def energy(self, x: Float[Tensor, "batch particle 3"]) -> Float[Tensor, "batch"]:
        return self.energy_and_force(x)[0]

    def energy_and_force(
        self, x: Float[Tensor, "batch particle 3"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch particle 3"]]:
        if x.device.type != "cpu":
            return self.energy_and_force_torch(x)
        return run_kernel(_pair_kernels.lennard_jones, x, (self.depth, self.r_min, self.oscillator))

    def energy_and_force_torch(
        self, x: Float[Tensor, "batch particle 3"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch particle 3"]]:
        """The same in tensor operations, for other devices and as a check of the kernel."""
        difference, i, j = pair_differences(x)
        inverse = 1.0 / (difference * difference).sum(-1)
        sixth = (self.r_min * self.r_min * inverse) ** 3
        from_centre = x - x.mean(dim=-2, keepdim=True)
        energy = self.depth * (sixth * (sixth - 2.0)).sum(-1)
        energy = energy + 0.5 * self.oscillator * (from_centre * from_centre).sum((-2, -1))
        slope = 12.0 * self.depth * (sixth * (sixth - 1.0)) * inverse
        force = scatter_pair_forces(slope[..., None] * difference, i, j, x.shape[-2])
        return energy, force - self.oscillator * from_centre

    def initial(self, n: int, generator: torch.Generator) -> Float[Tensor, "n particle 3"]:
        """Random clusters, uniform in a ball that gives each particle about one r_min^3; unrelaxed."""
        radius = self.r_min * self.event_shape[0] ** (1.0 / 3.0)
        return random_ball(n, *self.event_shape, radius, generator)


def icosahedral_cluster(n_shells: int, r_min: float = 1.0) -> Float[Tensor, "particle 3"]:
    """Mackay icosahedron with `n_shells` shells: 13, 55, 147, ... particles, neighbours `r_min` apart
    along the radius (Mackay, A dense non-crystallographic packing of equal spheres, 1962). float64."""
    golden = (1.0 + 5.0**0.5) / 2.0
    corners = torch.tensor(
        [
            corner
            for a in (-1.0, 1.0)
            for b in (-golden, golden)
            for corner in ((0.0, a, b), (a, b, 0.0), (b, 0.0, a))
        ],
        dtype=torch.float64,
    )
    corners = corners / corners[0].norm()
    edge = torch.cdist(corners, corners).fill_diagonal_(torch.inf).min()
    near = (torch.cdist(corners, corners) - edge).abs() < 1e-6
    points: dict[tuple[float, ...], Tensor] = {(0.0, 0.0, 0.0): torch.zeros(3, dtype=torch.float64)}
    for shell in range(1, n_shells + 1):
        for a, b, c in _faces(near):
            for p in range(shell + 1):
                for q in range(shell + 1 - p):
                    point = corners[a] * p + corners[b] * q + corners[c] * (shell - p - q)
                    key = tuple(round(float(v), 6) + 0.0 for v in point)
                    points[key] = point
    return r_min * torch.stack(list(points.values()))


def _faces(near: Tensor) -> list[tuple[int, int, int]]:
    n = len(near)
    return [
        (a, b, c)
        for a in range(n)
        for b in range(a + 1, n)
        for c in range(b + 1, n)
        if near[a, b] and near[b, c] and near[a, c]
    ]
