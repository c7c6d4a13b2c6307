"""The many-well: independent planar double wells, 2^(dim/2) modes of unequal weight.

    u(x) = sum_pairs a^4 - 6 a^2 - a/2 + b^2/2,   (a, b) = (x_{2i}, x_{2i+1})

Source: Midgley et al., "Flow Annealed Importance Sampling Bootstrap" (2022, arXiv 2208.01893),
after Noé et al. (2019). Z of one pair = 11784.50927 sqrt(2 pi), so log Z = 164.696 in 32
dimensions. The modes are products (65,536 of them in 32 dimensions) and are not listed.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.problem import Estimate, KnownAnswers

# Outside, exp(-u) is below 1e-120 of its top; 2^18 cells interpolate the cumulative to 1e-9.
_EDGE, _N_CELLS = 4.5, 2**18


def _well(a: Tensor) -> Tensor:
    square = a * a
    return square * (square - 6) - 0.5 * a


class ManyWell:
    """An `Energy` and `ExactSampler` on R^dim, dim even. Raises `InputError` otherwise."""

    mean_free = False
    length_unit = "1"

    def __init__(self, dim: int = 32) -> None:
        if dim < 2 or dim % 2:
            raise InputError(
                f"The many-well was given dim {dim}: take an even number of at least 2."
            )
        self.name = f"many-well-{dim}"
        self.event_shape: tuple[int, ...] = (dim,)
        self.degrees_of_freedom = dim
        self.known = self._known(dim // 2)

    def energy(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """u(x) [batch], in kT."""
        wells, springs = self._split(x)
        return (_well(wells) + 0.5 * springs * springs).sum(1)

    def energy_and_force(
        self, x: Float[Tensor, "batch dim"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch dim"]]:
        """u(x) [batch] in kT and -grad u(x) [batch, dim]."""
        wells, springs = self._split(x)
        force = torch.empty_like(x)
        force[:, 0::2] = wells * (12 - 4 * wells * wells) + 0.5
        force[:, 1::2] = -springs
        return (_well(wells) + 0.5 * springs * springs).sum(1), force

    def exact_samples(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        """`n` independent draws, float32: wells through the inverse of their cumulative
        distribution, tabulated on 2^18 cells of [-4.5, 4.5] and interpolated linearly."""
        device = generator.device
        x = torch.randn((n, *self.event_shape), generator=generator, device=device)
        edges = torch.linspace(-_EDGE, _EDGE, _N_CELLS + 1, dtype=torch.float64, device=device)
        cumulative = torch.exp(-_well(0.5 * (edges[1:] + edges[:-1]))).cumsum(0)
        cumulative = torch.cat([cumulative.new_zeros(1), cumulative / cumulative[-1]])
        shape = (n, self.event_shape[0] // 2)
        draws = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
        cell = torch.searchsorted(cumulative, draws, right=True) - 1
        step = cumulative[cell + 1] - cumulative[cell]
        x[:, 0::2] = (edges[cell] + (draws - cumulative[cell]) / step * (edges[1] - edges[0])).to(x)
        return x

    def initial(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        """`n` draws: wells uniform in [-3, 3], springs of standard deviation 2."""
        x = torch.randn((n, *self.event_shape), generator=generator, device=generator.device)
        wells = torch.rand((n, x.shape[1] // 2), generator=generator, device=generator.device)
        x[:, 0::2], x[:, 1::2] = 6 * wells - 3, 2 * x[:, 1::2]
        return x

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim != 2 or x.shape[1:] != self.event_shape:
            raise InputError(
                f"{self.name} takes points [batch, {self.event_shape[0]}], not {tuple(x.shape)}."
            )
        return x.detach()[:, 0::2], x.detach()[:, 1::2]

    @staticmethod
    def _known(n_pairs: int) -> KnownAnswers:
        a = torch.linspace(-_EDGE, _EDGE, 20_001, dtype=torch.float64)
        density = torch.exp(-_well(a))
        mass = density.sum()
        log_z_well = math.log(float(mass) * float(a[1] - a[0]))
        mean_well = float((density * _well(a)).sum() / mass)
        return KnownAnswers(
            log_partition=n_pairs * (log_z_well + 0.5 * math.log(2 * math.pi)),
            mean_energy=Estimate(n_pairs * (mean_well + 0.5)),
            source="trapezoid rule on 20,001 points of [-4.5, 4.5] for each well, to 1e-12",
        )
