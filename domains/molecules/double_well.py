"""DW-4: particles in the plane whose pair distances sit in a double well.

    u(x) = sum_{i<j} a (d_ij - d_0)^4 + b (d_ij - d_0)^2 + c,   a = 0.9, b = -4, c = 0, d_0 = 4

over unordered pairs, kT = 1 (Koehler, Klein and Noe, Equivariant flows, 2020, arXiv 2006.02425; the
constants are those of iDEM, arXiv 2402.06121). The energy does not change under translation; the
density lives on configurations whose centre is zero.
"""

from __future__ import annotations

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


class DoubleWell:
    """`Energy` of `n_particles` double-well particles in two dimensions, reduced units.

    quartic, quadratic, constant, offset are a, b, c and d_0 of the module's equation.
    Raises `InputError` for fewer than two particles or a quartic term that is not positive.
    """

    length_unit = "1"
    mean_free = True

    def __init__(
        self,
        n_particles: int = 4,
        *,
        quartic: float = 0.9,
        quadratic: float = -4.0,
        constant: float = 0.0,
        offset: float = 4.0,
    ) -> None:
        if n_particles < 2:
            raise InputError(f"a double-well system needs at least 2 particles, not {n_particles}")
        if quartic <= 0:
            raise InputError(f"the quartic coefficient must be positive, not {quartic}")
        self.parameters = (quartic, quadratic, constant, offset)
        self.name = f"dw{n_particles}"
        self.event_shape = (n_particles, 2)
        self.degrees_of_freedom = 2 * (n_particles - 1)
        published = n_particles == 4 and self.parameters == (0.9, -4.0, 0.0, 4.0)
        self.known = KnownAnswers(
            mean_energy=Estimate(-22.541, 0.001) if published else None,
            source="long parallel tempering, independent code" if published else "",
        )
        self.description = [
            f"{n_particles} particles in the plane, unordered pairs, u = {quartic:g} s^4 + {quadratic:g} s^2"
            f" + {constant:g} with s = distance - {offset:g}"
        ]

    def energy(self, x: Float[Tensor, "batch particle 2"]) -> Float[Tensor, "batch"]:
        return self.energy_and_force(x)[0]

    def energy_and_force(
        self, x: Float[Tensor, "batch particle 2"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch particle 2"]]:
        if x.device.type != "cpu":
            return self.energy_and_force_torch(x)
        return run_kernel(_pair_kernels.double_well, x, self.parameters)

    def energy_and_force_torch(
        self, x: Float[Tensor, "batch particle 2"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch particle 2"]]:
        """The same in tensor operations, for other devices and as a check of the kernel."""
        quartic, quadratic, constant, offset = self.parameters
        difference, i, j = pair_differences(x)
        distance = difference.norm(dim=-1)
        shift = distance - offset
        squared = shift * shift
        energy = ((quartic * squared + quadratic) * squared + constant).sum(-1)
        slope = -(4.0 * quartic * squared + 2.0 * quadratic) * shift / distance
        return energy, scatter_pair_forces(slope[..., None] * difference, i, j, x.shape[-2])

    def initial(self, n: int, generator: torch.Generator) -> Float[Tensor, "n particle 2"]:
        """Random points, uniform in a disc whose radius is the well offset; unrelaxed."""
        return random_ball(n, *self.event_shape, abs(self.parameters[3]), generator)
