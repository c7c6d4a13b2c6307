"""PhyloGFN: environment and policy for an alignment, ready for `workbench.gflownet.algorithm`.

Zhou et al., "PhyloGFN: phylogenetic inference with generative flow networks" (2024, arXiv 2310.08774).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from domains.phylogeny.forest import ForestState, ParsimonyForest, PosteriorForest
from domains.phylogeny.forest_options import ForestOptions
from domains.phylogeny.forest_policy import ForestPolicy
from domains.phylogeny.forest_start import neighbour_joining
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.models import SubstitutionModel, substitution_model
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.subtrees import Guide, fitch_guide, likelihood_guide
from domains.phylogeny.trees import Trees
from workbench.gflownet.options import (
    Exploration,
    GFlowNetConfig,
    ReplayConfig,
    TemperatureConfig,
)
from workbench.gflownet.trajectories import Needs, Trajectories

Target = Literal["posterior", "parsimony"]


def recommended(target: Target, steps: int, batch: int = 64) -> GFlowNetConfig:
    """Options of the training. The log-variance objective needs no log Z, which moves by hundreds while the
    temperature falls; at the reward's own temperature the law of a first policy would settle on the
    first good trees it meets."""
    return GFlowNetConfig(
        objective="log-variance",
        backward="uniform",
        steps=steps,
        batch=batch,
        learning_rate=3e-3,
        ema_decay=0.99,
        exploration=Exploration(epsilon=0.05, temperature=1.5, annealed=0.6),
        replay=ReplayConfig("diverse", capacity=1000, fraction=0.25, paths="stored"),
        temperature=TemperatureConfig(
            "annealed", initial=0.1 if target == "posterior" else 0.2, final=1.0, annealed=0.5
        ),
    )


@dataclass(frozen=True, eq=False)
class PhyloGFN:
    """environment   moves and log-reward; terminal states are unrooted trees hanging from their taxon 0
    policy        to be trained: `algorithm.init(config, environment, generator, policy=policy)`
    taxa          [taxon] place in the alignment of each taxon of the environment
    first         the greedy tree, a terminal state [1]: what is known before training
    """

    environment: PosteriorForest | ParsimonyForest
    policy: ForestPolicy
    taxa: Int[Tensor, "taxon"]
    first: ForestState

    @classmethod
    def build(
        cls,
        patterns: Patterns,
        target: Target,
        model: SubstitutionModel | None,
        options: ForestOptions,
        generator: torch.Generator,
    ) -> PhyloGFN:
        """An untrained PhyloGFN whose weights follow from the generator. Forests hang from the taxon
        whose greedy tree is best.

        model   of the posterior; None: JC69. Its parameters stay as they are
        Raises InputError for fewer than 4 taxa.
        """
        model = model if model is not None else substitution_model(name="JC69")
        best: tuple[float, int] | None = None
        for anchor in range(patterns.n_taxa):
            environment, guide = _problem(_hung(patterns, anchor), target, model, options)
            height = float(environment.log_reward(neighbour_joining(guide, environment)))
            best = max(best, (height, -anchor)) if best else (height, -anchor)
        anchor = -best[1] if best else 0
        environment, guide = _problem(_hung(patterns, anchor), target, model, options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            policy = ForestPolicy(environment, guide, options)
        first = neighbour_joining(guide, environment)
        return cls(environment, policy, torch.tensor(_order(patterns.n_taxa, anchor)), first)

    def trees_of(self, state: ForestState) -> Trees:
        """Terminal states as trees, taxa in the order of the alignment."""
        return _renumbered(self.environment.trees_of(state), self.taxa)

    def objects(self, trees: Trees) -> ForestState:
        """Trees over the alignment's taxa as terminal states."""
        return self.environment.objects(_renumbered(trees, self.taxa.argsort()))

    def log_reward(self, state: ForestState) -> Float[Tensor, "batch"]:
        return self.environment.log_reward(state)

    @torch.no_grad()
    def log_weights(
        self, trajectories: Trajectories, policy: ForestPolicy | None = None
    ) -> Float[Tensor, "batch"]:
        """log R + log P_B - log P_F of complete trajectories, under `policy` (default: this one's): their
        mean exponential is Z where they were drawn by it."""
        policy = policy if policy is not None else self.policy
        scores = policy.score(trajectories, Needs())[0]
        return scores.log_reward - scores.log_ratio()

    @property
    def n_likelihood_evaluations(self) -> float:
        """Whole-tree likelihoods computed: rewards, and one for each trajectory whose subtrees were
        computed. 0 for parsimony."""
        if isinstance(self.environment, ParsimonyForest):
            return 0.0
        return self.environment.likelihood.count.n_likelihood + self.policy.counter.n_walks

    @property
    def n_fitch_evaluations(self) -> float:
        """Whole-tree Fitch passes, in the same way. 0 for the posterior."""
        if isinstance(self.environment, PosteriorForest):
            return 0.0
        return self.environment.parsimony.n_evaluations + self.policy.counter.n_walks


def _order(n_taxa: int, anchor: int) -> list[int]:
    return [anchor, *(taxon for taxon in range(n_taxa) if taxon != anchor)]


def _hung(patterns: Patterns, anchor: int) -> Patterns:
    return patterns.take([patterns.names[taxon] for taxon in _order(patterns.n_taxa, anchor)])


def _renumbered(trees: Trees, number: Int[Tensor, "taxon"]) -> Trees:
    """The same trees with tip k called number[k]."""
    nodes = torch.cat([number, torch.arange(len(number), trees.lengths.shape[1] + 1)])
    lengths = torch.empty_like(trees.lengths)
    lengths[:, nodes[:-1]] = trees.lengths
    return Trees(nodes[trees.children], lengths)


def _problem(
    patterns: Patterns, target: Target, model: SubstitutionModel, options: ForestOptions
) -> tuple[PosteriorForest | ParsimonyForest, Guide]:
    if target == "posterior":
        likelihood = TreeLikelihood(patterns, model)
        guide = likelihood_guide(patterns, model, options.length_rate)
        return PosteriorForest(likelihood, TreePrior(options.length_rate)), guide
    parsimony = Parsimony(patterns, options.gaps)
    return ParsimonyForest(parsimony, options.temperature), fitch_guide(patterns, options.gaps)
