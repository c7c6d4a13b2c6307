"""The Schrödinger bridge from data to a density that is given only by its energy.

Among all processes from p0 (samples) to p1 = exp(-E) / Z the one closest to sigma dW. Iterative
proportional fitting alternates two half-bridges of discrete Gaussian chains:

    backward   max_B E_{x_0 ~ p0, path ~ F} log B(path | x_K)                        (maximum likelihood)
    forward    min_F E_{x_0} Var_{path | x_0} [ log F(path | x_0) - log B(path | x_K) + E(x_K) ]

F starts as the reference, and its first steps are taken by likelihood on paths drawn backward from a buffer of
ends. The later ones need no samples of p1: the variance is taken over trajectories that share their start, of
any origin. Part of them are drawn backward by B from the buffer: half of it are chains of MALA that never
restart, so that a mode is not lost with the paths that led to it, and half the latest ends of F, so that what F
finds is kept. The law of the buffer does not matter to the minimum, its support does.

Tamogashev and Malkin, Data-to-energy stochastic dynamics, 2025, arXiv 2509.26364; iterative proportional
fitting: De Bortoli et al., Diffusion Schrödinger bridge, 2021, arXiv 2106.01357.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.bridge.gaussian_chain import GaussianChain
from workbench.bridge.objectives.conditional_variance import conditional_variance
from workbench.bridge.options import DataToEnergyConfig as Config
from workbench.errors import InputError
from workbench.mcmc import mala
from workbench.problem import Energy
from workbench.runs.folder import RunFolder
from workbench.seeds import weights_from
from workbench.training.fit import fit
from workbench.training.optimise import Ema, apply_gradients

_LOWEST_RATE = 0.02  # of the learning rate, at the end of the cosine


@dataclass
class State:
    """Both chains with averaged copies, their optimisers, and the buffer [end, feature] of ends."""

    forward: GaussianChain
    backward: GaussianChain
    forward_average: Ema
    backward_average: Ema
    optimisers: list[torch.optim.Optimizer]
    buffer: Tensor
    generator: torch.Generator
    steps_done: int = 0


def init(
    config: Config,
    data: Float[Tensor, "sample feature"],
    energy: Energy,
    generator: torch.Generator,
) -> State:
    """Both chains at the reference, and a buffer of ends of the reference process.

    Raises InputError where data and energy do not live in the same space."""
    if tuple(data.shape[1:]) != tuple(energy.event_shape) or data.ndim != 2:
        raise InputError(
            f"samples of shape {tuple(data.shape[1:])} and an energy on {tuple(energy.event_shape)}: "
            "give both on vectors of the same size"
        )
    dim = data.shape[1]
    size = (dim, config.sigma, config.n_steps, config.width, config.layers, config.learn_variance)
    with weights_from(generator):
        forward, backward = (
            GaussianChain(*size, backward=b).to(generator.device) for b in (False, True)
        )
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(chain.parameters(), lr=config.learning_rate, fused=True)
        for chain in (forward, backward)
    ]
    averages = Ema(forward, config.ema_decay), Ema(backward, config.ema_decay)
    buffer = _first_ends(config, data, energy, generator)
    return State(forward, backward, *averages, optimisers, buffer, generator)


def train(
    config: Config,
    data: Float[Tensor, "sample feature"],
    energy: Energy,
    generator: torch.Generator,
    folder: RunFolder | None = None,
    name: str = "bridge",
) -> State:
    """All sweeps; the chains to use are `forward_average.module` and `backward_average.module`."""
    state = init(config, data, energy, generator)
    n_steps = config.sweeps * (config.backward_steps + config.forward_steps)
    return fit(
        state,
        lambda state: step(config, data, energy, state),
        n_steps,
        name=name,
        folder=folder,
        log_every=50,
        checkpoint_every=500,
    ).state


def step(
    config: Config, data: Float[Tensor, "sample feature"], energy: Energy, state: State
) -> tuple[State, dict[str, float]]:
    """One gradient step of the half-bridge that is due. `loss` is the negative log-likelihood per
    step and coordinate, or the variance; `forward` says which: 0 or 1."""
    sweep = config.backward_steps + config.forward_steps
    turn = state.steps_done % sweep
    rate = config.learning_rate * _cosine(state.steps_done / (sweep * config.sweeps))
    for optimiser in state.optimisers:
        optimiser.param_groups[0]["lr"] = rate
    if turn < config.backward_steps:
        info = _backward_step(config, data, state)
    elif state.steps_done < config.backward_steps + config.forward_steps // 2:
        info = _first_forward_step(config, energy, state)
    else:
        info = _forward_step(config, data, energy, state)
    state.steps_done += 1
    return state, {**info, "forward": float(turn >= config.backward_steps)}


def _backward_step(config: Config, data: Tensor, state: State) -> dict[str, float]:
    """B towards the reversal of F, on paths from the data."""
    start = _starts(data, config.starts * config.paths, state.generator)
    path = state.forward_average.module.sample(start, state.generator)  # type: ignore[operator]
    loss = -state.backward.log_prob(path).mean() / (config.n_steps * data.shape[1])
    found = apply_gradients(loss, state.backward, state.optimisers[1], config.gradient_norm)
    state.backward_average.update(state.backward)
    return {"loss": found["loss"], "gradient_norm": found["gradient_norm"]}


def _first_forward_step(config: Config, energy: Energy, state: State) -> dict[str, float]:
    """F towards paths drawn backward from the buffer by likelihood: the reference ends so high in energy that
    variances say little. The buffer's law need not be right, which the steps after these put right."""
    ends = torch.cat([_refreshed(config, energy, state) for _ in range(config.paths)])
    path = state.backward_average.module.sample(ends, state.generator)  # type: ignore[operator]
    loss = -state.forward.log_prob(path).mean() / (config.n_steps * ends.shape[1])
    found = apply_gradients(loss, state.forward, state.optimisers[0], config.gradient_norm)
    state.forward_average.update(state.forward)
    return {"loss": found["loss"], "gradient_norm": found["gradient_norm"]}


def _forward_step(config: Config, data: Tensor, energy: Energy, state: State) -> dict[str, float]:
    """F towards the reversal of B from p1, on groups of paths that share their start."""
    backward: GaussianChain = state.backward_average.module  # type: ignore[assignment]
    n, m = config.starts, config.paths
    draw = torch.rand(1, generator=state.generator, device=state.generator.device)
    replayed = float(draw) < config.off_policy
    if replayed:
        first = backward.sample(_refreshed(config, energy, state), state.generator)
        start, others = first[0], m - 1
    else:
        start, others = _starts(data, n, state.generator), m
    path = state.forward.sample(start.repeat(others, 1), state.generator)
    if not replayed:
        _remember(state, path[-1])
    paths = torch.cat([first, path], dim=1) if replayed else path
    with torch.no_grad():
        log_backward = backward.log_prob(paths)
        final = energy.energy(paths[-1])
    scores = (state.forward.log_prob(paths), log_backward, final)
    loss = conditional_variance(*(score.view(m, n).T for score in scores))
    found = apply_gradients(loss, state.forward, state.optimisers[0], config.gradient_norm)
    state.forward_average.update(state.forward)
    return {"loss": found["loss"], "gradient_norm": found["gradient_norm"]}


def _starts(data: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return data[torch.randint(len(data), (n,), generator=generator, device=generator.device)]


def _first_ends(config: Config, data: Tensor, energy: Energy, generator: torch.Generator) -> Tensor:
    """Ends of the reference process after `warmup` moves of MALA, so that they lie in the modes around."""
    start = _starts(data, config.buffer_size, generator)
    noise = torch.randn(start.shape, generator=generator, device=generator.device)
    ends = start + config.sigma * noise
    return _moved(config, energy, ends, config.langevin_warmup, config.langevin_warmup, generator)


def _refreshed(config: Config, energy: Energy, state: State) -> Tensor:
    """Ends from the buffer after some moves of MALA, written back."""
    rows = _some(len(state.buffer), config.starts, state.generator)
    state.buffer[rows] = ends = _moved(
        config, energy, state.buffer[rows], config.langevin_steps, 0, state.generator
    )
    return ends


def _moved(
    config: Config, energy: Energy, x: Tensor, n: int, n_warmup: int, generator: torch.Generator
) -> Tensor:
    """`x` after `n` moves of MALA, whose step adapts in the first `n_warmup`."""
    moves = mala.Config(step_size=config.langevin_step_size, n_warmup=n_warmup)
    chains = mala.init(moves, energy, x, generator)
    for _ in range(n):
        chains, _ = mala.step(moves, energy, chains, generator)
    return chains.x


def _remember(state: State, ends: Tensor) -> None:
    """New ends in place of random old ones of the second half: the chains of the first half go on, so that
    a mode is not lost with the paths that led to it."""
    half = len(state.buffer) // 2
    ends = ends[: len(state.buffer) - half]
    rows = _some(len(state.buffer) - half, len(ends), state.generator)
    state.buffer[half + rows] = ends


def _some(n: int, most: int, generator: torch.Generator) -> Tensor:
    """At most `most` different rows of n."""
    return torch.randperm(n, generator=generator, device=generator.device)[:most]


def _cosine(progress: float) -> float:
    return max(_LOWEST_RATE, 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))
