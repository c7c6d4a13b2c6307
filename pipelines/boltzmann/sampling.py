"""Train and sample: each sampler as stages of the one fit loop, with its cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem, starts
from workbench.diffusion import idem, likelihood
from workbench.diffusion.score_model import ScoreModel
from workbench.mcmc import collect, hmc, mala, mbar, smc, tempering
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.samples import WeightedSamples
from workbench.training.devices import resolve_device
from workbench.training.fit import Fitted, fit

CHUNK = 500
# First step sizes, by length unit; adaptation in warm-up does the rest.
FIRST_STEP = {"1": 0.05, "nm": 0.002}


@dataclass(frozen=True)
class Cost:
    """Training and sampling, without compilation and evaluation."""

    n_evaluations: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Drawn:
    """What a sampler gave.

    raw        its samples as they are, none dropped
    weighted   a second set with importance weights, or None
    energies, geometric   traces [kept, chain] of Markov chains, or None
    figures, lines        what the sampler says of itself, for metrics.json and the report
    log_z_known           the mean weight is Z; weights of MBAR have another constant
    """

    raw: WeightedSamples
    cost: Cost
    weighted: WeightedSamples | None = None
    energies: Tensor | None = None
    geometric: Tensor | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    log_z_known: bool = True


def draw(config: Config, problem: Problem, folder: RunFolder) -> Drawn:
    """Samples by the sampler that `problem` names; goes on from checkpoints where there are any."""
    _compile_kernels(problem)
    if problem.sampler == "idem":
        return _draw_idem(config, problem, folder)
    if problem.sampler == "smc":
        return _draw_smc(config, problem)
    if problem.sampler == "md":
        from pipelines.boltzmann.dynamics import draw_md

        return draw_md(config, problem, folder)
    return _draw_chains(config, problem, folder)


def _compile_kernels(problem: Problem) -> None:
    """Compilation is not a cost of the sampler: both precisions are called once, uncounted."""
    x = problem.energy.wrapped.initial(1, torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.float64):
        problem.energy.wrapped.energy(x.to(dtype))
        problem.energy.wrapped.energy_and_force(x.to(dtype))


# ------------------------------------------------------------------------------------------ iDEM


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


def _draw_idem(config: Config, problem: Problem, folder: RunFolder) -> Drawn:
    trained = train_idem(config, problem, folder)
    model = trained.state[0].average.module
    raw, drawing = raw_samples(config, problem, folder, model, config.n_samples, "generation")
    n_raw = problem.energy.n_energy
    weighted, _ = flow_samples(config, problem, folder, model, config.n_samples, "flow")
    kind = likelihood.divergence_kind(config.flow, problem.energy)
    lines = [
        f"iDEM, {config.idem.steps} gradient steps, {config.idem.draws} energy evaluations per "
        f"target ({_target_name(config)}), {config.idem.sde_steps} steps of the reverse SDE.",
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


def _target_name(config: Config) -> str:
    control = "control variate" if config.idem.control == "variance" else "plain"
    if config.idem.proposal_length is None:
        return f"{control}, draws around the noised point"
    return f"{control}, draws from a Gaussian posterior"


def raw_samples(
    config: Config, problem: Problem, folder: RunFolder, model: ScoreModel, n: int, stage: str
) -> tuple[WeightedSamples, Fitted]:
    """`n` samples of the reverse SDE, none dropped; energies in float64."""

    def some(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = idem.generate(config.idem, problem.energy, model, size, generator).double()
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


# --------------------------------------------------------------------------------- Markov chains


def kernel(config: Config, problem: Problem, name: str) -> tuple[ModuleType, Any]:
    """The sampler's module and its configuration: "hmc", "mala" or "pt"."""
    chain = config.chain
    step = FIRST_STEP[problem.energy.length_unit]
    move_hmc = hmc.Config(step_size=step, n_leapfrog=chain.leapfrog, n_warmup=chain.warmup)
    move_mala = mala.Config(step_size=step, n_warmup=chain.warmup)
    if name == "hmc":
        return hmc, move_hmc
    if name == "mala":
        return mala, move_mala
    return tempering, tempering.Config(
        n_rungs=chain.rungs,
        beta_min=1.0 / chain.hottest,
        n_kept_rungs=chain.rungs if chain.mbar else 1,
        move=move_hmc if chain.rung_move == "hmc" else move_mala,
    )


def _draw_chains(config: Config, problem: Problem, folder: RunFolder) -> Drawn:
    fitted = _run_chains(config, problem, folder, "chains", config.chain.kept)
    return _chains_drawn(config, problem, fitted)


def _plan(config: Config, n_kept: int) -> collect.Config:
    return collect.Config(n_kept=n_kept, thin=config.chain.thin)


def _run_chains(
    config: Config,
    problem: Problem,
    folder: RunFolder,
    stage: str,
    n_kept: int,
    sampler: Any = None,
) -> Fitted:
    """Chains from their starts, or from the state `sampler` of chains that are warm already."""
    module, settings = kernel(config, problem, problem.sampler)
    energy, plan = problem.energy, _plan(config, n_kept)
    generator = problem.generator(config.seed, stage)
    x = starts(config, problem, config.chain.chains, generator).float()
    first = collect.init_collection(plan, module, settings, energy, x, generator)
    if sampler is not None:
        first = replace(first, sampler=sampler)

    def step(state: Any) -> tuple[Any, dict[str, float]]:
        inner, info = collect.collect_step(plan, module, settings, energy, state[0], generator)
        return (inner, generator, energy), info

    n_blocks = collect.n_blocks(plan, config.chain.warmup if sampler is None else 0)
    return fit(
        (first, generator, energy),
        step,
        n_blocks,
        name=stage,
        folder=folder,
        log_every=max(1, n_blocks // 400),
        checkpoint_every=max(10, n_blocks // 20),
    )


def continue_chains(
    config: Config, problem: Problem, folder: RunFolder, n: int, stage: str
) -> WeightedSamples:
    """At least `n` more samples of a finished run's chains, from where they stopped."""
    warm = _run_chains(config, problem, folder, "chains", config.chain.kept).state[0].sampler
    n_kept = -(-n // config.chain.chains)
    fitted = _run_chains(config, problem, folder, stage, n_kept, warm)
    module, settings = kernel(config, problem, problem.sampler)
    return _in_double(problem, collect.target_samples(module, settings, fitted.state[0]))


def _in_double(problem: Problem, samples: WeightedSamples) -> WeightedSamples:
    x = samples.x.double()
    return replace(samples, x=x, energy=problem.energy.wrapped.energy(x))


def _chains_drawn(config: Config, problem: Problem, fitted: Fitted) -> Drawn:
    module, settings = kernel(config, problem, problem.sampler)
    plan, state = _plan(config, config.chain.kept), fitted.state[0]
    xs, energies = collect.target_traces(module, settings, state)
    geometric = torch.stack([problem.geometric(x) for x in xs])
    acceptance = collect.mean_acceptance(plan, state)
    figures = {"acceptance": Figure(float(acceptance.mean()))}
    lines = [
        f"{problem.sampler.upper()}: {config.chain.chains} independent chains, {config.chain.warmup} "
        f"warm-up steps, then {config.chain.kept} samples each, {config.chain.thin} steps apart."
    ]
    if problem.sampler == "pt":
        sampler = state.sampler
        rates = sampler.swap_rates()
        if len(rates):
            figures["swap_rate"] = Figure(float(rates.min()))
        figures["round_trips"] = Figure(int(sampler.round_trips.sum()), n=config.chain.chains)
        temperatures = ", ".join(f"{1 / float(b):.3g}" for b in sampler.betas)
        lines.append(f"Temperatures of the ladder, in units of the target's: {temperatures}.")
    if state.n_nonfinite:
        lines.append(f"{state.n_nonfinite} proposals were refused because they were not finite.")
    weighted = None
    if problem.sampler == "pt" and config.chain.mbar:
        weighted, more = _by_mbar(settings, state)
        lines += more
    raw = _in_double(problem, collect.target_samples(module, settings, state))
    cost = Cost(problem.energy.n_energy, fitted.seconds, fitted.cpu_seconds)
    traces = (energies.double(), geometric.double())
    return Drawn(raw, cost, weighted, *traces, figures, lines, log_z_known=False)


def _by_mbar(
    settings: tempering.Config, state: collect.Collection
) -> tuple[WeightedSamples, list[str]]:
    """All rungs weighted for the target, and the ratios of partition functions in words."""
    seen = tempering.observe(settings, state.sampler)
    kept = (state.x[: state.n_kept], state.energy[: state.n_kept])
    ladder = mbar.reweight(mbar.Config(), *kept, seen.beta, seen.ladder)
    ratios = [
        f"{float(value):.3f} ± {float(error):.2g} at T = {1 / float(beta):.3g}"
        for beta, value, error in zip(
            ladder.betas, ladder.log_partition, ladder.stderr, strict=True
        )
    ][1:]
    line = "log Z(T) / Z(target) by MBAR over the ladder: " + ", ".join(ratios) + "."
    samples = ladder.samples
    return replace(samples, x=samples.x.double(), energy=samples.energy.double()), [line]


# ------------------------------------------------------------------------------------------- SMC


def _draw_smc(config: Config, problem: Problem) -> Drawn:
    """Not checkpointed: it takes minutes, and starts again from the same random numbers."""
    options = config.smc
    settings = smc.Config(
        n_batches=options.batches,
        n_particles=options.particles,
        sigma=options.sigma,
        n_moves=options.moves,
        move=hmc.Config(n_leapfrog=config.chain.leapfrog, step_size=0.1 * options.sigma),
    )
    generator = problem.generator(config.seed, "smc")
    wall, cpu = time.perf_counter(), time.process_time()
    state = smc.init(settings, problem.energy, generator)
    while state.progress < 1.0:
        state = smc.step(settings, problem.energy, state, generator)[0]
    samples = smc.samples(settings, problem.energy, state)
    cost = Cost(problem.energy.n_energy, time.perf_counter() - wall, time.process_time() - cpu)
    lines = [
        f"Annealed SMC: {options.batches} independent populations of {options.particles} particles "
        f"through {state.n_steps} temperatures from a Gaussian of width {options.sigma:g}."
    ]
    return Drawn(samples, cost, samples, lines=lines)
