"""What samples are compared with: reference samples, and a classical sampler at the same cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem, starts
from pipelines.boltzmann.sampling import Cost
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
LADDERS, RUNGS, HOTTEST, LEAPFROG = 64, 3, 3.0, 8
WARMUP, REFERENCE_KEPT, REFERENCE_THIN = 500, 160, 10
BASELINE_BLOCK = 50


@dataclass(frozen=True)
class Reference:
    samples: WeightedSamples
    line: str


@dataclass(frozen=True)
class Baseline:
    """Parallel tempering beside a learned sampler: its samples, its cost, and the energy-W2 to the
    reference [point] against evaluations [point], or nothing where there is no reference."""

    samples: WeightedSamples
    cost: Cost
    evaluations: list[int]
    energy_w2: list[float]
    line: str


def find_reference(config: Config, problem: Problem, folder: RunFolder) -> Reference | None:
    """The best there is: the user's file, exact draws, the public frames where they are at hand, or
    an own long run of parallel tempering for small clusters; None otherwise."""
    if config.reference is not None:
        x = _read(config.reference, problem)
        return Reference(_weigh(problem, x), f"{len(x)} samples of {config.reference.name}")
    if isinstance(problem.energy.wrapped, ExactSampler):
        generator = problem.generator(config.seed, "reference")
        x = problem.energy.wrapped.exact_samples(N_EXACT, generator).double()
        return Reference(_weigh(problem, x), f"{N_EXACT} exact draws of the density")
    if problem.molecule is not None:
        return _public_frames(config, problem)
    if problem.energy.event_shape[0] <= LARGEST_OWN_REFERENCE:
        return _own_chains(config, problem, folder)
    return None


def _weigh(problem: Problem, x: Tensor) -> WeightedSamples:
    return WeightedSamples(x, problem.energy.wrapped.energy(x))


def _read(path: Path, problem: Problem) -> Tensor:
    if not path.is_file():
        raise InputError(f"the reference file {path} does not exist: check --reference")
    try:
        if path.suffix == ".npy":
            array = np.load(path)
        elif path.suffix == ".npz":
            array = np.load(path)["x"]
        elif path.suffix in (".h5", ".hdf5"):
            import h5py

            array = h5py.File(path)["coordinates"][:]
        else:
            array = _trajectory(path, problem)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read as reference samples: {error}") from error
    x = torch.from_numpy(np.asarray(array, dtype=np.float64))
    if x.numel() % max(1, int(np.prod(problem.energy.event_shape))) or not len(x):
        raise InputError(
            f"{path} has shape {tuple(x.shape)}, which does not fit samples of shape "
            f"{problem.energy.event_shape}: give positions of the same system"
        )
    x = x.reshape(-1, *problem.energy.event_shape)
    if not bool(torch.isfinite(x).all()):
        raise InputError(f"{path} holds coordinates that are not numbers: clean the file")
    return x - x.mean(dim=1, keepdim=True) if problem.energy.mean_free else x


def _trajectory(path: Path, problem: Problem) -> np.ndarray:
    if problem.molecule is None or problem.molecule.topology is None:
        raise InputError(
            f"{path} is a trajectory, and the system is no molecule: give .npy or .npz"
        )
    import mdtraj

    topology = mdtraj.Topology.from_openmm(problem.molecule.topology)
    return mdtraj.load(str(path), top=topology).xyz


def _public_frames(config: Config, problem: Problem) -> Reference | None:
    """The published frames belong to the one system and temperature they were made for."""
    if config.label != "alanine-dipeptide" or config.temperature != 300.0:
        return None
    try:
        path = manifests.locate("alanine-dipeptide-frames")[0]
    except InputError:
        return None
    x = _read(path, problem)
    return Reference(_weigh(problem, x), f"{len(x)} published frames (data set {path.name})")


def _tempering(problem: Problem) -> tempering.Config:
    move = hmc.Config(step_size=0.02, n_leapfrog=LEAPFROG, n_warmup=WARMUP)
    return tempering.Config(n_rungs=RUNGS, beta_min=1.0 / HOTTEST, move=move)


def _own_chains(config: Config, problem: Problem, folder: RunFolder) -> Reference:
    settings, energy = _tempering(problem), CountedEnergy(problem.energy.wrapped)
    plan = collect.Config(n_kept=REFERENCE_KEPT, thin=REFERENCE_THIN)
    generator = problem.generator(config.seed, "reference")
    x = starts(config, problem, LADDERS, generator)
    first = collect.init_collection(plan, tempering, settings, energy, x, generator)

    def step(state: Any) -> tuple[Any, dict[str, float]]:
        inner, info = collect.collect_step(plan, tempering, settings, energy, state[0], generator)
        return (inner, generator), info

    fitted = fit(
        (first, generator),
        step,
        collect.n_blocks(plan, WARMUP),
        name="reference",
        folder=folder,
        log_every=50,
        checkpoint_every=50,
    )
    samples = collect.target_samples(tempering, settings, fitted.state[0])
    line = (
        f"{len(samples)} samples of an own parallel tempering with other random numbers: {LADDERS} "
        f"ladders of {RUNGS} temperatures"
    )
    return Reference(samples, line)


def run_baseline(
    config: Config, problem: Problem, reference: Reference | None, floor: float | None, cost: Cost
) -> Baseline:
    """Parallel tempering from relaxed random starts until its energy-W2 meets the noise floor, or it
    has used as many evaluations as the learned sampler, or five minutes have passed."""
    settings = _tempering(problem)
    energy = CountedEnergy(problem.energy.wrapped)
    generator = problem.generator(config.seed, "baseline")
    x = starts(config, problem, LADDERS, generator)
    plan = collect.Config(n_kept=10_000, thin=5)
    state = collect.init_collection(plan, tempering, settings, energy, x, generator)
    wall, cpu = time.perf_counter(), time.process_time()
    spent = problem.energy.n_energy
    evaluations, distances, why = [], [], ""
    while not why:
        for _ in range(BASELINE_BLOCK):
            state = collect.collect_step(plan, tempering, settings, energy, state, generator)[0]
        seconds = time.perf_counter() - wall
        if state.n_kept and reference is not None:
            samples = _second_half(settings, state)
            evaluations.append(energy.n_energy)
            distances.append(energy_w2(samples.energy, reference.samples.energy))
        if not state.n_kept:
            why = "it ran for five minutes" if seconds > BASELINE_SECONDS else ""
        elif distances and floor is not None and distances[-1] <= floor:
            why = "it met the noise floor"
        elif energy.n_energy >= cost.n_evaluations:
            why = "it had used as many evaluations as the learned sampler"
        elif seconds > BASELINE_SECONDS or state.n_kept + BASELINE_BLOCK > plan.n_kept:
            why = "it ran for five minutes"
    problem.energy.n_energy = spent
    samples = _second_half(settings, state) if state.n_kept else None
    if samples is None:
        raise InputError("the baseline did not warm up in five minutes: use --no-baseline")
    own = Cost(energy.n_energy, time.perf_counter() - wall, time.process_time() - cpu)
    line = (
        f"Parallel tempering ({LADDERS} ladders of {RUNGS} temperatures from relaxed random starts) "
        f"stopped when {why}: {own.n_evaluations:,} evaluations and {own.cpu_seconds:.3g} CPU "
        f"seconds, against {cost.n_evaluations:,} and {cost.cpu_seconds:.3g} of the learned sampler."
    )
    return Baseline(samples, own, evaluations, distances, line)


def _second_half(settings: tempering.Config, state: collect.Collection) -> WeightedSamples:
    """Samples of the target, without the first half of each chain."""
    x, energy = collect.target_traces(tempering, settings, state)
    x, energy = x[len(x) // 2 :], energy[len(energy) // 2 :]
    chain = torch.arange(x.shape[1]).repeat(len(x))
    return WeightedSamples(x.flatten(0, 1), energy.flatten(), None, chain)
