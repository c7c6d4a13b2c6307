"""The prior of trees: its density and draws. That of model parameters is in `model_parameters`.

    topology       uniform over the (2n-5)!! unrooted binary ones
    lengths        exponential, rate 10, independent on the 2n-3 edges (the root's two are one edge)

It is the default of MrBayes 3.2 (Ronquist et al., MrBayes 3.2: efficient Bayesian phylogenetic inference
and model choice across a large model space, 2012), but for its later compound prior of lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.topologies import log_n_topologies, random_topologies
from domains.phylogeny.trees import Trees
from workbench.errors import InputError


@dataclass(frozen=True)
class TreePrior:
    """Uniform unrooted topologies and exponential lengths.

    length_rate  sites per expected substitution; the mean length is 1 / length_rate

    Raises `InputError` for a rate that is not positive.
    """

    length_rate: float = 10.0

    def __post_init__(self) -> None:
        if not 0.0 < self.length_rate < math.inf:
            raise InputError(
                f"the rate of the prior of lengths is {self.length_rate:g}: give it above zero"
            )

    def log_density(self, trees: Trees) -> Float[Tensor, "tree"]:
        """Of the topology (a probability) and the lengths of the unrooted tree."""
        return self.log_density_of(trees.n_taxa, trees.lengths.sum(-1))

    def log_density_of(
        self, n_taxa: int, length_sum: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch"]:
        """The same from the sum of the 2n-3 lengths, which is all that it depends on."""
        constant = (2 * n_taxa - 3) * math.log(self.length_rate) - log_n_topologies(n_taxa)
        return constant - self.length_rate * length_sum.double()

    def draw(self, n_taxa: int, n_trees: int, generator: torch.Generator) -> Trees:
        """Independent trees, rooted in the middle of the edge of the first taxon."""
        children = random_topologies(n_taxa, n_trees, generator)
        lengths = torch.empty(n_trees, 2 * n_taxa - 2, dtype=torch.float64)
        lengths.exponential_(self.length_rate, generator=generator)
        ends = children[:, -1]
        halves = lengths.gather(1, ends[:, :1]).expand(-1, 2) / 2.0
        return Trees(children, lengths.scatter(1, ends, halves))
