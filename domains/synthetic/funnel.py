"""The funnel: a Gaussian whose logarithmic width is itself Gaussian. Normalised, closed form.

    x_0 ~ N(0, s^2),   x_i | x_0 ~ N(0, variance exp(x_0)),  i = 1 .. dim-1
    u = x_0^2/(2 s^2) + (dim-1) x_0/2 + exp(-x_0) |x_i|^2/2 + log(s) + dim log(2 pi)/2

Source: Neal, "Slice sampling" (2003), s = 3 ("hard"). The variant with s = 1 ("easy") is that of
Zhang and Chen, "Path Integral Sampler" (2022, arXiv 2111.15141); the two are easily confused.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.problem import Estimate, KnownAnswers


class Funnel:
    """An `Energy` and `ExactSampler` on R^dim. Raises `InputError` for dim < 2 or a width <= 0."""

    mean_free = False
    length_unit = "1"

    def __init__(self, dim: int, standard_deviation: float, name: str = "funnel") -> None:
        if dim < 2 or not standard_deviation > 0:
            raise InputError(
                f"The funnel was given dim {dim} and standard deviation {standard_deviation}: "
                "take dim >= 2 and a positive standard deviation."
            )
        self.name = name
        self.standard_deviation = standard_deviation
        self.event_shape: tuple[int, ...] = (dim,)
        self.degrees_of_freedom = dim
        self._log_normaliser = math.log(standard_deviation) + 0.5 * dim * math.log(2 * math.pi)
        self.known = KnownAnswers(
            log_partition=0.0,
            mean_energy=Estimate(0.5 * dim + self._log_normaliser),
            source="normalised by construction; mean energy dim/2 + log s + dim log(2 pi)/2",
        )

    @classmethod
    def easy(cls) -> Funnel:
        """Ten dimensions, standard deviation 1 of x_0."""
        return cls(10, 1.0, name="funnel-easy")

    @classmethod
    def hard(cls) -> Funnel:
        """Ten dimensions, standard deviation 3 of x_0."""
        return cls(10, 3.0, name="funnel-hard")

    def energy(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """-log p(x) [batch], in kT."""
        return self.energy_and_force(x)[0]

    def energy_and_force(
        self, x: Float[Tensor, "batch dim"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch dim"]]:
        """-log p(x) [batch] in kT and grad log p(x) [batch, dim]."""
        if x.ndim != 2 or x.shape[1:] != self.event_shape:
            raise InputError(
                f"{self.name} takes points [batch, {self.event_shape[0]}], not {tuple(x.shape)}."
            )
        x = x.detach()
        neck, rest = x[:, 0], x[:, 1:]
        n_rest, precision = rest.shape[1], torch.exp(-neck)
        stretched = 0.5 * precision * rest.square().sum(1)
        scaled = neck / self.standard_deviation**2
        energy = 0.5 * scaled * neck + 0.5 * n_rest * neck + stretched + self._log_normaliser
        force = torch.empty_like(x)
        force[:, 0] = -scaled - 0.5 * n_rest + stretched
        force[:, 1:] = -precision[:, None] * rest
        return energy, force

    def exact_samples(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        """`n` independent draws, float32, on the generator's device."""
        x = torch.randn((n, *self.event_shape), generator=generator, device=generator.device)
        x[:, 0] *= self.standard_deviation
        x[:, 1:] *= torch.exp(0.5 * x[:, :1])
        return x

    def initial(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        """`n` draws: x_0 uniform over two standard deviations either way, x_i of width exp(s/2)."""
        x = torch.randn((n, *self.event_shape), generator=generator, device=generator.device)
        spread = torch.rand(n, generator=generator, device=generator.device)
        x[:, 0] = 2 * self.standard_deviation * (2 * spread - 1)
        x[:, 1:] *= math.exp(0.5 * self.standard_deviation)
        return x
