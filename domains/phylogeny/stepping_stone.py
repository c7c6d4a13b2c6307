"""Stepping-stone sampling of the marginal likelihood of an alignment.

    log m = sum_k log E_{beta_k}[ L^{beta_{k+1} - beta_k} ],   beta_k = (k / K)^{1 / 0.3},  k = 0 .. K,

with expectations over the power posteriors L^{beta_k} x prior, from the prior (0) to the posterior (1). W.
Xie, P. O. Lewis, Y. Fan, L. Kuo, M.-H. Chen, "Improving marginal likelihood estimation for Bayesian
phylogenetic model selection" (2011), whose powers are the quantiles of a Beta(0.3, 1) law. Different
from there: all powers run side by side and exchange their chains, so that none gets stuck in a mode of
its own. Every ladder is an independent repeat: their spread is the standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny import tree_mcmc
from domains.phylogeny.tree_mcmc import ChainState, Trace
from domains.phylogeny.tree_target import TreeTarget
from domains.phylogeny.trees import Trees
from workbench.errors import InputError
from workbench.problem import Estimate


@dataclass(frozen=True)
class Config:
    """n_stones   ratios between neighbouring powers; there is one chain more
    skew       the powers are quantiles of a Beta(skew, 1) law
    n_repeats  independent ladders
    n_rounds   rounds that count, after `chains.n_warmup`
    chains     proposals and rounds; ladders, rungs and heating are those above
    """

    n_stones: int = 30
    skew: float = 0.3
    n_repeats: int = 4
    n_rounds: int = 400
    chains: tree_mcmc.Config = field(
        default_factory=lambda: tree_mcmc.Config(steps_per_round=50, n_warmup=100)
    )

    def ladder(self) -> tree_mcmc.Config:
        """The Markov chains' config. Raises `InputError` for fewer than 2 stones or repeats."""
        if self.n_stones < 2 or self.n_repeats < 2:
            raise InputError(
                f"{self.n_stones} stones and {self.n_repeats} repeats: give at least 2 of each (the "
                "error is the spread of the repeats)"
            )
        chosen = {"n_ladders": self.n_repeats, "n_rungs": self.n_stones + 1, "n_kept_rungs": 1}
        return tree_mcmc.Config(**{**vars(self.chains), **chosen})

    def powers(self) -> Float[Tensor, "rung 2"]:
        """Powers of likelihood and prior, from the posterior to the prior."""
        k = torch.arange(self.n_stones, -1, -1, dtype=torch.float64)
        likelihood = (k / self.n_stones) ** (1.0 / self.skew)
        return torch.stack([likelihood, torch.ones_like(likelihood)], 1)


@dataclass(frozen=True, eq=False)
class MarginalLikelihood:
    """log_marginal_likelihood    mean over repeats with its standard error
    repeats                    each repeat's own
    contributions              [stone, repeat] its terms, from the posterior's end to the prior's
    swap_rates                 [repeat, pair] of neighbouring powers
    n_likelihood_evaluations   proposals computed, warm-up included
    trace                      of the rounds that count: rung 0 samples the posterior
    """

    log_marginal_likelihood: Estimate
    repeats: Float[Tensor, "repeat"]
    contributions: Float[Tensor, "stone repeat"]
    swap_rates: Float[Tensor, "repeat pair"]
    n_likelihood_evaluations: int
    trace: Trace


def init(
    config: Config, target: TreeTarget, generator: torch.Generator, trees: Trees | None = None
) -> ChainState:
    """All chains of all repeats, at random trees or at `trees` (one, or one per repeat)."""
    return tree_mcmc.init(config.ladder(), target, generator, trees, config.powers())


def estimate(
    config: Config,
    target: TreeTarget,
    generator: torch.Generator,
    trees: Trees | None = None,
    n_threads: int = 1,
) -> MarginalLikelihood:
    """Warm-up, sampling and the estimate in one go."""
    ladder = config.ladder()
    state = init(config, target, generator, trees)
    state, _ = tree_mcmc.run(ladder, target, state, ladder.n_warmup, generator, n_threads)
    state, trace = tree_mcmc.run(ladder, target, state, config.n_rounds, generator, n_threads)
    return summarise(config, state, trace)


def summarise(config: Config, state: ChainState, trace: Trace) -> MarginalLikelihood:
    """The estimate from the rounds of `trace`."""
    contributions = stone_contributions(trace.log_likelihood, config.powers()[:, 0])
    repeats = contributions.sum(0)
    error = float(repeats.std()) / math.sqrt(len(repeats))
    return MarginalLikelihood(
        Estimate(float(repeats.mean()), error),
        repeats,
        contributions,
        state.swap_rates(),
        state.n_likelihood_evaluations,
        trace,
    )


def stone_contributions(
    log_likelihood: Float[Tensor, "round ladder rung"], powers: Float[Tensor, "rung"]
) -> Float[Tensor, "stone ladder"]:
    """log mean of L^{difference of powers} under the lower of two neighbouring powers."""
    steps = (powers[:-1] - powers[1:])[None, None]
    lower = log_likelihood[..., 1:]
    return (torch.logsumexp(steps * lower, 0) - math.log(len(lower))).T
