"""PhyloGFN: environment and policy for an alignment, ready for `workbench.gflownet.algorithm`.

Zhou et al., "PhyloGFN: phylogenetic inference with generative flow networks" (2024, arXiv 2310.08774).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from domains.phylogeny.forest import ForestState, ParsimonyForest, PosteriorForest
from domains.phylogeny.forest_options import ForestOptions, Target
from domains.phylogeny.forest_policy import ForestPolicy
from domains.phylogeny.forest_start import neighbour_joining
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.models import SubstitutionModel, substitution_model
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.subtrees import Guide, fitch_guide, likelihood_guide
from domains.phylogeny.trees import Trees
from workbench.gflownet.trajectories import Needs, Trajectories
from workbench.seeds import weights_from


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
        best: tuple[float, int, PosteriorForest | ParsimonyForest, Guide, ForestState] | None = None
        for taxon in range(patterns.n_taxa):
            problem = _problem(_hung(patterns, taxon), target, model, options)
            tree = neighbour_joining(problem[1], problem[0])
            height = float(problem[0].log_reward(tree))
            if best is None or height > best[0]:
                best = (height, taxon, *problem, tree)
        assert best is not None
        _, anchor, environment, guide, first = best
        with weights_from(generator):
            policy = ForestPolicy(environment, guide, options)
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
