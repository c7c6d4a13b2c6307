"""Priors of trees and of model parameters: densities and draws.

    topology       uniform over the (2n-5)!! unrooted binary ones
    lengths        exponential, rate 10, independent on the 2n-3 edges (the root's two are one edge)
    kappa          kappa / (1 + kappa) uniform on (0, 1)
    exchangeabilities, frequencies    Dirichlet(1, ..., 1) of their shares
    invariant      uniform on (0, 1)
    shape          exponential, rate 1

These are the defaults of MrBayes 3.2 (Ronquist et al., MrBayes 3.2: efficient Bayesian phylogenetic inference
and model choice across a large model space, 2012), but for its later compound prior of lengths.
Densities of parameters are in the form in which `ModelSpecification.build` takes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.model_strings import ModelSpecification
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
            raise InputError(f"the rate of branch lengths must be positive, not {self.length_rate}")

    def log_density(self, trees: Trees) -> Float[Tensor, "tree"]:
        """Of the topology (a probability) and the lengths of the unrooted tree."""
        return self.log_length_density(trees.lengths) - log_n_topologies(trees.n_taxa)

    def log_length_density(self, lengths: Float[Tensor, "tree edge"]) -> Float[Tensor, "tree"]:
        """Of the 2n-3 lengths, from the 2n-2 of the arrays: the root's two count as their sum."""
        n_edges = lengths.shape[-1] - 1
        return n_edges * math.log(self.length_rate) - self.length_rate * lengths.sum(-1)

    def draw(self, n_taxa: int, n_trees: int, generator: torch.Generator) -> Trees:
        """Independent trees, rooted in the middle of the edge of the first taxon."""
        children = random_topologies(n_taxa, n_trees, generator)
        lengths = torch.empty(n_trees, 2 * n_taxa - 2, dtype=torch.float64)
        lengths.exponential_(self.length_rate, generator=generator)
        ends = children[:, -1]
        halves = lengths.gather(1, ends[:, :1]).expand(-1, 2) / 2.0
        return Trees(children, lengths.scatter(1, ends, halves))


def log_parameter_density(
    values: Mapping[str, Float[Tensor, "batch value"]],
) -> Float[Tensor, "batch"]:
    """Of model parameters by name, each [batch, width]; minus infinity outside their ranges."""
    total = torch.zeros(())
    for name, value in values.items():
        value = value.double()
        inside = (value > 0).all(-1)
        if name == "kappa":
            density = -2.0 * torch.log1p(value[..., 0])
        elif name == "exchangeabilities":
            density = math.lgamma(6) - 6.0 * torch.log1p(value.sum(-1))
        elif name == "frequencies":
            density = torch.full(value.shape[:-1], math.lgamma(4), dtype=torch.float64)
            inside = inside & ((value.sum(-1) - 1.0).abs() < 1e-6)
        elif name == "invariant":
            density = torch.zeros(value.shape[:-1], dtype=torch.float64)
            inside = inside & (value[..., 0] < 1)
        else:
            density = -value[..., 0]
        total = total + torch.where(inside, density, -torch.inf)
    return total


def draw_parameters(
    specification: ModelSpecification, n: int, generator: torch.Generator
) -> dict[str, Float[Tensor, "n value"]]:
    """Independent draws of the free parameters, each [n, width], float64."""

    def exponentials(width: int) -> Tensor:
        return torch.empty(n, width, dtype=torch.float64).exponential_(1.0, generator=generator)

    draws: dict[str, Tensor] = {}
    for name in specification.free:
        if name == "kappa":
            pair = exponentials(2)
            draws[name] = pair[:, :1] / pair[:, 1:]
        elif name == "exchangeabilities":
            six = exponentials(6)
            draws[name] = six[:, :5] / six[:, 5:]
        elif name == "frequencies":
            four = exponentials(4)
            draws[name] = four / four.sum(-1, keepdim=True)
        elif name == "invariant":
            draws[name] = torch.rand(n, 1, dtype=torch.float64, generator=generator)
        else:
            draws[name] = exponentials(1)
    return draws
