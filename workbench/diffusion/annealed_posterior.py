"""Draws of the denoising posterior by annealing, where plain importance sampling has one draw left.

The posterior of x_0 given x_t = x is proportional to exp(-u(z)) N(z; x, h). For every x of a batch, K
particles go through

    p_beta(z)  proportional to  exp(-beta v(z)) q(z),      beta from 0 to 1,

from the proposal q = N(m x, m h) of `score_target` (m = 1 where it has no length) with v(z) = u(z) -
|z|^2 / (2 l^2), so that p_1 is the posterior. In each of J sweeps beta rises, per x, by as much as keeps
half of the particles effective; they are weighted, resampled systematically and moved by one
Metropolis-adjusted Langevin step whose drift is bounded. The last sweep jumps to beta = 1 and leaves
weights (Del Moral, Doucet and Jasra, Sequential Monte Carlo samplers, 2006).

Cost: K (J + 1) energies and forces per x. The particles serve one estimate and are dropped.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.problem import Energy, centred

KEEP_EFFECTIVE = 0.5
N_BISECTIONS = 14
ACCEPTANCE = 0.6
# Longest drift of a row of a configuration, in standard deviations of the move's noise.
DRIFT_REACH = 2.0
HUGE = 1e12


def annealed_draws(
    energy: Energy,
    x: Float[Tensor, "batch *event"],
    variance: Float[Tensor, "batch"],
    n_draws: int,
    n_sweeps: int,
    proposal_length: float | None,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws z [batch, draw, *event], their log weights [batch, draw] and forces -grad u."""
    pull = 0.0 if proposal_length is None else 1.0 / proposal_length**2
    column = variance.view(-1, 1, *[1] * (x.dim() - 1))
    shrink = 1.0 / (1.0 + pull * column)
    centre, spread = shrink * x[:, None], shrink * column
    z = centre + spread.sqrt() * _noise(energy, (len(x), n_draws), generator, x)
    v, force = _evaluate(energy, z, pull)
    beta = torch.zeros_like(variance)
    step = 0.3 * spread
    for _ in range(n_sweeps):
        rise = _rise(v, 1.0 - beta)
        z, v, force = _resample(torch.softmax(-rise[:, None] * v, dim=1), (z, v, force), generator)
        beta = beta + rise
        z, v, force, accepted = _move(
            energy, z, v, force, beta.view_as(column), centre, spread, step, pull, generator
        )
        step = step * torch.exp(0.7 * (accepted - ACCEPTANCE)).view_as(column)
    return z, -(1.0 - beta)[:, None] * v, force - pull * z


def _noise(energy: Energy, shape: tuple[int, int], generator: torch.Generator, x: Tensor) -> Tensor:
    noise = torch.randn((*shape, *energy.event_shape), generator=generator, dtype=x.dtype)
    return centred(noise) if energy.mean_free else noise


def _evaluate(energy: Energy, z: Tensor, pull: float) -> tuple[Tensor, Tensor]:
    """v [batch, draw] and -grad v; what is not finite or beyond `HUGE` counts as `HUGE`."""
    u, force = energy.energy_and_force(z.flatten(0, 1))
    u, force = u.view(z.shape[:2]), force.view_as(z)
    if pull:
        u = u - 0.5 * pull * z.flatten(2).square().sum(-1)
        force = force + pull * z
    return u.nan_to_num(HUGE, HUGE, HUGE).clamp_max(HUGE), force.nan_to_num(0.0, 0.0, 0.0)


def _rise(v: Float[Tensor, "batch draw"], left: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """The largest rise of beta, at most `left`, that keeps half of the particles effective."""
    shifted = v - v.amin(dim=1, keepdim=True)
    goal = KEEP_EFFECTIVE * v.shape[1]
    low, high = torch.full_like(left, -32.0), left.clamp_min(1e-30).log()
    top = high.clone()
    for _ in range(N_BISECTIONS):
        middle = 0.5 * (low + high)
        weights = torch.exp(-middle.exp()[:, None] * shifted)
        enough = weights.sum(1).square() >= goal * weights.square().sum(1)
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    weights = torch.exp(-left[:, None] * shifted)
    whole = weights.sum(1).square() >= goal * weights.square().sum(1)
    return torch.where(whole, left, torch.minimum(low, top).exp())


def _resample(
    weights: Float[Tensor, "batch draw"],
    columns: tuple[Tensor, Tensor, Tensor],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Systematic resampling of every row by itself."""
    batch, draws = weights.shape
    offset = torch.rand((batch, 1), generator=generator, dtype=weights.dtype)
    points = (torch.arange(draws) + offset) / draws
    index = torch.searchsorted(weights.cumsum(1), points).clamp_max(draws - 1)
    index = (index + draws * torch.arange(batch)[:, None]).flatten()
    z, v, force = (c.flatten(0, 1).index_select(0, index).view_as(c) for c in columns)
    return z, v, force


def _move(
    energy: Energy,
    z: Tensor,
    v: Tensor,
    force: Tensor,
    beta: Tensor,
    centre: Tensor,
    spread: Tensor,
    step: Tensor,
    pull: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One Metropolis-adjusted Langevin step with variance `step`; the mean acceptance per row."""
    drift = _drift(beta * force - (z - centre) / spread, step)
    noise = _noise(energy, (len(z), z.shape[1]), generator, z[:, 0])
    proposal = z + drift + step.sqrt() * noise
    new_v, new_force = _evaluate(energy, proposal, pull)
    back = _drift(beta * new_force - (proposal - centre) / spread, step)
    returning = (z - proposal - back) / step.sqrt()
    log_ratio = 0.5 * (noise.square() - returning.square())
    log_ratio = log_ratio + ((z - centre).square() - (proposal - centre).square()) / (2 * spread)
    log_ratio = log_ratio.flatten(2).sum(-1) + beta.view(-1, 1) * (v - new_v)
    accept = torch.rand(v.shape, generator=generator, dtype=v.dtype).log() < log_ratio
    wide = accept.view(*accept.shape, *[1] * (z.dim() - 2))
    return (
        torch.where(wide, proposal, z),
        torch.where(accept, new_v, v),
        torch.where(wide, new_force, force),
        accept.to(z.dtype).mean(1),
    )


def _drift(gradient: Tensor, step: Tensor) -> Tensor:
    """Half a step along the gradient of the log density, bounded per row of a configuration."""
    drift = 0.5 * step * gradient
    bound = DRIFT_REACH**2 * step * gradient.shape[-1]
    size = drift.square().sum(-1, keepdim=True)
    return drift * (bound / (bound + size)).sqrt()
