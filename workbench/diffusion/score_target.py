"""Monte-Carlo estimates of the score of a noised density, from energies and forces alone.

With x_t = x_0 + sqrt(h) eps, both of these are the exact score of the noised density at x:

    target score identity (TSI)      s_t(x) = E[ -grad u(x_0) | x_t = x ]
    denoising score identity (DSI)   s_t(x) = E[ (x_0 - x) / h | x_t = x ]

The posterior of x_0 is proportional to exp(-u(z)) N(z; x, h). Its expectations are self-normalised over K
draws z_i:

    proposal_length = None   z ~ N(x, h),            w_i = softmax_i(-u(z_i))
    proposal_length = l      z ~ N(m x, m h),        w_i = softmax_i(-u(z_i) + |z_i|^2 / (2 l^2)),
                             m = l^2 / (l^2 + h)

The first is iDEM's (Akhound-Sadegh et al., 2024, arXiv 2402.06121), in its importance-weighted form: one
batched energy-and-force call, no autograd through the copies. The second draws from the posterior
that a target N(0, l^2) would have: exact weights still, and far more of the draws count where h is large.

`control = "none"` is TSI, the paper's estimator. `control = "variance"` mixes the two identities,

    S = (1 - c) TSI + c DSI,   c = Cov_w(T, T - D) / Var_w(T - D) clamped to [0, 1],

with T_i = -grad u(z_i) and D_i = (z_i - x) / h (control variate score identity, see the notes of BNEM, 2024,
arXiv 2409.09787); for a Gaussian target this c makes every draw exact. It costs no further energy calls.

Every estimate is biased by O(1/K), for it is a ratio; `effective` reports how many of the K draws carry
the weight: near 1 at large h, where the target is dominated by one draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.diffusion._moment_kernels import weighted_moments
from workbench.diffusion.options import Control
from workbench.diffusion.posterior_chains import PosteriorChainOptions, posterior_chains
from workbench.problem import Energy, centred

# Squares of larger forces overflow in single precision; such draws are clashes.
LARGEST_FORCE = 1e15


@dataclass(frozen=True)
class ScoreTarget:
    """score [batch, *event] (1/length), effective number of draws [batch], mixing c [batch]."""

    score: Tensor
    effective: Tensor
    mixing: Tensor


def estimate_score(
    energy: Energy,
    x: Float[Tensor, "batch *event"],
    variance: Float[Tensor, "batch"],
    noise: Float[Tensor, "batch draw *event"],
    control: Control = "none",
    proposal_length: float | None = None,
) -> ScoreTarget:
    """The noised density's score at `x`, noise variance `variance`, from standard normal `noise`
    (centred for a mean-free energy, see `draw_noise`). Draws whose energy or force is not finite get
    weight zero, as their density is; raises `FloatingPointError` where no draw is left."""
    batch, draws = noise.shape[:2]
    column = variance.view(-1, *[1] * (x.dim() - 1))
    pull = 0.0 if proposal_length is None else 1.0 / proposal_length**2
    shrink = 1.0 / (1.0 + pull * column)
    spread = (shrink * column).sqrt()
    z = torch.addcmul((shrink * x)[:, None], spread[:, None], noise).flatten(0, 1)
    u, force = energy.energy_and_force(z)
    if proposal_length is not None:
        u = u - (0.5 * pull) * z.flatten(1).square().sum(1)
    weights = _weights(u.view(batch, draws))
    # D_i = -pull shrink x + rate eps_i is (z_i - x) / h without the cancellation.
    rate = (shrink / column).sqrt().flatten()
    start = (-pull * shrink * x).flatten(1)
    draws_force = force.view(batch, draws, -1)
    return _combine(weights, draws_force, noise.reshape(batch, draws, -1), start, rate, control, x)


def chain_score(
    energy: Energy,
    x: Float[Tensor, "batch *event"],
    variance: Float[Tensor, "batch"],
    clean: Float[Tensor, "batch *event"],
    options: PosteriorChainOptions,
    generator: torch.Generator,
    control: Control = "variance",
) -> ScoreTarget:
    """The same score from `posterior_chains` that start at the clean sample `x` was made from."""
    z, force = posterior_chains(energy, x, variance, clean, options, generator)
    weights = torch.full(z.shape[:2], 1.0 / z.shape[1], dtype=z.dtype, device=z.device)
    rate = variance.rsqrt()
    noise = (z - x[:, None]).flatten(2) * rate[:, None, None]
    start = torch.zeros_like(x).flatten(1)
    return _combine(weights, force.flatten(2), noise, start, rate, control, x)


def draw_noise(
    energy: Energy, batch: int, draws: int, generator: torch.Generator, dtype: torch.dtype
) -> Float[Tensor, "batch draw *event"]:
    """Standard normal draws on the space the density lives on."""
    shape = (batch, draws, *energy.event_shape)
    noise = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
    return centred(noise) if energy.mean_free else noise


def _weights(u: Float[Tensor, "batch draw"]) -> Float[Tensor, "batch draw"]:
    weights = torch.softmax(-u, dim=1)
    if bool(torch.isfinite(weights).all()):
        return weights
    log_weights = torch.where(torch.isfinite(u), -u, -torch.inf)
    if not bool(torch.isfinite(log_weights.amax(dim=1)).all()):
        raise FloatingPointError(
            "no draw of the score target has a finite energy: the noise is too large for this system"
        )
    return torch.softmax(log_weights, dim=1)


def _combine(
    weights: Float[Tensor, "batch draw"],
    force: Float[Tensor, "batch draw dim"],
    noise: Float[Tensor, "batch draw dim"],
    start: Float[Tensor, "batch dim"],
    rate: Float[Tensor, "batch"],
    control: Control,
    x: Tensor,
) -> ScoreTarget:
    """The estimate from weighted draws with D_i = start + rate eps_i.

    The ratio is pulled to c = 1 by a thousandth of the raw second moments: where one draw holds all
    the weight the variances vanish and say nothing, and the denoising side has the size of the noise
    while the force of a clash has none. What is computed is 1 - c, small against rounding then.
    """
    effective = 1.0 / (weights * weights).sum(1)
    mean_force, mean_noise, second = _moments(weights, force, noise)
    if control == "none":
        return ScoreTarget(mean_force.view_as(x), effective, torch.zeros_like(effective))
    tt, td, dd = second.unbind(1)
    td, dd = td * rate, dd * rate**2
    pull = 1e-3 * (tt + dd)
    tt = tt - (mean_force * mean_force).sum(-1)
    td = td - (mean_force * mean_noise).sum(-1) * rate
    dd = dd - (mean_noise * mean_noise).sum(-1) * rate**2
    rest = ((dd - td) / (tt - 2.0 * td + dd + pull)).clamp(0.0, 1.0)
    mean_denoise = start + rate[:, None] * mean_noise
    score = torch.lerp(mean_denoise, mean_force, rest[:, None])
    return ScoreTarget(score.view_as(x), effective, 1.0 - rest)


def _moments(weights: Tensor, force: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted means of force and noise [batch, dim], and of their products [batch, 3]."""
    if force.abs().amax() > LARGEST_FORCE or not bool(torch.isfinite(force.sum())):
        force = force.nan_to_num(0.0).clamp(-LARGEST_FORCE, LARGEST_FORCE)
    if force.device.type != "cpu":
        products = [force * force, force * noise, noise * noise]
        second = torch.stack([(weights * p.sum(-1)).sum(1) for p in products], dim=1)
        mean_force = torch.bmm(weights[:, None], force)[:, 0]
        return mean_force, torch.bmm(weights[:, None], noise)[:, 0], second
    mean_force, mean_noise = (force.new_empty(len(force), force.shape[2]) for _ in range(2))
    second = force.new_empty(len(force), 3)
    columns = (weights, force, noise.contiguous(), mean_force, mean_noise, second)
    weighted_moments(*(c.contiguous().numpy() for c in columns))
    return mean_force, mean_noise, second
