"""The classical samplers: MALA, HMC, parallel tempering with MBAR, annealed SMC."""

from __future__ import annotations

import time
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch

from pipelines.boltzmann.drawn import Cost, Drawn
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem, starts
from workbench.mcmc import collect, hmc, mala, mbar, smc, tempering
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.samples import WeightedSamples
from workbench.training.fit import Fitted, fit

# First step sizes, by length unit; adaptation in warm-up does the rest.
FIRST_STEP = {"1": 0.05, "nm": 0.002}


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


def draw_chains(config: Config, problem: Problem, folder: RunFolder) -> Drawn:
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


def draw_smc(config: Config, problem: Problem) -> Drawn:
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
