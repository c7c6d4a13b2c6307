"""The first stages of ALI-CFM: an interpolant from the first to the last snapshot, learned in a game.

    G(x0, x1, s) = (1-s) x0 + s x1 + s (1-s) f(x0, x1, s)

1. f is regressed on chains of cells through all snapshots. 2. A discriminator D(x, s) tells G at the time of
an interior snapshot from that snapshot, and G learns to pass for it under a regulariser. Flow matching on the
frozen G with target dG/ds is the third stage (`training`). Kviman, Tamogashev et al., Adversarially learned
interpolants, 2025, arXiv 2510.01159.

Differs from the published code: every row has an interior time of its own, drawn anew; G is averaged over
steps; dG/ds is carried forward through the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from workbench.bridge.networks import waves_for
from workbench.bridge.objectives.adversarial import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from workbench.bridge.objectives.regularisers import curvature, distance_to_reference
from workbench.bridge.options import AdversarialConfig as Config
from workbench.bridge.problem import BridgeProblem
from workbench.errors import InputError
from workbench.runs.folder import RunFolder
from workbench.seeds import weights_from
from workbench.training.fit import fit
from workbench.training.optimise import Ema, apply_gradients

_LARGEST_GRADIENT = 10.0


class _Perceptron(nn.Module):
    """Two hidden ELU layers on positions and s in [0, 1], with octaves of sines of s."""

    def __init__(self, n_in: int, n_out: int, width: int, n_waves: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_in + 1 + 2 * n_waves, width),
            nn.ELU(),
            nn.Linear(width, width),
            nn.ELU(),
            nn.Linear(width, n_out),
        )
        self.rates: Tensor
        self.register_buffer("rates", torch.pi * 2.0 ** torch.arange(n_waves))

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        angle = s[:, None] * self.rates
        return self.layers(torch.cat([x, s[:, None], angle.sin(), angle.cos()], dim=1))

    def with_rate(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """The output and its derivative in s, carried through the layers side by side."""
        angle = s[:, None] * self.rates
        sine, cosine = angle.sin(), angle.cos()
        out = torch.cat([x, s[:, None], sine, cosine], dim=1)
        parts = torch.zeros_like(x), torch.ones_like(s)[:, None], self.rates * cosine
        rate = torch.cat([*parts, -self.rates * sine], dim=1)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                out, rate = layer(out), linear(rate, layer.weight)
            else:  # the slope of ELU is 1 above zero and exp below
                out, rate = layer(out), rate * out.clamp(max=0.0).exp()
        return out, rate


class AdversarialInterpolant(nn.Module):
    """G on frame positions [batch, feature] and s [batch] in [0, 1], the share of the whole time span."""

    def __init__(self, dim: int, width: int, n_waves: int = 0) -> None:
        super().__init__()
        self.bend = _Perceptron(2 * dim, dim, width, n_waves)

    def forward(
        self,
        x0: Float[Tensor, "batch feature"],
        x1: Float[Tensor, "batch feature"],
        s: Float[Tensor, "batch"],
    ) -> Float[Tensor, "batch feature"]:
        share = s[:, None]
        bend = self.bend(torch.cat([x0, x1], dim=1), s)
        return torch.lerp(x0, x1, share) + share * (1.0 - share) * bend

    @torch.no_grad()
    def path(
        self,
        x0: Float[Tensor, "batch feature"],
        x1: Float[Tensor, "batch feature"],
        s: Float[Tensor, "batch"],
    ) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch feature"]]:
        """Position and velocity per unit of s."""
        share = s[:, None]
        bend, rate = self.bend.with_rate(torch.cat([x0, x1], dim=1), s)
        bent = share * (1.0 - share)
        velocity = x1 - x0 + bent * rate + (1.0 - 2.0 * share) * bend
        return torch.lerp(x0, x1, share) + bent * bend, velocity


@dataclass
class State:
    """Both players, what averages the first, and the count of steps over both stages."""

    interpolant: AdversarialInterpolant
    discriminator: nn.Module
    average: Ema
    optimisers: list[torch.optim.Optimizer]
    generator: torch.Generator
    steps_done: int = 0


@dataclass(frozen=True)
class _Rows:
    """First, last and interior cells of as many chains; `reference` is the chain at s, `real` cells of the
    snapshots at the times s."""

    x0: Tensor
    x1: Tensor
    s: Tensor
    reference: Tensor
    real: Tensor


def train(
    config: Config,
    problem: BridgeProblem,
    generator: torch.Generator,
    folder: RunFolder | None = None,
    name: str = "training",
) -> AdversarialInterpolant:
    """The interpolant after both stages, with averaged weights."""
    state = init(config, problem, generator)
    fitted = fit(
        state,
        lambda state: step(config, problem, state),
        config.pretrain_steps + config.steps,
        name=f"{name}-interpolant",
        folder=folder,
        log_every=50,
        checkpoint_every=1000,
    )
    return fitted.state.average.module


def init(config: Config, problem: BridgeProblem, generator: torch.Generator) -> State:
    """Untrained players. Raises InputError where there is no interior snapshot to learn from."""
    if problem.chains is None or problem.n_intervals < 2:
        raise InputError(
            "alicfm learns from interior snapshots: give at least three, or take otcfm"
        )
    dim = problem.cells.shape[1]
    waves = waves_for(len(problem.times))
    with weights_from(generator):
        interpolant = AdversarialInterpolant(dim, config.width, waves)
        discriminator = _Perceptron(dim, 1, config.width, waves)
    interpolant.to(generator.device)
    discriminator.to(generator.device)
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=(0.5, 0.999), fused=True)
        for net in (interpolant, discriminator)
    ]
    return State(interpolant, discriminator, Ema(interpolant), optimisers, generator)


def step(config: Config, problem: BridgeProblem, state: State) -> tuple[State, dict[str, float]]:
    """One step of the stage that is due; `info` has the interpolant's loss and the parts of the game."""
    pretraining = state.steps_done < config.pretrain_steps
    rows = _draw(config, problem, state.generator)
    if pretraining:
        error = distance_to_reference(state.interpolant, rows.x0, rows.x1, rows.s, rows.reference)
        # Regression may go faster than the game.
        state.optimisers[0].param_groups[0]["lr"] = max(config.learning_rate, 1e-3)
        info: dict[str, float] = dict(_apply(error, state.interpolant, state.optimisers[0]))
    else:
        state.optimisers[0].param_groups[0]["lr"] = config.learning_rate
        info = _play(config, rows, state)
    state.average.update(state.interpolant)
    state.steps_done += 1
    return state, info


def _play(config: Config, rows: _Rows, state: State) -> dict[str, float]:
    """One step of the discriminator, then one of the interpolant."""
    device = state.generator.device
    noise = torch.randn(len(rows.s), generator=state.generator, device=device)
    s = (rows.s + config.jitter * noise).clamp(0.0, 1.0)
    fake = state.interpolant(rows.x0, rows.x1, s)
    loss_d = _discriminator_loss(config, state.discriminator, rows.real, fake.detach(), rows.s)
    played = _apply(loss_d, state.discriminator, state.optimisers[1])
    judge: Callable[[Tensor], Tensor] = lambda x: state.discriminator(x, rows.s)[:, 0]  # noqa: E731
    with torch.no_grad():
        real = judge(rows.real)
    loss_g = generator_loss(config.loss, real, judge(fake))
    held = _regulariser(config, rows, state)
    info = _apply(loss_g + config.weight * held, state.interpolant, state.optimisers[0])
    return {
        **info,
        "discriminator": played["loss"],
        "regulariser": float(held.detach()),
    }


def _discriminator_loss(
    config: Config, discriminator: nn.Module, real: Tensor, fake: Tensor, s: Tensor
) -> Tensor:
    punished = config.loss == "r3gan"
    real, fake = real.detach().requires_grad_(punished), fake.requires_grad_(punished)
    on_real, on_fake = discriminator(real, s)[:, 0], discriminator(fake, s)[:, 0]
    loss = discriminator_loss(config.loss, on_real, on_fake)
    if punished:
        both = gradient_penalty(on_real, real) + gradient_penalty(on_fake, fake)
        loss = loss + config.penalty * both
    return loss


def _regulariser(config: Config, rows: _Rows, state: State) -> Tensor:
    """At times of its own: the reference is known between snapshots too."""
    if config.regulariser == "curvature":
        device = state.generator.device
        s = torch.rand(len(rows.s), generator=state.generator, device=device)
        return curvature(state.interpolant, rows.x0, rows.x1, s)
    reference = rows.reference
    if config.regulariser == "linear":
        reference = torch.lerp(rows.x0, rows.x1, rows.s[:, None])
    return distance_to_reference(state.interpolant, rows.x0, rows.x1, rows.s, reference)


def _draw(config: Config, problem: BridgeProblem, generator: torch.Generator) -> _Rows:
    """Chains at random interior snapshots, and cells of the same snapshots from other chains."""
    assert problem.chains is not None
    points, n, device = problem.chains.points, config.batch, generator.device
    row, other = torch.randint(len(points), (2, n), generator=generator, device=device)
    at = torch.randint(1, problem.n_intervals, (n,), generator=generator, device=device)
    span = problem.times[-1] - problem.times[0]
    s = (problem.times[at] - problem.times[0]) / span
    return _Rows(points[row, 0], points[row, -1], s, points[row, at], points[other, at])


def _apply(loss: Tensor, net: nn.Module, optimiser: torch.optim.Optimizer) -> Any:
    return apply_gradients(loss, net, optimiser, _LARGEST_GRADIENT)
