"""What a sampler hands over: samples, traces, cost, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from workbench.runs.metrics import Figure
from workbench.samples import WeightedSamples


@dataclass(frozen=True)
class Cost:
    """Training and sampling, without compilation and evaluation."""

    n_evaluations: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Drawn:
    """What a sampler gave.

    raw        its samples as they are, none dropped
    weighted   a second set with importance weights, or None
    energies, geometric   traces [kept, chain] of Markov chains, or None
    figures, lines        what the sampler says of itself, for metrics.json and the report
    log_z_known           the mean weight is Z; weights of MBAR have another constant
    """

    raw: WeightedSamples
    cost: Cost
    weighted: WeightedSamples | None = None
    energies: Tensor | None = None
    geometric: Tensor | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    log_z_known: bool = True
