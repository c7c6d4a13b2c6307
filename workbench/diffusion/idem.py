"""iDEM: a diffusion sampler trained from energies and forces alone, without data.

Minimises, over a buffer of the model's own samples,

    E_{x_0 ~ buffer, t ~ U(0,1), eps} (h(t) + d^2) / dim |s(x_t, t) - S_K(x_t, t)|^2,   x_t = x_0 + sqrt(h) eps

with S_K the Monte-Carlo score of `score_target`, in alternation with drawing new samples by the reverse
SDE (Akhound-Sadegh et al., Iterated denoising energy matching, 2024, arXiv 2402.06121).

Differs from the paper: the score has a force channel and a Gaussian base (`score_model`); the target may
use the control variate; samples come from averaged weights; the learning rate falls to zero by a
cosine; steps of the reverse SDE are exact for a Gaussian of the fine length (`generation`). Two biases
of the published runs are options, off unless a preset says so: `clip` cuts the norm of the target (per
particle), and `diffusion_scale` below 1 cools the generated samples.

No Markov-chain sample ever enters the buffer: it holds prior draws first, then the model's own samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.diffusion.generation import prior_samples, reverse_sde
from workbench.diffusion.options import IdemConfig as Config
from workbench.diffusion.posterior_chains import PosteriorChainOptions
from workbench.diffusion.schedule import GeometricSchedule
from workbench.diffusion.score_model import ScoreModel
from workbench.diffusion.score_target import (
    ScoreTarget,
    chain_score,
    draw_noise,
    estimate_score,
)
from workbench.mcmc import relax
from workbench.problem import Energy, normal_like_space
from workbench.seeds import weights_from
from workbench.training.optimise import Ema, apply_gradients


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


def schedule(config: Config) -> GeometricSchedule:
    """The noise schedule that `config` names."""
    return GeometricSchedule(config.sigma_min, config.sigma_max)


def init(config: Config, energy: Energy, generator: torch.Generator) -> State:
    """An untrained model, whose weights follow from the generator, and a buffer of prior draws, on
    the generator's device."""
    device = generator.device
    with weights_from(generator):
        model = ScoreModel(energy, schedule(config), config.network).to(device)
    buffer = torch.zeros((config.buffer_size, *energy.event_shape), device=device)
    n = min(config.buffer_size, 4 * config.samples_per_round)
    first = prior_samples(energy, schedule(config), config.network.length, n, generator)
    if config.relax_start:
        first = relax.relax(relax.Config(n_steps=300), energy, first.double()).x
    buffer[:n] = first
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
    device = generator.device
    rows = torch.randint(state.filled, (config.batch,), generator=generator, device=device)
    t = torch.rand((config.batch,), generator=generator, device=device).clamp_min(1e-3)
    variance = schedule(config).variance(t)
    spread = variance.sqrt().view(-1, *[1] * len(energy.event_shape))
    noise = normal_like_space(energy, config.batch, generator)
    clean = state.buffer[rows]
    x = clean + spread * noise
    target = _target(config, energy, x, variance, clean, generator)
    goal = clip_norm(target.score, config.clip)
    scale = (spread**2 + config.network.fine_length**2).sqrt()
    goal = clip_norm(goal * scale, config.noise_clip) / scale
    residual = ((state.model(x, t) - goal) * scale).flatten(1).square().sum(1)
    _set_learning_rate(config, state)
    loss = residual.mean() / energy.degrees_of_freedom
    gradients = apply_gradients(loss, state.model, state.optimiser, config.gradient_norm)
    info |= {"loss": gradients["loss"], "gradient_norm": gradients["gradient_norm"]}
    state.average.update(state.model)
    state.steps_done += 1
    info["effective_draws"] = float(target.effective.median())
    info["mixing"] = float(target.mixing.mean())
    return state, info


def _target(
    config: Config,
    energy: Energy,
    x: Tensor,
    variance: Tensor,
    clean: Tensor,
    generator: torch.Generator,
) -> ScoreTarget:
    control = config.control
    if config.chain_steps:
        return chain_score(energy, x, variance, clean, chain_options(config), generator, control)
    draws = draw_noise(energy, len(x), config.draws, generator, x.dtype)
    return estimate_score(energy, x, variance, draws, control, config.proposal_length)


def chain_options(config: Config) -> PosteriorChainOptions:
    """The chains of a target where `config` asks for them."""
    return PosteriorChainOptions(
        config.draws,
        config.chain_steps,
        config.chain_leapfrog,
        config.network.fine_length,
        config.global_draws,
        config.proposal_length or config.network.fine_length,
    )


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
        x = prior_samples(energy, schedule(config), config.network.length, size, generator)
        parts.append(
            reverse_sde(
                model,
                energy,
                schedule(config),
                x,
                config.sde_steps,
                generator,
                config.network.fine_length,
                config.diffusion_scale,
            )
        )
    return torch.cat(parts)


def _refill(
    config: Config, energy: Energy, state: State, generator: torch.Generator
) -> dict[str, float]:
    new = generate(config, energy, state.average.module, config.samples_per_round, generator)  # type: ignore[arg-type]
    size = len(state.buffer)
    rows = (state.next_row + torch.arange(len(new), device=new.device)) % size
    state.buffer[rows] = new
    state.next_row = int((state.next_row + len(new)) % size)
    state.filled = min(size, state.filled + len(new))
    return {"median_energy": float(energy.energy(new.double()).median())}


def _set_learning_rate(config: Config, state: State) -> None:
    progress = state.steps_done / config.steps
    rate = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
