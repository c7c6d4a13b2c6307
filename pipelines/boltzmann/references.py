"""What samples are compared with: reference samples, and a classical sampler at the same cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pipelines.boltzmann.chains import kernel
from pipelines.boltzmann.drawn import Cost
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem, starts
from pipelines.boltzmann.reference_file import read_reference
from workbench.data import manifests
from workbench.errors import InputError
from workbench.mcmc import collect, hmc, tempering
from workbench.metrics.distances import energy_w2
from workbench.problem import CountedEnergy, ExactSampler
from workbench.runs.folder import RunFolder
from workbench.samples import WeightedSamples
from workbench.training.fit import fit

N_EXACT = 20_000
# Clusters up to this size get a reference of their own by parallel tempering, in about a minute.
LARGEST_OWN_REFERENCE = 20
BASELINE_SECONDS = 300.0
# The baseline has at least this many steps, with fewer ladders where its budget is small.
BASELINE_STEPS, BASELINE_THIN, BASELINE_MOST_KEPT = 200, 5, 2000
# Blocks from one look at the baseline's energy-W2 to the next.
BASELINE_LOOK = 20


@dataclass(frozen=True)
class _Size:
    """Ladders and temperatures of an own reference, and its steps."""

    ladders: int = 64
    rungs: int = 3
    hottest: float = 3.0
    leapfrog: int = 8
    warmup: int = 500
    kept: int = 160
    thin: int = 10


REFERENCE_SIZE = {"smoke": _Size(ladders=32, warmup=200, kept=60, thin=5)}


@dataclass(frozen=True)
class Reference:
    samples: WeightedSamples
    line: str


@dataclass(frozen=True)
class Baseline:
    """Parallel tempering beside a learned sampler: its samples, its cost, and the energy-W2 to the
    reference [point] against its cost [point], or nothing where there is no reference."""

    samples: WeightedSamples
    cost: Cost
    spent: list[Cost]
    energy_w2: list[float]
    line: str


def find_reference(config: Config, problem: Problem, folder: RunFolder) -> Reference | None:
    """The best there is: the user's file, exact draws, the public frames where they are at hand, or
    an own long run of parallel tempering for small clusters; None otherwise."""
    if config.reference is not None and problem.reference is not None:
        line = f"{len(problem.reference)} samples of {config.reference.name}"
        return Reference(_frames(problem, problem.reference), line)
    if isinstance(problem.energy.wrapped, ExactSampler):
        generator = problem.generator(config.seed, "reference")
        x = problem.energy.wrapped.exact_samples(N_EXACT, generator).double()
        return Reference(_weigh(problem, x), f"{N_EXACT} exact draws of the density")
    if problem.molecule is not None:
        return _public_frames(config, problem)
    if problem.energy.event_shape[0] <= LARGEST_OWN_REFERENCE:
        return _own_chains(config, problem, folder)
    return None


def _frames(problem: Problem, x: Tensor) -> WeightedSamples:
    """Frames of a file as one chain in the order of time: a rare basin is often visited in a few long
    stretches, and errors are taken over blocks."""
    chain = torch.zeros(len(x), dtype=torch.int64)
    return WeightedSamples(x, problem.energy.wrapped.energy(x), None, chain)


def _weigh(problem: Problem, x: Tensor) -> WeightedSamples:
    return WeightedSamples(x, problem.energy.wrapped.energy(x))


def _public_frames(config: Config, problem: Problem) -> Reference | None:
    """The published frames belong to the one system and temperature they were made for."""
    if config.label != "alanine-dipeptide" or config.temperature != 300.0:
        return None
    try:
        path = manifests.locate("alanine-dipeptide-frames")[0]
    except InputError:
        return None
    assert problem.molecule is not None
    x = read_reference(path, problem.energy, problem.molecule.topology)
    return Reference(_frames(problem, x), f"{len(x)} published frames (data set {path.name})")


def _own_chains(config: Config, problem: Problem, folder: RunFolder) -> Reference:
    size = REFERENCE_SIZE.get(config.preset, _Size())
    settings = tempering.Config(
        n_rungs=size.rungs,
        beta_min=1.0 / size.hottest,
        move=hmc.Config(step_size=0.02, n_leapfrog=size.leapfrog, n_warmup=size.warmup),
    )
    own, generator = _uncounted(problem), problem.generator(config.seed, "reference")
    plan = collect.Config(n_kept=size.kept, thin=size.thin)
    x = starts(replace(config, start="default"), own, size.ladders, generator)
    first = collect.init_collection(plan, tempering, settings, own.energy, x, generator)

    def step(state: Any) -> tuple[Any, dict[str, float]]:
        inner, info = collect.collect_step(
            plan, tempering, settings, own.energy, state[0], generator
        )
        return (inner, generator), info

    fitted = fit(
        (first, generator),
        step,
        collect.n_blocks(plan, size.warmup),
        name="reference",
        folder=folder,
        log_every=50,
        checkpoint_every=50,
    )
    samples = collect.target_samples(tempering, settings, fitted.state[0])
    line = (
        f"{len(samples)} samples of an own parallel tempering with other random numbers: "
        f"{size.ladders} ladders of {size.rungs} temperatures"
    )
    return Reference(samples, line)


def _uncounted(problem: Problem) -> Problem:
    """The same problem with a counter of its own."""
    return replace(problem, energy=CountedEnergy(problem.energy.wrapped))


def run_baseline(
    config: Config, problem: Problem, reference: Reference | None, floor: float | None, cost: Cost
) -> Baseline | None:
    """Parallel tempering with the ladder of `config.chain` from relaxed random starts, until its
    energy-W2 meets the noise floor, or it has used as many evaluations as the learned sampler, or
    five minutes have passed; that is what is compared. After equal evaluations it goes on to equal
    seconds of processor time, for the curve and the line alone, since time differs from run to run.
    None where it does not warm up in that time."""
    own, generator = _uncounted(problem), problem.generator(config.seed, "baseline")
    ladders, settings, plan = _baseline_size(config, own, cost.n_evaluations)
    x = starts(replace(config, start="default"), own, ladders, generator)
    state = collect.init_collection(plan, tempering, settings, own.energy, x, generator)
    wall, cpu = time.perf_counter(), time.process_time()
    looks: list[Cost] = []
    distances: list[float] = []
    compared: tuple[WeightedSamples, Cost, str] | None = None
    over = False
    while not over:
        if state.n_kept == plan.n_kept:
            state = _later_half(state)
        state = collect.collect_step(plan, tempering, settings, own.energy, state, generator)[0]
        seconds = time.perf_counter() - wall
        spent = Cost(own.energy.n_energy, seconds, time.process_time() - cpu)
        why = ""
        if reference is not None and state.n_kept and state.n_kept % BASELINE_LOOK == 0:
            looks.append(spent)
            distance = energy_w2(_second_half(settings, state).energy, reference.samples.energy)
            distances.append(distance)
            why = "it met the noise floor" if floor is not None and distance <= floor else ""
        over = bool(why) or seconds > BASELINE_SECONDS
        if seconds > BASELINE_SECONDS:
            why = why or "five minutes had passed"
        if spent.n_evaluations >= cost.n_evaluations and state.n_kept:
            why = why or "it had used as many evaluations as the learned sampler"
            over = over or reference is None or spent.cpu_seconds >= cost.cpu_seconds
        if why and compared is None and state.n_kept:
            compared = (_second_half(settings, state), spent, why)
    if compared is None:
        return None
    samples, spent, why = compared
    line = (
        f"Parallel tempering ({ladders} ladders of {settings.n_rungs} temperatures from relaxed "
        f"random starts) stopped when {why}: {spent.n_evaluations:,} evaluations and "
        f"{spent.cpu_seconds:.3g} CPU seconds, against {cost.n_evaluations:,} and "
        f"{cost.cpu_seconds:.3g} of the learned sampler." + _at_equal_cost(looks, distances, cost)
    )
    return Baseline(samples, spent, looks, distances, line)


def _later_half(state: collect.Collection) -> collect.Collection:
    """A full collection without its earlier half, so that chains may go on in the same memory."""
    half = len(state.x) // 2
    state.x[:half], state.energy[:half] = state.x[-half:].clone(), state.energy[-half:].clone()
    return replace(state, n_kept=half)


def _at_equal_cost(looks: list[Cost], distances: list[float], budget: Cost) -> str:
    """Its energy-W2 when it had spent what the learned sampler did, as a sentence."""
    said = []
    for what, spent, limit in (
        ("evaluations", [look.n_evaluations for look in looks], budget.n_evaluations),
        ("CPU seconds", [look.cpu_seconds for look in looks], budget.cpu_seconds),
    ):
        within = [w2 for w2, used in zip(distances, spent, strict=True) if used <= limit]
        if within:
            said.append(f"{within[-1]:.3g} at equal {what}")
    return f" Its energy-W2: {', '.join(said)} (or where it stopped before)." if said else ""


def _baseline_size(
    config: Config, problem: Problem, budget: int
) -> tuple[int, tempering.Config, collect.Config]:
    """Ladders, sampler and plan so that `budget` evaluations leave samples after the warm-up."""
    settings = kernel(config, problem, "pt")[1]
    per_ladder = settings.n_rungs * settings.move.leapfrog_range()[1]
    ladders = max(4, min(config.chain.chains, budget // (BASELINE_STEPS * per_ladder)))
    n_steps = max(BASELINE_STEPS, budget // (ladders * per_ladder))
    warmup = min(settings.move.n_warmup, n_steps // 3)
    settings = replace(settings, move=replace(settings.move, n_warmup=warmup))
    thin = max(BASELINE_THIN, n_steps // BASELINE_MOST_KEPT)
    # The number of leapfrog steps varies: twice as many rows as the largest number needs.
    return ladders, settings, collect.Config(n_kept=2 * n_steps // thin, thin=thin)


def _second_half(settings: tempering.Config, state: collect.Collection) -> WeightedSamples:
    """Samples of the target, without the first half of each chain."""
    x, energy = collect.target_traces(tempering, settings, state)
    x, energy = x[len(x) // 2 :], energy[len(energy) // 2 :]
    chain = torch.arange(x.shape[1]).repeat(len(x))
    # Copies: the chains may go on in the same memory.
    return WeightedSamples(x.flatten(0, 1).clone(), energy.flatten().clone(), None, chain)
