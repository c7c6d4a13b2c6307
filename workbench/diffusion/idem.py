"""iDEM: a diffusion sampler trained from energies and forces alone, without data.

Minimises, over a buffer of the model's own samples,

    E_{x_0 ~ buffer, t ~ U(0,1), eps} (h(t) + d^2) / dim |s(x_t, t) - S_K(x_t, t)|^2,   x_t = x_0 + sqrt(h) eps

with S_K the Monte-Carlo score of `score_target`, in alternation with drawing new samples by the reverse
SDE (Akhound-Sadegh et al., Iterated denoising energy matching, 2024, arXiv 2402.06121).

Differs from the paper: the score has a force channel and a Gaussian base (`score_model`); the target may
use the control variate; samples come from averaged weights; the learning rate falls to zero by a
cosine. Two biases of the published runs are options, off unless a preset says so: `clip` cuts the norm of
the target (per particle), and `diffusion_scale` below 1 cools the generated samples.

No Markov-chain sample ever enters the buffer: it holds prior draws first, then the model's own samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.diffusion.generation import prior_samples, reverse_sde
from workbench.diffusion.schedule import GeometricSchedule
from workbench.diffusion.score_model import NetworkConfig, ScoreModel
from workbench.diffusion.score_target import Control, draw_noise, estimate_score
from workbench.problem import Energy, normal_like_space
from workbench.training.optimise import Ema, apply_gradients


@dataclass(frozen=True)
class Config:
    """sigma_min, sigma_max   noise levels of the schedule, length unit of the energy
    draws                  K, energy evaluations per target
    control                "none" (iDEM's estimator) or "variance" (control variate)
    proposal_length        None: draws around the noised point, as in iDEM; a length: draws from the
                           posterior of a Gaussian target of that scale (see `score_target`)
    clip                   largest norm of the target, per particle; None = no clipping
    steps                  gradient steps in all
    steps_per_round        gradient steps between two refills of the buffer
    samples_per_round      new samples per refill
    buffer_size            samples kept, first in, first out
    batch                  samples per gradient step
    sde_steps              steps of the reverse SDE
    diffusion_scale        noise factor of generation; 1 = the model's law
    learning_rate, gradient_norm, ema_decay   of the optimiser
    """

    sigma_min: float = 0.01
    sigma_max: float = 2.0
    draws: int = 128
    control: Control = "variance"
    proposal_length: float | None = None
    clip: float | None = None
    steps: int = 10_000
    steps_per_round: int = 100
    samples_per_round: int = 256
    buffer_size: int = 10_000
    batch: int = 256
    sde_steps: int = 100
    diffusion_scale: float = 1.0
    learning_rate: float = 1e-3
    gradient_norm: float = 1.0
    ema_decay: float = 0.999
    network: NetworkConfig = field(default_factory=NetworkConfig)

    @property
    def schedule(self) -> GeometricSchedule:
        return GeometricSchedule(self.sigma_min, self.sigma_max)

    def biases(self) -> list[str]:
        """What keeps the samples from following the learned law, in words, for the report."""
        named = []
        if self.clip is not None:
            named.append(f"targets are clipped at norm {self.clip:g} per particle")
        if self.diffusion_scale != 1.0:
            named.append(f"samples are cooled by diffusion scale {self.diffusion_scale:g}")
        return named


@dataclass
class State:
    """Everything the next step depends on. `buffer` [buffer_size, *event], `filled` rows of it in use."""

    model: ScoreModel
    average: Ema
    optimiser: torch.optim.Optimizer
    buffer: Tensor
    filled: int
    next_row: int
    steps_done: int


def init(config: Config, energy: Energy, generator: torch.Generator) -> State:
    """An untrained model, whose weights follow from the generator, and a buffer of prior draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        model = ScoreModel(energy, config.schedule, config.network)
    buffer = torch.zeros((config.buffer_size, *energy.event_shape))
    n = min(config.buffer_size, 4 * config.samples_per_round)
    buffer[:n] = prior_samples(energy, config.schedule, config.network.length, n, generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    return State(model, Ema(model, config.ema_decay), optimiser, buffer, n, n % len(buffer), 0)


def step(
    config: Config, energy: Energy, state: State, generator: torch.Generator
) -> tuple[State, dict[str, float]]:
    """One gradient step, after a refill of the buffer where one is due. `info` has the loss, the
    gradient norm before clipping, the median effective number of draws and the mean mixing."""
    info: dict[str, float] = {}
    if state.steps_done % config.steps_per_round == 0 and state.steps_done > 0:
        info |= _refill(config, energy, state, generator)
    rows = torch.randint(state.filled, (config.batch,), generator=generator)
    t = torch.rand((config.batch,), generator=generator).clamp_min(1e-3)
    variance = config.schedule.variance(t)
    spread = variance.sqrt().view(-1, *[1] * len(energy.event_shape))
    noise = normal_like_space(energy, config.batch, generator)
    x = state.buffer[rows] + spread * noise
    draws = draw_noise(energy, config.batch, config.draws, generator, x.dtype)
    target = estimate_score(
        energy, x, variance, draws, config.control, config.proposal_length
    )
    goal = clip_norm(target.score, config.clip)
    weight = (variance + config.network.fine_length**2) / energy.degrees_of_freedom
    residual = (state.model(x, t) - goal).flatten(1).square().sum(1)
    _set_learning_rate(config, state)
    info |= dict(
        apply_gradients(
            (weight * residual).mean(), state.model, state.optimiser, config.gradient_norm
        )
    )
    state.average.update(state.model)
    state.steps_done += 1
    info["effective_draws"] = float(target.effective.median())
    info["mixing"] = float(target.mixing.mean())
    return state, info


def clip_norm(score: Tensor, largest: float | None) -> Tensor:
    """`score` with its norm over the last axis (a particle's vector, or the whole) at most `largest`."""
    if largest is None:
        return score
    norm = score.norm(dim=-1, keepdim=True)
    return score * (largest / norm.clamp_min(largest))


def generate(
    config: Config,
    energy: Energy,
    model: ScoreModel,
    n: int,
    generator: torch.Generator,
    chunk: int = 512,
) -> Tensor:
    """`n` samples [n, *event] by the reverse SDE, in chunks of at most `chunk`."""
    parts = []
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        x = prior_samples(energy, config.schedule, config.network.length, size, generator)
        parts.append(
            reverse_sde(
                model,
                energy,
                config.schedule,
                x,
                config.sde_steps,
                generator,
                config.diffusion_scale,
            )
        )
    return torch.cat(parts)


def _refill(
    config: Config, energy: Energy, state: State, generator: torch.Generator
) -> dict[str, float]:
    new = generate(config, energy, state.average.module, config.samples_per_round, generator)  # type: ignore[arg-type]
    size = len(state.buffer)
    rows = (state.next_row + torch.arange(len(new))) % size
    state.buffer[rows] = new
    state.next_row = int((state.next_row + len(new)) % size)
    state.filled = min(size, state.filled + len(new))
    return {"median_energy": float(energy.energy(new.double()).median())}


def _set_learning_rate(config: Config, state: State) -> None:
    progress = state.steps_done / config.steps
    rate = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
