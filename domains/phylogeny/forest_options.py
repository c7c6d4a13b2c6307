"""Options of the forest that PhyloGFN builds and of its training, free of heavy imports so that a command
line lists them fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.errors import InputError
from workbench.gflownet.options import (
    Exploration,
    GFlowNetConfig,
    ReplayConfig,
    TemperatureConfig,
)

Lengths = Literal["mixture", "bins"]
Order = Literal["sorted", "any"]
Target = Literal["posterior", "parsimony"]


@dataclass(frozen=True)
class ForestSettings:
    """How trees are built, whatever the alignment and the prior."""

    lengths: Lengths = "mixture"
    """Law of an edge length: a mixture of gamma laws, or uniform in bins with a tail beyond."""
    n_components: int = 2
    """Gamma laws in a mixture."""
    n_bins: int = 64
    """Bins of equal width from zero on."""
    bin_width: float = 0.004
    """Expected substitutions per site."""
    order: Order = "sorted"
    """sorted: one build order for each tree, the deepest clades first; any: all, the backward law uniform."""
    width: int = 64
    """Of embeddings and hidden layers."""
    temperature: float = 1.0
    """Parsimony: log R = (constant - steps) / temperature, with the steps all trees need."""

    def __post_init__(self) -> None:
        for name in ("n_components", "n_bins", "width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("bin_width", "temperature"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name):g}: give a number above 0")


@dataclass(frozen=True)
class ForestOptions(ForestSettings):
    """The same with what the target says. A rate that is no prior's is refused by `TreePrior`."""

    length_rate: float = 10.0
    """Of the exponential prior of edge lengths."""
    gaps: Literal["missing", "fifth-state", "fifth-state-any"] = "missing"
    """How parsimony reads gaps; the likelihood always takes them as missing."""


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
