"""The options of the pipeline: the space, and everything that a GFlowNet can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipelines.options import CommonOptions
from workbench.errors import InputError
from workbench.gflownet.options import GFlowNetConfig

EnvironmentName = Literal["hypergrid", "bit-sequences", "tree-building"]


@dataclass(frozen=True)
class GridOptions:
    """The hypergrid."""

    dimensions: int = 4
    """Number of coordinates."""
    height: int = 8
    """Points along each."""
    r0: float = 0.1
    """Reward everywhere; the smaller, the harder it is to cross from mode to mode."""
    r1: float = 0.5
    """Added in the outer region."""
    r2: float = 2.0
    """Added in the bands that hold the modes."""


@dataclass(frozen=True)
class BitOptions:
    """Bit sequences."""

    length: int = 12
    """Bits of a sequence; log Z is known exactly up to 20."""
    word_bits: int = 3
    """Bits written at a time."""
    n_modes: int = 8
    """Sequences of the largest reward."""
    exponent: float = 24.0
    """log R = exponent (1 - d / length), d the Hamming distance to the nearest mode."""
    mode_distance: int = 0
    """A mode is found by a sequence within so many bits of it."""
    mode_seed: int = 0
    """Seed of the set of modes."""


@dataclass(frozen=True)
class TreeOptions:
    """Tree building."""

    leaves: int = 5
    """Labelled leaves, 3 to 6."""
    exponent: float = 1.0
    """log R = -exponent times the widths of the clades."""


@dataclass(frozen=True, kw_only=True)
class Config(CommonOptions, GFlowNetConfig):
    """A GFlowNet on a space with known answers, judged against its exact law."""

    environment: EnvironmentName = "hypergrid"
    """The space of objects."""
    grid: GridOptions = field(default_factory=GridOptions)
    bits: BitOptions = field(default_factory=BitOptions)
    tree: TreeOptions = field(default_factory=TreeOptions)
    n_samples: int = 20_000
    """Objects that the trained sampler draws at the end."""
    n_evaluations: int = 25
    """Times that the law is looked at in training, beside the last; not counted as its cost."""
    baseline: bool = True
    """Run Metropolis chains beside it, at as many reward evaluations."""

    def __post_init__(self) -> None:
        CommonOptions.__post_init__(self)
        GFlowNetConfig.__post_init__(self)
        for name in ("n_samples", "n_evaluations"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name)}: give 1 or more")

    @property
    def label(self) -> str:
        return f"{self.environment}-{self.objective}"
