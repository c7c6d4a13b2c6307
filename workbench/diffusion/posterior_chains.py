"""Draws of the denoising posterior by short Markov chains from the clean sample.

Where h is large against the target's stiffest scale, importance sampling of the posterior

    p(z | x) proportional to exp(-u(z)) N(z; x, h)

leaves one draw of thousands. But x was made as x_0 + sqrt(h) eps from a sample x_0 of the buffer, and
x_0 is an exact draw of p(z | x) wherever the buffer already follows the target. So K chains start at
x_0 and make moves that leave p(z | x) invariant: first, each chooses by importance weight between x_0
and M fresh draws of the Gaussian posterior of `score_target` (iterated sampling-importance-resampling,
Andrieu, Lee and Vihola, 2018, arXiv 1312.6432), which carries it between modes; then J Metropolis-adjusted
Langevin steps, whose second half is the sample. If the buffer follows exp(-u), so does every draw, for
any M and J; if it does not, the chains move it there, and the next buffer is nearer: the target
density is the fixed point of the training loop.

Cost: M + K (J + 1) energies per x. The chains serve one estimate and are dropped: none of their
states enters the buffer.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.problem import Energy, centred

ACCEPTANCE = 0.6
# Longest drift of a row of a configuration, in standard deviations of the move's noise.
DRIFT_REACH = 2.0
HUGE = 1e12


def posterior_chains(
    energy: Energy,
    x: Float[Tensor, "batch *event"],
    variance: Float[Tensor, "batch"],
    clean: Float[Tensor, "batch *event"],
    n_chains: int,
    n_steps: int,
    fine_length: float,
    generator: torch.Generator,
    n_global: int = 0,
    proposal_length: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Draws z [batch, draw, *event] of equal weight and forces -grad u there; n_chains times the
    second half of n_steps draws. The first step has the variance min(h, fine_length^2) / 2; steps
    adapt per x in the first half alone."""
    column = variance.view(-1, 1, *[1] * (x.dim() - 1))
    noisy = x[:, None]
    z = clean[:, None].expand(-1, n_chains, *clean.shape[1:]).contiguous()
    if n_global:
        z = _global_move(energy, z, noisy, column, n_global, proposal_length, generator)
    u, force = _evaluate(energy, z)
    step = 0.5 * column.clamp_max(fine_length**2)
    draws, forces = [], []
    for k in range(n_steps):
        z, u, force, accepted = _move(energy, z, u, force, noisy, column, step, generator)
        if k < n_steps // 2:
            step = step * torch.exp(accepted - ACCEPTANCE).view_as(column)
        else:
            draws.append(z)
            forces.append(force)
    return torch.cat(draws, dim=1), torch.cat(forces, dim=1)


def _global_move(
    energy: Energy,
    z: Tensor,
    noisy: Tensor,
    variance: Tensor,
    n_draws: int,
    length: float,
    generator: torch.Generator,
) -> Tensor:
    """Every chain chooses, by weight exp(-u(z) + |z|^2 / (2 length^2)), between the row's clean sample and
    `n_draws` draws of N(m x, m h), m = length^2 / (length^2 + h)."""
    shrink = 1.0 / (1.0 + variance / length**2)
    shape = (len(z), n_draws, *z.shape[2:])
    noise = torch.randn(shape, generator=generator, dtype=z.dtype, device=z.device)
    noise = centred(noise) if energy.mean_free else noise
    fresh = shrink * noisy + (shrink * variance).sqrt() * noise
    candidates = torch.cat([z[:, :1], fresh], dim=1)
    u = energy.energy(candidates.flatten(0, 1)).view(candidates.shape[:2])
    log_weights = 0.5 / length**2 * candidates.flatten(2).square().sum(-1) - u
    log_weights = log_weights.nan_to_num(-HUGE, HUGE, -HUGE).clamp(-HUGE, HUGE)
    shares = torch.softmax(log_weights, dim=1)
    chosen = torch.multinomial(shares, z.shape[1], replacement=True, generator=generator)
    rows = chosen + candidates.shape[1] * torch.arange(len(z), device=z.device)[:, None]
    return candidates.flatten(0, 1)[rows]


def _evaluate(energy: Energy, z: Tensor) -> tuple[Tensor, Tensor]:
    """u [batch, draw] and -grad u; what is not finite or beyond `HUGE` counts as `HUGE`."""
    u, force = energy.energy_and_force(z.flatten(0, 1))
    u = u.view(z.shape[:2]).nan_to_num(HUGE, HUGE, HUGE).clamp_max(HUGE)
    return u, force.view_as(z).nan_to_num(0.0, 0.0, 0.0)


def _move(
    energy: Energy,
    z: Tensor,
    u: Tensor,
    force: Tensor,
    noisy: Tensor,
    variance: Tensor,
    step: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One Metropolis-adjusted Langevin step of variance `step`; the mean acceptance per row."""
    noise = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
    noise = centred(noise) if energy.mean_free else noise
    offset = z - noisy
    proposal = z + _drift(force - offset / variance, step) + step.sqrt() * noise
    new_u, new_force = _evaluate(energy, proposal)
    new_offset = proposal - noisy
    back = z - proposal - _drift(new_force - new_offset / variance, step)
    log_ratio = 0.5 * (noise.square() - back.square() / step)
    log_ratio = log_ratio + (offset.square() - new_offset.square()) / (2.0 * variance)
    log_ratio = log_ratio.flatten(2).sum(-1) + u - new_u
    accept = (
        torch.rand(u.shape, generator=generator, dtype=u.dtype, device=u.device).log() < log_ratio
    )
    wide = accept.view(*accept.shape, *[1] * (z.dim() - 2))
    return (
        torch.where(wide, proposal, z),
        torch.where(accept, new_u, u),
        torch.where(wide, new_force, force),
        accept.to(z.dtype).mean(1),
    )


def _drift(gradient: Tensor, step: Tensor) -> Tensor:
    """Half a step along the gradient of the log density, bounded per row of a configuration."""
    drift = 0.5 * step * gradient
    bound = DRIFT_REACH**2 * step * gradient.shape[-1]
    return drift * (bound / (bound + drift.square().sum(-1, keepdim=True))).sqrt()
