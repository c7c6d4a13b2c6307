"""The learned score of a noised density, for vectors and for particle systems.

    s(x, t) = -r x / (h + l^2)  +  [ sqrt(r) net(x / sqrt(h + l^2), t, v) + g v ] / sqrt(h + d^2)
    v = bound( sqrt(h + d^2) F(x) ),   r = h / (h + d^2),   g = 1 - r + r a(t)

with h(t) the noise variance, l the length scale of the target and d its fine scale. The first term is
the score of a Gaussian of that scale; the net starts at zero. v is the target's own force F = -grad u
in units of the noise, its norm softly held below `FORCE_REACH` per coordinate: as h -> 0 the score *is*
the force, which a net alone would have to relearn where it is sharpest (the Langevin parametrisation
of path-integral samplers, Zhang and Chen, 2022, arXiv 2111.15141, brought to iDEM). The network of a
particle system sees v too. It costs one energy evaluation per network evaluation, counted. Without
the force channel v = 0 and r = 1.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.diffusion.options import NetworkConfig
from workbench.diffusion.schedule import GeometricSchedule
from workbench.nets.egnn import EGNN
from workbench.nets.embedding import sinusoidal
from workbench.nets.mlp import TimeMLP
from workbench.problem import Energy, centred

FORCE_REACH = 5.0
N_TIME = 32


class _Force(torch.autograd.Function):
    """An energy's force as an operation with a derivative: the product of the Hessian with a vector, by
    central differences of the force (the compiled kernels have no graph)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, energy: Energy, step: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.energy, ctx.step = energy, step
        return energy.energy_and_force(x)[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        vector = gradients[0]
        size = vector.flatten(1).norm(dim=1).clamp_min(1e-300)
        size = size.view(-1, *[1] * (x.dim() - 1))
        shift = ctx.step * vector / size
        ahead = ctx.energy.energy_and_force(x + shift)[1]
        behind = ctx.energy.energy_and_force(x - shift)[1]
        return size * (ahead - behind) / (2.0 * ctx.step), None, None


class ScoreModel(nn.Module):
    """Score [batch, *event] in 1/length at positions [batch, *event] and times [batch] in [0, 1].

    Particle systems (event [particle, space]) get an `EGNN`, vectors a `TimeMLP`."""

    def __init__(
        self,
        energy: Energy,
        schedule: GeometricSchedule,
        config: NetworkConfig,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.energy = energy
        self.schedule = schedule
        self.config = config
        self.particles = len(energy.event_shape) == 2
        self.net: nn.Module
        if self.particles:
            self.net = EGNN(energy.event_shape[0], config.width, config.layers, labels)
        else:
            dim = energy.event_shape[0]
            self.net = TimeMLP(dim, config.width, config.layers, dim)
        self.gate = nn.Sequential(nn.Linear(N_TIME, 32), nn.SiLU(), nn.Linear(32, 1))
        nn.init.zeros_(self.gate[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.gate[2].bias)  # type: ignore[arg-type]

    def forward(
        self, x: Float[Tensor, "batch *event"], t: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch *event"]:
        if self.energy.mean_free:
            x = centred(x)
        ones = [1] * (x.dim() - 1)
        variance = self.schedule.variance(t)
        total = (variance + self.config.length**2).view(-1, *ones)
        fine = (variance + self.config.fine_length**2).view(-1, *ones)
        force, share = torch.zeros_like(x), torch.ones_like(fine)
        if self.config.use_force:
            force = self._bounded_force(x, fine).to(x.dtype)
            share = variance.view(-1, *ones) / fine
        inner = x * total.rsqrt()
        net = self.net(inner, t, force) if self.particles else self.net(inner, t)
        gate = 1.0 - share + share * self.gate(sinusoidal(t, N_TIME, 16.0)).view(-1, *ones)
        return (share.sqrt() * net + gate * force) * fine.rsqrt() - share * x / total

    def _bounded_force(self, x: Tensor, fine: Tensor) -> Tensor:
        """The force times sqrt(h + d^2), its norm per particle softly held below a bound. Computed in
        float64: the force of clashing particles overflows in float32."""
        force: Tensor = _Force.apply(x.double(), self.energy, 1e-5 * self.config.length)
        force = force * fine.double().sqrt()
        bound = FORCE_REACH**2 * self.energy.event_shape[-1]
        force = force * (1.0 + force.square().sum(-1, keepdim=True) / bound).rsqrt()
        # A bound per particle does not keep the sum of forces at zero.
        return centred(force) if self.energy.mean_free else force
