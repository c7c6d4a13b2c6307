"""Annealed sequential Monte Carlo: samples exp(-u) and estimates log Z, from a Gaussian reference.

The laws along the path are exp(-[(1 - t) u_0(x) + t u(x)]) with u_0 = |x|^2 / (2 sigma^2) and t
from 0 to 1. A rung moves from t to t' by weighting each particle with exp(-(t' - t)(u - u_0)),
resampling systematically, and moving it by HMC or MALA at t'. The mean weights multiply to an
estimate of Z / Z_0, and log Z_0 = (d/2) log(2 pi sigma^2) with d the degrees of freedom: log Z is
with respect to the Lebesgue measure of R^d or of the mean-free subspace.

The next t' is found by bisection so that the weights keep a given fraction of the particles
effective, and the step size follows the acceptance of the moves before. Particles come in
independent batches that share only t and the step size: their spread is the error of log Z, and
each batch enters the samples with weight proportional to its own estimate of Z.

Del Moral, Doucet, Jasra, "Sequential Monte Carlo samplers" (2006); Jasra, Stephens, Doucet,
Tsagaris, "Inference for Levy-driven stochastic volatility models via adaptive SMC" (2011). The
adaptive choices leave the estimate of Z consistent, but no longer unbiased at finite particles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.mcmc import hamiltonian, hmc, mala
from workbench.problem import Energy, normal_like_space, project
from workbench.samples import MIN_GROUPS, WeightedSamples, systematic_indices

# Change of the log step per unit of missed acceptance, at every move.
STEP_GAIN = 0.3
# Below this advance of t the reference and the target do not overlap at all.
LEAST_ADVANCE = 1e-30
N_BISECTIONS = 60


@dataclass(frozen=True)
class Config:
    """n_batches    independent batches; their spread is the error of log Z
    n_particles  particles of a batch
    sigma        width of the Gaussian reference, in the energy's length unit; wide enough to cover
                 the target
    keep_ess     fraction of the particles that stays effective from one t to the next
    n_moves      moves of every particle at each t
    move         HMC or MALA; its `n_warmup` is not used, the step adapts throughout
    """

    n_batches: int = 16
    n_particles: int = 256
    sigma: float = 1.0
    keep_ess: float = 0.8
    n_moves: int = 3
    move: hmc.Config | mala.Config = field(default_factory=hmc.Config)


@dataclass(frozen=True, eq=False)
class SmcState:
    """x         [particle, *event], all batches, `batch * n_particles + index`
    energy    [particle]: u at x
    log_z     [batch], float64: log of Z_t / Z_0 so far
    log_step  [1], float64: log step size of the moves
    progress  t; the run is done at 1
    n_steps   rungs made
    """

    x: Float[Tensor, " particle *event"]
    energy: Float[Tensor, " particle"]
    log_z: Float[Tensor, " batch"]
    log_step: Float[Tensor, " 1"]
    progress: float
    n_steps: int


@dataclass(frozen=True)
class PathEnergy:
    """The `Energy` (1 - t) u_0 + t u; every other member is that of u."""

    target: Energy
    sigma: float
    progress: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)

    def energy(self, x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch"]:
        return self.energy_and_force(x)[0]

    def energy_and_force(
        self, x: Float[Tensor, " batch *event"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch *event"]]:
        u, force = self.target.energy_and_force(x)
        # u_0 must not see the centre either, which unequal masses let go during a move.
        inner, left = project(self.target, x), 1 - self.progress
        path = self.progress * u + left * reference_energy(inner, self.sigma)
        return path, self.progress * force - left / self.sigma**2 * inner


def reference_energy(x: Float[Tensor, " batch *event"], sigma: float) -> Float[Tensor, " batch"]:
    """u_0 = |x|^2 / (2 sigma^2)."""
    return x.flatten(1).square().sum(1) / (2 * sigma**2)


def init(
    config: Config, energy: Energy, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> SmcState:
    """Particles drawn from the reference. Raises `InputError` for a config that cannot be used.

    float64 is the default because particles of the reference may clash: r^-12 overflows float32.
    """
    _check(config)
    n = config.n_batches * config.n_particles
    x = config.sigma * normal_like_space(energy, n, generator, dtype)
    log_step = torch.tensor([config.move.step_size], dtype=torch.float64).log()
    log_z = torch.zeros(config.n_batches, dtype=torch.float64)
    return SmcState(x, energy.energy(x), log_z, log_step, 0.0, 0)


def step(
    config: Config, energy: Energy, state: SmcState, generator: torch.Generator
) -> tuple[SmcState, dict[str, float]]:
    """One rung: weight, resample, move. Info: progress, ess_fraction of the weights, acceptance of
    the moves, log_z (mean over batches, relative to the reference).

    Raises `InputError` where the energy is NaN, or where reference and target do not overlap.
    """
    shape = (config.n_batches, config.n_particles)
    slope = (state.energy - reference_energy(state.x, config.sigma)).double().view(shape)
    if bool(torch.isnan(slope).any()):
        raise InputError("the energy of some particles is NaN: use float64, or a smaller sigma")
    advance = _next_advance(slope, 1 - state.progress, config.keep_ess)
    log_weights = -advance * slope
    log_z = state.log_z + torch.logsumexp(log_weights, 1) - math.log(config.n_particles)
    index = systematic_indices(torch.softmax(log_weights, 1), config.n_particles, generator)
    index = index + config.n_particles * torch.arange(config.n_batches)[:, None]
    done = advance == 1 - state.progress
    progress = 1.0 if done else state.progress + advance
    path = PathEnergy(energy, config.sigma, progress)
    chains = hamiltonian.start(config.move, path, state.x[index.flatten()])
    chains = replace(chains, log_step=state.log_step)
    for _ in range(config.n_moves):
        chains, info = hamiltonian.move(config.move, path, chains, generator)
        missed = info.acceptance - config.move.target_acceptance
        chains = replace(chains, log_step=chains.log_step + STEP_GAIN * missed)
    moved = SmcState(
        chains.x, energy.energy(chains.x), log_z, chains.log_step, progress, state.n_steps + 1
    )
    return moved, {
        "progress": progress,
        "ess_fraction": float(_ess_fraction(slope, advance)),
        "acceptance": float(info.acceptance),
        "log_z": float(log_z.mean()),
    }


def run(
    config: Config, energy: Energy, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> WeightedSamples:
    """From the reference to the target."""
    state = init(config, energy, generator, dtype)
    while state.progress < 1:
        state = step(config, energy, state, generator)[0]
    return samples(config, energy, state)


def samples(config: Config, energy: Energy, state: SmcState) -> WeightedSamples:
    """The particles of a finished run; `log_partition` of them is log Z, `chain` the batch.

    Raises `InputError` before progress has reached 1.
    """
    if state.progress < 1:
        raise InputError(f"annealing is at {state.progress} of 1: step on before taking samples")
    log_reference = 0.5 * energy.degrees_of_freedom * math.log(2 * math.pi * config.sigma**2)
    log_weights = (state.log_z + log_reference).repeat_interleave(config.n_particles)
    batch = torch.arange(config.n_batches).repeat_interleave(config.n_particles)
    return WeightedSamples(state.x, state.energy, log_weights, batch)


def _ess_fraction(slope: Float[Tensor, "batch particle"], advance: float) -> Float[Tensor, ""]:
    """Kish's effective fraction of weights exp(-advance slope), mean over batches."""
    weights = torch.softmax(-advance * slope, dim=1)
    return (1 / weights.square().sum(1)).mean() / slope.shape[1]


def _next_advance(slope: Float[Tensor, "batch particle"], left: float, keep: float) -> float:
    """The largest advance of t, at most `left`, that keeps the fraction `keep` effective.

    Bisection in the logarithm: after clashes in the reference the first advances may be tiny.
    """
    if float(_ess_fraction(slope, left)) >= keep:
        return left
    if not float(_ess_fraction(slope, LEAST_ADVANCE)) >= keep:
        raise InputError(
            "the Gaussian reference and the target do not overlap (particles of infinite energy): "
            "use float64, or another sigma"
        )
    low, high = math.log(LEAST_ADVANCE), math.log(left)
    for _ in range(N_BISECTIONS):
        middle = 0.5 * (low + high)
        good = float(_ess_fraction(slope, math.exp(middle))) >= keep
        low, high = (middle, high) if good else (low, middle)
    return math.exp(low)


def _check(config: Config) -> None:
    if config.n_batches < MIN_GROUPS:
        raise InputError(
            f"n_batches is {config.n_batches}: give at least {MIN_GROUPS}, for the error of log Z "
            f"is read from their spread"
        )
    if config.n_particles < 2 or config.n_moves < 1:
        raise InputError(
            f"n_particles is {config.n_particles} and n_moves {config.n_moves}: give at least two "
            f"particles and one move"
        )
    if not 0 < config.keep_ess < 1 or config.sigma <= 0:
        raise InputError(
            f"keep_ess is {config.keep_ess} and sigma {config.sigma}: give a fraction between 0 "
            f"and 1, and a positive width"
        )
