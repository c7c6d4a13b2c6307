"""Training a bridge between snapshots: one loop for every method.

    icfm        independent pairs, straight lines
    otcfm       optimal pairs, straight lines
    sbcfm       entropic pairs, Brownian bridges
    sf2m        entropic pairs, Brownian bridges, and their score: stochastic trajectories
    spline      chains of optimal pairs, cubic splines through them
    alicfm      an interpolant learned against a discriminator (`adversarial`), then flow matching
    unbalanced  unbalanced pairs, Wasserstein-Fisher-Rao paths, and their growth

Differs from the published codes: plans are solved once over whole snapshots and not per minibatch; times
are real and may be unequal; errors are weighted by the interval squared, so that short intervals with their
large velocities do not drown the others; learning rates fall by a cosine and samples come from averaged
weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.bridge import adversarial, batches
from workbench.bridge.couplings.plan import Plan
from workbench.bridge.frame import Frame
from workbench.bridge.model import BridgeModel, Networks
from workbench.bridge.networks import Field, Penalised, Proximal, waves_for
from workbench.bridge.objectives.flow_matching import flow_matching
from workbench.bridge.objectives.score_matching import drift_score_matching, plain_score_matching
from workbench.bridge.options import BridgeConfig as Config
from workbench.bridge.problem import BridgeProblem, prepare
from workbench.runs.folder import RunFolder
from workbench.seeds import weights_from
from workbench.training.fit import fit
from workbench.training.optimise import Ema, apply_gradients

MakeVelocity = Callable[[int], nn.Module]
_LOWEST_RATE = 0.01  # of the learning rate, at the end of the cosine


@dataclass
class State:
    """Everything the next step depends on. `interpolant` is that of alicfm, trained before."""

    networks: Networks
    average: Ema
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    interpolant: adversarial.AdversarialInterpolant | None = None
    steps_done: int = 0


def train(
    config: Config,
    cells: Sequence[Float[Tensor, "cell feature"]],
    times: Float[Tensor, "time"],
    generator: torch.Generator,
    *,
    weights: Sequence[Float[Tensor, "cell"]] | None = None,
    masses: Sequence[float] | None = None,
    plans: Sequence[Plan] | None = None,
    frame: Frame | None = None,
    velocity: MakeVelocity | None = None,
    folder: RunFolder | None = None,
    name: str = "training",
    cache: Path | None = None,
) -> BridgeModel:
    """A bridge through snapshots at ascending times.

    cells, times   data units and time unit; leave out what is held out
    weights        of the cells of each snapshot; None = equal
    masses         total mass at each time, for unbalanced bridges with given masses
    plans          solved before; None = solve them now, kept in the folder `cache`
    generator      its device is where training happens; plans are solved on the processor
    velocity       makes a velocity network for so many features: frame position and frame time ->
                   velocity; see `networks.Penalised` and `networks.Proximal`
    folder, name   where training is logged and saved, so that it can be resumed
    """
    kept: dict[str, Any] = {"weights": weights, "masses": masses, "plans": plans}
    problem = prepare(config, cells, times, generator, frame=frame, cache=cache, **kept)
    state = init(config, problem, generator, velocity)
    if config.method == "alicfm":
        state.interpolant = adversarial.train(config.adversarial, problem, generator, folder, name)
    fitted = fit(
        state,
        lambda state: step(config, problem, state),
        config.steps,
        name=name,
        folder=folder,
        log_every=50,
        checkpoint_every=1000,
    )
    return model_of(config, problem, fitted.state)


def init(
    config: Config,
    problem: BridgeProblem,
    generator: torch.Generator,
    velocity: MakeVelocity | None = None,
) -> State:
    """Untrained networks whose weights follow from the generator."""
    dim = problem.cells.shape[1]
    span = float(problem.times[-1] - problem.times[0])
    waves = waves_for(len(problem.times))

    def make(n_out: int) -> Field:
        return Field(dim, n_out, config.width, config.layers, waves, span)

    with weights_from(generator):
        networks = Networks(
            velocity(dim) if velocity is not None else make(dim),
            make(dim) if config.method == "sf2m" else None,
            make(1) if config.method == "unbalanced" else None,
        ).to(generator.device)
    optimiser = torch.optim.AdamW(
        networks.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    return State(networks, Ema(networks, config.ema_decay), optimiser, generator)


def step(config: Config, problem: BridgeProblem, state: State) -> tuple[State, dict[str, float]]:
    """One gradient step; `info` has the loss, its parts and the gradient norm before clipping."""
    path = None if state.interpolant is None else state.interpolant.path
    batch = batches.draw(config, problem, state.generator, path)
    parts = losses(config, state.networks, batch)
    rate = config.learning_rate * _cosine(state.steps_done / config.steps)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    total = torch.stack(list(parts.values())).sum()
    gradients = apply_gradients(total, state.networks, state.optimiser, config.gradient_norm)
    if isinstance(state.networks.velocity, Proximal):
        state.networks.velocity.proximal(rate)
    state.average.update(state.networks)
    state.steps_done += 1
    info = {"loss": gradients["loss"], "gradient_norm": gradients["gradient_norm"]}
    if len(parts) > 1:
        info |= {name: float(part.detach()) for name, part in parts.items()}
    return state, info


def losses(
    config: Config, networks: Networks, batch: batches.Batch
) -> dict[str, Float[Tensor, ""]]:
    """The terms of the loss by name."""
    velocity = networks.velocity(batch.x, batch.t) * batch.gap[:, None]
    parts = {"velocity": flow_matching(velocity, batch.velocity, batch.weight)}
    if networks.score is not None and batch.noise is not None and batch.deviation is not None:
        score = networks.score(batch.x, batch.t)
        if config.score_scaling == "plain":
            parts["score"] = plain_score_matching(score, batch.noise, batch.deviation)
        else:
            parts["score"] = drift_score_matching(score, batch.noise, batch.deviation, config.sigma)
    if networks.growth is not None and batch.growth is not None:
        growth = networks.growth(batch.x, batch.t) * batch.gap[:, None]
        error = flow_matching(growth, batch.growth[:, None], batch.weight)
        parts["growth"] = config.unbalanced.growth_weight * error
    if isinstance(networks.velocity, Penalised):
        parts["penalty"] = networks.velocity.penalty()
    return parts


def model_of(config: Config, problem: BridgeProblem, state: State) -> BridgeModel:
    """The bridge with averaged weights."""
    networks: Any = state.average.module
    note = config.unbalanced.label() if config.method == "unbalanced" else None
    return BridgeModel(
        problem.frame, networks, config.sigma, config.score_scaling, problem.plans, note
    )


def _cosine(progress: float) -> float:
    return max(_LOWEST_RATE, 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))
