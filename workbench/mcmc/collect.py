"""Collecting samples from a Markov chain sampler: warm-up, then every `thin`-th step into memory.

One `collect_step` is one block of `thin` steps, so that an outer loop can log, checkpoint and stop
between blocks; `n_blocks` says how many there are. `run` is that loop where nothing is to be saved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.mcmc.observation import Sampler
from workbench.problem import Energy
from workbench.samples import WeightedSamples


@dataclass(frozen=True)
class Config:
    """n_kept  samples to keep from each chain
    thin    steps from one kept sample to the next; a block, also during warm-up
    """

    n_kept: int = 1000
    thin: int = 5


@dataclass(frozen=True, eq=False)
class Collection:
    """A sampler under way and what it has yielded. Rows from `n_kept` on are not yet filled.

    sampler      state of the sampler
    x            [kept, chain, *event], on the CPU
    energy       [kept, chain]
    n_kept       rows filled
    acceptance   [group], float64: sum over the steps after warm-up
    n_nonfinite  proposals refused because they were not finite, since the start
    """

    sampler: Any
    x: Float[Tensor, " kept chain *event"]
    energy: Float[Tensor, " kept chain"]
    n_kept: int
    acceptance: Float[Tensor, " group"]
    n_nonfinite: int


def n_blocks(config: Config, n_warmup: int) -> int:
    """Calls of `collect_step` from start to end."""
    return -(-n_warmup // config.thin) + config.n_kept


def init_collection(
    config: Config,
    kernel: Sampler,
    kernel_config: Any,
    energy: Energy,
    x: Float[Tensor, " chain *event"],
    generator: torch.Generator,
) -> Collection:
    """A collection that starts at `x`. `kernel` is one of the modules `hmc`, `mala`, `tempering`.

    Raises `InputError` for n_kept or thin below one, and what the sampler raises.
    """
    if min(config.n_kept, config.thin) < 1:
        raise InputError(
            f"n_kept is {config.n_kept} and thin is {config.thin}: both must be at least 1"
        )
    state = kernel.init(kernel_config, energy, x, generator)
    seen = kernel.observe(kernel_config, state)
    return Collection(
        sampler=state,
        x=torch.zeros((config.n_kept, *seen.x.shape), dtype=x.dtype),
        energy=torch.zeros((config.n_kept, len(seen.x)), dtype=x.dtype),
        n_kept=0,
        acceptance=torch.zeros(1, dtype=torch.float64),
        n_nonfinite=0,
    )


def collect_step(
    config: Config,
    kernel: Sampler,
    kernel_config: Any,
    energy: Energy,
    state: Collection,
    generator: torch.Generator,
) -> tuple[Collection, dict[str, float]]:
    """One block of at most `thin` steps, with a sample kept at its end once warm-up is over.

    The new state shares the buffers `x` and `energy` with the old one. Info: mean_energy (of the
    chains at the target), acceptance (mean over groups), n_nonfinite, n_kept.
    """
    sampler = state.sampler
    warm_left = kernel_config.n_warmup - sampler.n_steps
    n_steps = config.thin if warm_left <= 0 else min(config.thin, warm_left)
    acceptance, n_nonfinite = torch.zeros((), dtype=torch.float64), torch.zeros(())
    for _ in range(n_steps):
        sampler, step_info = kernel.step(kernel_config, energy, sampler, generator)
        acceptance = acceptance + step_info.acceptance
        n_nonfinite = n_nonfinite + step_info.n_nonfinite
    seen = kernel.observe(kernel_config, sampler)
    target = seen.beta == 1.0
    info = {
        "mean_energy": float(seen.energy[target].double().mean()) if bool(target.any()) else 0.0,
        "acceptance": float(acceptance.mean()) / n_steps,
        "n_nonfinite": float(n_nonfinite),
    }
    new = replace(state, sampler=sampler, n_nonfinite=state.n_nonfinite + int(n_nonfinite))
    if warm_left <= 0 and state.n_kept < config.n_kept:
        state.x[state.n_kept] = seen.x
        state.energy[state.n_kept] = seen.energy
        new = replace(new, n_kept=state.n_kept + 1, acceptance=state.acceptance + acceptance.cpu())
    info["n_kept"] = float(new.n_kept)
    return new, info


def run(
    config: Config,
    kernel: Sampler,
    kernel_config: Any,
    energy: Energy,
    x: Float[Tensor, " chain *event"],
    generator: torch.Generator,
) -> Collection:
    """From the start at `x` to the last sample."""
    state = init_collection(config, kernel, kernel_config, energy, x, generator)
    for _ in range(n_blocks(config, kernel_config.n_warmup)):
        state = collect_step(config, kernel, kernel_config, energy, state, generator)[0]
    return state


def mean_acceptance(config: Config, state: Collection) -> Float[Tensor, " group"]:
    """Acceptance of each group (rung) after warm-up."""
    return state.acceptance / max(1, state.n_kept * config.thin)


def target_traces(
    kernel: Sampler, kernel_config: Any, state: Collection
) -> tuple[Float[Tensor, " kept chain *event"], Float[Tensor, " kept chain"]]:
    """Kept configurations and energies of the chains whose law is the target (beta = 1)."""
    target = kernel.observe(kernel_config, state.sampler).beta == 1.0
    return state.x[: state.n_kept, target], state.energy[: state.n_kept, target]


def target_samples(kernel: Sampler, kernel_config: Any, state: Collection) -> WeightedSamples:
    """The kept samples of the target, equal weights, with the index of their ladder.

    Raises `InputError` where nothing has been kept yet.
    """
    x, energy = target_traces(kernel, kernel_config, state)
    seen = kernel.observe(kernel_config, state.sampler)
    ladder = seen.ladder[seen.beta == 1.0].cpu().repeat(len(x))
    return WeightedSamples(x.flatten(0, 1), energy.flatten(), None, ladder)
