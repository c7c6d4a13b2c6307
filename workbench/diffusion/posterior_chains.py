"""Draws of the denoising posterior by short Markov chains from the clean sample.

Where h is large against the target's stiffest scale, importance sampling of the posterior

    p(z | x) proportional to exp(-u(z)) N(z; x, h)

leaves one draw of thousands. But x was made as x_0 + sqrt(h) eps from a sample x_0 of the buffer, and
x_0 is an exact draw of p(z | x) wherever the buffer already follows the target. So K chains start at
x_0 and make moves that leave p(z | x) invariant: first, where the noise is above twice the target's
fine length (below, the posterior has one mode), each chooses by importance weight between x_0
and M fresh draws of the Gaussian posterior of `score_target` (iterated sampling-importance-resampling,
Andrieu, Lee and Vihola, 2018, arXiv 1312.6432), which carries it between modes; then J Hamiltonian
trajectories of L leapfrog steps (L = 1: Langevin), whose second half is the sample. If the buffer
follows exp(-u), so does every draw, for any M, J and L; if it does not, the chains move it there, and
the next buffer is nearer: the target density is the fixed point of the training loop.

Cost: at most M + K (J L + 1) energies per x. The chains serve one estimate and are dropped: none of their
states enters the buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.mcmc.leapfrog import Drive, Place, trajectory
from workbench.problem import Energy, centred

ACCEPTANCE = 0.75
# The first step, in standard deviations of the posterior's stiffest mode.
FIRST_STEP = 0.35
# Largest force on a row of a configuration that drives a chain, in units of 1 / fine length: beyond
# any thermal force, and short of what throws a chain out of a clash.
FORCE_REACH = 30.0
HUGE = 1e12
# Noise, in fine lengths, above which a posterior may have several modes.
WIDE = 2.0


@dataclass(frozen=True)
class PosteriorChainOptions:
    """n_chains         K, chains per noised point
    n_moves          J, trajectories of each; the second half are the draws
    n_leapfrog       L, leapfrog steps of a trajectory
    fine_length      length below which the target is smooth: the scale of its stiffest mode
    n_global         M, fresh draws that every chain chooses from at first, at noise above 2 fine_length
    proposal_length  standard deviation of the Gaussian that stands for the target in those draws
    """

    n_chains: int
    n_moves: int
    n_leapfrog: int
    fine_length: float
    n_global: int = 0
    proposal_length: float = 1.0

    @property
    def n_evaluations(self) -> int:
        """Most energies per noised point."""
        return self.n_global + self.n_chains * (self.n_moves * self.n_leapfrog + 1)


def posterior_chains(
    energy: Energy,
    x: Float[Tensor, "batch *event"],
    variance: Float[Tensor, "batch"],
    clean: Float[Tensor, "batch *event"],
    options: PosteriorChainOptions,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draws z [batch, draw, *event] of equal weight and forces -grad u there. The step is adapted per
    x, in the first half of the moves alone."""
    z = clean[:, None].expand(-1, options.n_chains, *clean.shape[1:]).contiguous()
    wide = variance > (WIDE * options.fine_length) ** 2
    if options.n_global and bool(wide.any()):
        z[wide] = _global_move(energy, z[wide], x[wide, None], variance[wide], options, generator)
    shape = z.shape
    posterior = _Posterior(energy, x, variance, options)
    place = Place(z.flatten(0, 1), *posterior.energy_and_force(z.flatten(0, 1)))
    step = FIRST_STEP / (1.0 / variance + 1.0 / options.fine_length**2).sqrt()
    ones = torch.ones_like(place.energy)
    draws, forces = [], []
    for k in range(options.n_moves):
        noise = torch.randn(place.x.shape, generator=generator, dtype=x.dtype, device=x.device)
        noise = centred(noise) if energy.mean_free else noise
        draw = torch.empty_like(ones).exponential_(generator=generator)
        drive = Drive(step.repeat_interleave(options.n_chains), ones, ones[:1], noise, draw)
        moved = trajectory(posterior, place, drive, options.n_leapfrog)
        place = moved.place
        if k < options.n_moves // 2:
            accepted = moved.probability.view(shape[:2]).mean(1).to(step.dtype)
            step = step * torch.exp(0.5 * (accepted - ACCEPTANCE))
        else:
            draws.append(place.x.view(shape))
            forces.append((place.force - posterior.pull(place.x)).view(shape))
    return torch.cat(draws, dim=1), torch.cat(forces, dim=1)


class _Posterior:
    """u(z) + |z - x|^2 / (2 h) for n_chains rows per x in turn; forces of clashes are bounded, which
    keeps a leapfrog step reversible and volume-preserving, for the bound is a function of z alone."""

    def __init__(
        self, energy: Energy, x: Tensor, variance: Tensor, options: PosteriorChainOptions
    ) -> None:
        self.wrapped, self.mean_free = energy, energy.mean_free
        self.centre = x.repeat_interleave(options.n_chains, dim=0)
        self.variance = variance.repeat_interleave(options.n_chains)
        self.largest = FORCE_REACH / options.fine_length

    def pull(self, z: Tensor) -> Tensor:
        """Force (x - z) / h."""
        return (self.centre - z) / self.variance.view(-1, *[1] * (z.dim() - 1))

    def energy_and_force(self, z: Tensor) -> tuple[Tensor, Tensor]:
        u, force = self.wrapped.energy_and_force(z)
        u = u.nan_to_num(HUGE, HUGE, HUGE).clamp_max(HUGE)
        force = force.nan_to_num(0.0, 0.0, 0.0).clamp(-HUGE, HUGE)
        norm = force.norm(dim=-1, keepdim=True)
        force = force * (self.largest / norm.clamp_min(self.largest))
        pull = self.pull(z)
        return u + 0.5 * self.variance * pull.square().flatten(1).sum(1), force + pull


def _global_move(
    energy: Energy,
    z: Tensor,
    noisy: Tensor,
    variance: Tensor,
    options: PosteriorChainOptions,
    generator: torch.Generator,
) -> Tensor:
    """Every chain chooses, by weight exp(-u(z) + |z|^2 / (2 length^2)), between the row's clean sample and
    `n_global` draws of N(m x, m h), m = length^2 / (length^2 + h)."""
    variance = variance.view(-1, *[1] * (z.dim() - 1))
    length = options.proposal_length
    shrink = 1.0 / (1.0 + variance / length**2)
    shape = (len(z), options.n_global, *z.shape[2:])
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
