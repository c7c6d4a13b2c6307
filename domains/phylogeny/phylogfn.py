"""PhyloGFN: environment and policy for an alignment, ready for `workbench.gflownet.algorithm`.

Zhou et al., "PhyloGFN: phylogenetic inference with generative flow networks" (2024, arXiv 2310.08774).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.forest import ForestState, ParsimonyForest, PosteriorForest
from domains.phylogeny.forest_options import ForestOptions
from domains.phylogeny.forest_policy import ForestPolicy
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.models import SubstitutionModel, substitution_model
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.subtrees import fitch_guide, likelihood_guide
from domains.phylogeny.trees import Trees
from workbench.gflownet.trajectories import Needs, Trajectories

Target = Literal["posterior", "parsimony"]


@dataclass(frozen=True, eq=False)
class PhyloGFN:
    """environment   moves and log-reward; terminal states are unrooted trees hanging from taxon 0
    policy        to be trained: `algorithm.init(config, environment, generator, policy=policy)`
    """

    environment: PosteriorForest | ParsimonyForest
    policy: ForestPolicy

    @classmethod
    def build(
        cls,
        patterns: Patterns,
        target: Target,
        model: SubstitutionModel | None,
        options: ForestOptions,
        generator: torch.Generator,
    ) -> PhyloGFN:
        """An untrained PhyloGFN whose weights follow from the generator.

        model   of the posterior; None: JC69. Its parameters stay as they are
        Raises InputError for fewer than 4 taxa.
        """
        environment: PosteriorForest | ParsimonyForest
        if target == "posterior":
            model = model if model is not None else substitution_model(name="JC69")
            prior = TreePrior(options.length_rate)
            environment = PosteriorForest(TreeLikelihood(patterns, model), prior)
            guide = likelihood_guide(patterns, model, options.length_rate)
        else:
            parsimony = Parsimony(patterns, options.gaps)
            environment = ParsimonyForest(parsimony, options.temperature)
            guide = fitch_guide(patterns, options.gaps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            policy = ForestPolicy(environment, guide, options)
        return cls(environment, policy)

    def trees_of(self, state: ForestState) -> Trees:
        """Terminal states as trees, taxa in the order of the patterns."""
        return self.environment.trees_of(state)

    def objects(self, trees: Trees) -> ForestState:
        """Trees over the same taxa as terminal states."""
        return self.environment.objects(trees)

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
