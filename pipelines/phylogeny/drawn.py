"""What a sampler of trees gives: the trees, what is known of each, and what they took."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.summaries import SplitTable, TopologyTable, split_table, topology_table
from domains.phylogeny.trees import Trees
from workbench.samples import WeightedSamples

# Below this effective number of samples weights say more about luck than about the posterior.
ENOUGH = 100.0


@dataclass(frozen=True, eq=False)
class Cost:
    """Likelihoods (or parsimony scores) computed, and time without evaluation."""

    n_evaluations: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.n_evaluations + other.n_evaluations,
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
        )


@dataclass(frozen=True, eq=False)
class Drawn:
    """Trees of a posterior.

    log_likelihood, log_prior  [tree]
    parameters                 of the model, [tree, parameter]
    log_weight                 importance weights of the trees, None for equal ones
    repeats                    log marginal likelihood, one importance estimate each; None for chains
    evaluations_per_repeat     likelihoods that one of them took
    lines                      what a reader should know
    """

    trees: Trees
    log_likelihood: Float[Tensor, "tree"]
    log_prior: Float[Tensor, "tree"]
    parameters: Float[Tensor, "tree parameter"]
    log_weight: Float[Tensor, "tree"] | None
    cost: Cost
    repeats: Float[Tensor, "repeat"] | None = None
    evaluations_per_repeat: float = 0.0
    lines: list[str] = field(default_factory=list)

    @property
    def log_posterior(self) -> Float[Tensor, "tree"]:
        """Not normalised."""
        return self.log_likelihood + self.log_prior

    @property
    def ess(self) -> float | None:
        """Kish's effective sample size of the weights; None without weights."""
        if self.log_weight is None:
            return None
        return WeightedSamples(self.log_weight[:, None], -self.log_posterior, self.log_weight).ess()

    @property
    def shares(self) -> Float[Tensor, "tree"] | None:
        """Weights that sum to one; None for equal ones."""
        return None if self.log_weight is None else torch.softmax(self.log_weight.double(), 0)

    @property
    def trusted(self) -> Float[Tensor, "tree"] | None:
        """`shares` where enough samples carry them, equal weights where not."""
        ess = self.ess
        return self.shares if ess is not None and ess >= ENOUGH else None


@dataclass(frozen=True, eq=False)
class Tables:
    """Splits and topologies of a sample."""

    splits: SplitTable
    topologies: TopologyTable


def tables(trees: Trees, weights: Float[Tensor, "tree"] | None = None) -> Tables:
    return Tables(split_table(trees, weights), topology_table(trees, weights))
