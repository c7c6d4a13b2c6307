"""Options of the forest that PhyloGFN builds, free of heavy imports so that a command line lists them fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.errors import InputError

Lengths = Literal["mixture", "bins"]
Order = Literal["sorted", "any"]


@dataclass(frozen=True)
class ForestOptions:
    """lengths        law of a branch length in the posterior: "mixture" of gamma laws, or "bins"
    n_components   gamma laws in a mixture
    n_bins         bins of equal width from zero on, uniform inside; beyond them an exponential tail
    bin_width      expected substitutions per site
    order          "sorted": one build order for each tree, the deepest clades first, the backward
                   policy is that order; "any": all of them, the backward policy is uniform
    width          of embeddings and hidden layers
    length_rate    of the exponential prior of lengths
    gaps           how parsimony reads gaps; the likelihood always takes them as missing
    temperature    parsimony: log R = (constant - steps) / temperature, with the steps all trees need
    """

    lengths: Lengths = "mixture"
    n_components: int = 2
    n_bins: int = 64
    bin_width: float = 0.004
    order: Order = "sorted"
    width: int = 64
    length_rate: float = 10.0
    gaps: Literal["missing", "fifth-state", "fifth-state-any"] = "missing"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_components", "n_bins", "width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("bin_width", "length_rate", "temperature"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name):g}: give a number above 0")
