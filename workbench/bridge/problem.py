"""Snapshots made ready for training: frame coordinates, solved plans, and tables to draw pairs from.

Every coupling is drawn from tables made here, so a training step costs one search and two gathers, whatever
the plan.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.bridge.couplings.chain import Chain
from workbench.bridge.couplings.plan import Plan
from workbench.bridge.couplings.solve import reach, solve_plans
from workbench.bridge.frame import Frame, frame_of
from workbench.bridge.options import BridgeConfig
from workbench.bridge.spline import second_derivatives
from workbench.errors import InputError
from workbench.seeds import seed_from

CHAINED = ("spline", "alicfm")
_CHAINS_PER_CELL = 16  # of the largest snapshot
_MOST_CHAINS = 50_000


@dataclass(frozen=True)
class PairTable:
    """Pairs of all intervals, one after the other.

    cumulative    [pair], mass of interval k rising from k to k + 1
    source, target   rows of the pooled cells
    mass0, mass1  of unbalanced pairs, else empty
    """

    cumulative: Float[Tensor, "pair"]
    source: Int[Tensor, "pair"]
    target: Int[Tensor, "pair"]
    mass0: Float[Tensor, "pair"]
    mass1: Float[Tensor, "pair"]


@dataclass(frozen=True)
class Chains:
    """Chains of cells through all times in the frame, with the second derivatives of their splines."""

    points: Float[Tensor, "chain time feature"]
    bends: Float[Tensor, "chain time feature"]


@dataclass(frozen=True)
class BridgeProblem:
    """What training sees. `cells` are all snapshots pooled, `times` those of the snapshots, `offsets` [time]
    the first pooled row of each, all in the frame; `delta` is the reach of unbalanced paths."""

    frame: Frame
    cells: Float[Tensor, "cell feature"]
    offsets: Int[Tensor, "time"]
    times: Float[Tensor, "time"]
    plans: tuple[Plan, ...]
    pairs: PairTable
    chains: Chains | None
    delta: float

    @property
    def gaps(self) -> Float[Tensor, "interval"]:
        return torch.diff(self.times)

    @property
    def n_intervals(self) -> int:
        return len(self.times) - 1


def prepare(
    config: BridgeConfig,
    cells: Sequence[Float[Tensor, "cell feature"]],
    times: Float[Tensor, "time"],
    generator: torch.Generator,
    *,
    weights: Sequence[Float[Tensor, "cell"]] | None = None,
    masses: Sequence[float] | None = None,
    plans: Sequence[Plan] | None = None,
    frame: Frame | None = None,
    cache: Path | None = None,
) -> BridgeProblem:
    """Snapshots at ascending times as a problem; plans are solved where none are given. See `solve_plans`.
    What training sees lies on the generator's device."""
    frame = frame or frame_of(cells, times)
    if plans is None:
        kept = {"weights": weights, "masses": masses, "frame": frame, "cache": cache}
        plans = solve_plans(config, cells, times, generator, **kept)  # type: ignore[arg-type]
    _check_plans(plans, cells)
    device = generator.device
    pooled = frame.position(torch.cat(list(cells))).float().to(device)
    sizes = torch.tensor([0, *(len(x) for x in cells)])
    offsets = sizes.cumsum(0)[:-1]
    at = frame.time(times.double()).float().to(device)
    chains = None
    if config.method in CHAINED:
        n_chains = min(_CHAINS_PER_CELL * int(sizes.max()), _MOST_CHAINS)
        rows = Chain(plans).sample(n_chains, torch.Generator().manual_seed(seed_from(generator)))
        points = pooled[(rows + offsets).to(device)]
        chains = Chains(points, second_derivatives(points, at))
    table = _pair_table(plans, offsets, device)
    delta = reach(config, cells, frame) / frame.length
    return BridgeProblem(frame, pooled, offsets.to(device), at, tuple(plans), table, chains, delta)


def _check_plans(plans: Sequence[Plan], cells: Sequence[Tensor]) -> None:
    wanted = [(len(x), len(y)) for x, y in itertools.pairwise(cells)]
    given = [(plan.n_source, plan.n_target) for plan in plans]
    if wanted != given:
        raise InputError(
            f"plans between {given} cells do not fit snapshots of {wanted}: solve them for these"
        )
    if not all(plan.converged for plan in plans):
        raise InputError("a plan did not converge: solve it again with more iterations")


def _pair_table(plans: Sequence[Plan], offsets: Tensor, device: torch.device) -> PairTable:
    cumulative, source, target, mass0, mass1 = [], [], [], [], []
    for k, plan in enumerate(plans):
        share = plan.mass.cumsum(0)
        cumulative.append(k + share / share[-1])
        source.append(plan.source + offsets[k])
        target.append(plan.target + offsets[k + 1])
        if plan.target_mass is not None:
            mass0.append(plan.mass)
            mass1.append(plan.target_mass)
    masses = [torch.cat(m).float() if m else torch.empty(0) for m in (mass0, mass1)]
    parts = [torch.cat(cumulative), torch.cat(source), torch.cat(target), *masses]
    return PairTable(*(part.to(device) for part in parts))
