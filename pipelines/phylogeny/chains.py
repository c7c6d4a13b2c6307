"""Markov chains of trees and stepping stones, in checkpointed loops: sampler or reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from domains.phylogeny import stepping_stone, tree_mcmc
from domains.phylogeny.stepping_stone import MarginalLikelihood
from domains.phylogeny.summaries import sample_of
from domains.phylogeny.tree_mcmc import ChainState, Trace
from domains.phylogeny.trees import Trees
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from workbench.runs.folder import RunFolder
from workbench.training.fit import fit

BLOCKS = 50  # steps of a loop, each of many rounds


@dataclass(frozen=True, eq=False)
class Chains:
    """Independent runs of Markov chains.

    trace          every round, warm-up included
    n_warmup       rounds at the start that are not used
    n_evaluations  likelihoods computed by all chains
    """

    config: tree_mcmc.Config
    state: ChainState
    trace: Trace
    n_warmup: int
    seconds: float
    cpu_seconds: float

    @property
    def kept(self) -> Trace:
        return self.trace.last(len(self.trace) - self.n_warmup)

    @property
    def n_evaluations(self) -> int:
        return self.state.n_likelihood_evaluations

    def trees(self) -> Trees:
        """Of all runs, after the warm-up."""
        return sample_of(self.kept)

    def run_trees(self, run: int) -> Trees:
        return self.kept.ladder_trees(run)

    def early_trees(self, run: int, n_evaluations: int, burn_in: float) -> Trees | None:
        """What one run had after so many evaluations of its own, without its burn-in; None for fewer than
        two trees."""
        per_round = self.n_evaluations / (len(self.trace) * self.config.n_ladders)
        n_rounds = min(len(self.trace), int(n_evaluations / per_round))
        first = int(burn_in * n_rounds)
        if n_rounds - first < 2:
            return None
        return self.trace.ladder_trees(run)[slice(first, n_rounds)]


def run_chains(
    config: Config, problem: Problem, folder: RunFolder, stage: str, n_evaluations: int = 0
) -> Chains:
    """`chain.rounds` rounds, or more where `n_evaluations` asks for it."""
    options = config.chain
    per_round = options.runs * options.rungs * options.steps
    n_rounds = max(options.rounds, -(-n_evaluations // per_round))
    per_step = -(-n_rounds // BLOCKS)
    n_rounds = per_step * BLOCKS
    n_warmup = int(options.burn_in * n_rounds)
    settings = tree_mcmc.Config(
        n_ladders=options.runs,
        n_rungs=options.rungs,
        heating=options.heating,
        steps_per_round=options.steps,
        rounds_per_step=per_step,
        n_warmup=n_warmup,
    )
    first = tree_mcmc.init(settings, problem.target, problem.generator(config.seed, stage))
    return _looped(config, problem, folder, stage, settings, first, BLOCKS)


def continue_chains(
    config: Config, problem: Problem, folder: RunFolder, chains: Chains, n: int, stage: str
) -> Chains:
    """At least `n` more trees of chains that are warm."""
    n_rounds = -(-n // chains.config.n_ladders)
    settings = replace(chains.config, rounds_per_step=min(n_rounds, 50), n_warmup=0)
    n_steps = -(-n_rounds // settings.rounds_per_step)
    return _looped(config, problem, folder, stage, settings, chains.state, n_steps)


def _looped(
    config: Config,
    problem: Problem,
    folder: RunFolder,
    stage: str,
    settings: tree_mcmc.Config,
    first: ChainState,
    n_steps: int,
) -> Chains:
    generator = problem.generator(config.seed, f"{stage} moves")
    empty = _no_rounds(settings, problem, first)

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        chains, trace, generator = state
        chains, new = tree_mcmc.step(settings, problem.target, chains, generator, config.threads)
        info = {
            "log_posterior": float(new.log_posterior.mean()),
            "n_likelihood_evaluations": chains.n_likelihood_evaluations,
        }
        return (chains, tree_mcmc.joined([trace, new]), generator), info

    fitted = fit(
        (first, empty, generator),
        step,
        n_steps,
        name=stage,
        folder=folder,
        log_every=max(1, n_steps // 100),
        checkpoint_every=max(1, n_steps // 10),
    )
    chains, trace, _ = fitted.state
    return Chains(settings, chains, trace, settings.n_warmup, fitted.seconds, fitted.cpu_seconds)


def _no_rounds(settings: tree_mcmc.Config, problem: Problem, state: ChainState) -> Trace:
    """A trace to which rounds can be joined."""
    n_taxa = problem.n_taxa
    ladders, kept = settings.n_ladders, settings.n_kept_rungs

    def no(*shape: int) -> torch.Tensor:
        return torch.zeros(0, *shape, dtype=torch.float64)

    return Trace(
        Trees(torch.zeros(0, n_taxa - 1, 2, dtype=torch.int64), no(2 * n_taxa - 2)),
        no(ladders, settings.n_rungs),
        no(ladders, settings.n_rungs),
        no(ladders, kept, state.parameters.shape[-1]),
        no(ladders, kept),
    )


@dataclass(frozen=True, eq=False)
class Stones:
    """The stepping-stone estimate and what it took."""

    estimate: MarginalLikelihood
    n_repeats: int
    cpu_seconds: float

    @property
    def sd(self) -> float:
        """Of one repeat."""
        return float(self.estimate.repeats.std())

    @property
    def evaluations_per_repeat(self) -> float:
        return self.estimate.n_likelihood_evaluations / self.n_repeats

    @property
    def sd_per_evaluation(self) -> float:
        """What a single likelihood evaluation would leave: sd times the root of their number."""
        return self.sd * math.sqrt(self.evaluations_per_repeat)


def run_stones(config: Config, problem: Problem, folder: RunFolder) -> Stones | None:
    """None where `stone.stones` is zero."""
    options = config.stone
    if options.stones == 0:
        return None
    settings = stepping_stone.Config(
        n_stones=options.stones,
        n_repeats=options.repeats,
        n_rounds=options.rounds,
        chains=tree_mcmc.Config(
            steps_per_round=options.steps,
            rounds_per_step=max(1, options.rounds // 20),
            n_warmup=options.rounds // 2,
        ),
    )
    ladder = settings.ladder()
    n_rounds = ladder.n_warmup + options.rounds
    n_steps = -(-n_rounds // ladder.rounds_per_step)
    first = stepping_stone.init(settings, problem.target, problem.generator(config.seed, "stones"))
    done = _looped(config, problem, folder, "stepping-stones", ladder, first, n_steps)
    estimate = stepping_stone.summarise(settings, done.state, done.trace.last(options.rounds))
    return Stones(estimate, options.repeats, done.cpu_seconds)
