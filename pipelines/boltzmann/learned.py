"""iDEM: training, raw samples of the reverse equation, weighted samples of the probability flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pipelines.boltzmann.drawn import Cost, Drawn
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem
from workbench.diffusion import idem, likelihood
from workbench.diffusion.score_model import ScoreModel
from workbench.runs.folder import RunFolder
from workbench.samples import WeightedSamples
from workbench.training.devices import resolve_device
from workbench.training.fit import Fitted, fit

CHUNK = 500


def train_idem(config: Config, problem: Problem, folder: RunFolder) -> Fitted:
    """The trained state; `state[0].average` has the weights that samples are drawn with."""
    energy, device = problem.energy, resolve_device(config.device)
    generator = problem.generator(config.seed, "training", device)
    algorithm = idem.init(config.idem, energy, generator)

    def step(state: Any) -> tuple[Any, dict[str, float]]:
        inner, info = idem.step(config.idem, energy, state[0], generator)
        return (inner, generator, energy), info

    return fit(
        (algorithm, generator, energy),
        step,
        config.idem.steps,
        name="training",
        folder=folder,
        log_every=max(1, config.idem.steps // 400),
        checkpoint_every=max(50, config.idem.steps // 20),
    )


def draw_idem(config: Config, problem: Problem, folder: RunFolder) -> Drawn:
    trained = train_idem(config, problem, folder)
    model = trained.state[0].average.module
    raw, drawing = raw_samples(config, problem, folder, model, config.n_samples, "generation")
    n_raw = problem.energy.n_energy
    n_weighted = config.flow.n_samples or config.n_samples
    weighted, _ = flow_samples(config, problem, folder, model, n_weighted, "flow")
    kind = likelihood.divergence_kind(config.flow, problem.energy)
    lines = [
        f"iDEM, {config.idem.steps} gradient steps, {_evaluations_per_target(config):,} energy "
        f"evaluations per target ({_target_name(config)}), "
        f"{config.idem.final_sde_steps or config.idem.sde_steps} steps of the reverse SDE.",
        "Known biases in force: " + "; ".join(config.idem.biases() or ["none"]) + ".",
        f"Weights: probability flow, {config.flow.n_steps} Runge-Kutta steps, {kind} divergence"
        + (f" with {config.flow.probes} probes" if kind == "hutchinson" else "")
        + "; the weighted samples are a second set, drawn from the flow.",
    ]
    if problem.energy.mean_free:
        lines.append(
            "Gauge: positions have their centre at zero; log Z is over that subspace, rotations "
            "included."
        )
    cost = Cost(n_raw, trained.seconds + drawing.seconds, trained.cpu_seconds + drawing.cpu_seconds)
    return Drawn(raw, cost, weighted, lines=lines)


def _evaluations_per_target(config: Config) -> int:
    options = config.idem
    return idem.chain_options(options).n_evaluations if options.chain_steps else options.draws


def _target_name(config: Config) -> str:
    options = config.idem
    control = "control variate" if options.control == "variance" else "no control variate"
    if options.chain_steps:
        fresh = f", choosing first among {options.global_draws} fresh draws" * bool(
            options.global_draws
        )
        return (
            f"{control}; {options.draws} Markov chains of {options.chain_steps} Hamiltonian moves of "
            f"{options.chain_leapfrog} steps from the clean sample{fresh}"
        )
    if options.proposal_length is None:
        return f"{control}; draws around the noised point"
    return f"{control}; draws of a Gaussian posterior"


def raw_samples(
    config: Config, problem: Problem, folder: RunFolder, model: ScoreModel, n: int, stage: str
) -> tuple[WeightedSamples, Fitted]:
    """`n` samples of the reverse SDE, none dropped; energies in float64."""

    settings = replace(config.idem, sde_steps=config.idem.final_sde_steps or config.idem.sde_steps)

    def some(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = idem.generate(settings, problem.energy, model, size, generator).double()
        return x, torch.zeros(size, dtype=torch.float64)

    x, _, fitted = _in_chunks(config, problem, folder, n, stage, some)
    return WeightedSamples(x, problem.energy.energy(x)), fitted


def flow_samples(
    config: Config, problem: Problem, folder: RunFolder, model: ScoreModel, n: int, stage: str
) -> tuple[WeightedSamples, Fitted]:
    """`n` samples of the probability flow with importance weights."""
    double = ScoreModel(problem.energy, idem.schedule(config.idem), config.idem.network).double()
    double.to(next(model.parameters()).device)
    double.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    double.requires_grad_(False)

    def some(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = likelihood.flow_samples(
            config.flow,
            double,
            problem.energy,
            idem.schedule(config.idem),
            config.idem.network.length,
            size,
            generator,
        )
        assert drawn.log_weights is not None
        return drawn.x, drawn.log_weights

    x, log_weights, fitted = _in_chunks(config, problem, folder, n, stage, some)
    return WeightedSamples(x, problem.energy.energy(x), log_weights), fitted


def _in_chunks(
    config: Config,
    problem: Problem,
    folder: RunFolder,
    n: int,
    stage: str,
    some: Callable[[int, torch.Generator], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor, Fitted]:
    """`n` draws of `some`, a chunk at a time through the fit loop, so that they can be resumed."""
    generator = problem.generator(config.seed, stage, resolve_device(config.device))
    x = torch.zeros((n, *problem.energy.event_shape), dtype=torch.float64)
    values = torch.zeros(n, dtype=torch.float64)

    def step(state: Any) -> tuple[Any, dict[str, float]]:
        x, values, done, _, _ = state
        size = min(CHUNK, n - done)
        new, value = some(size, generator)
        x[done : done + size], values[done : done + size] = new.cpu(), value.cpu()
        return (x, values, done + size, generator, problem.energy), {"samples": done + size}

    fitted = fit(
        (x, values, 0, generator, problem.energy),
        step,
        -(-n // CHUNK),
        name=stage,
        folder=folder,
        log_every=1,
        checkpoint_every=4,
    )
    return fitted.state[0], fitted.state[1], fitted
