"""One training batch of each method: positions on interpolants between coupled cells, and their targets.

Time within an interval is stratified: row i of n has s in [i, i + 1) / n. All in the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.bridge.interpolants import EDGE, brownian_bridge, straight
from workbench.bridge.objectives.flow_matching import bridge_weight
from workbench.bridge.options import BridgeConfig
from workbench.bridge.problem import BridgeProblem, PairTable
from workbench.bridge.spline import spline
from workbench.bridge.wfr import dirac_path
from workbench.errors import InputError

MAX_INTERVALS = 16
"""Intervals per step: where there are more, so many are chosen at random for each step."""

EndToEnd = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""An interpolant from the first to the last snapshot: (x0, x1, s) -> position, velocity per s."""


@dataclass(frozen=True)
class Batch:
    """x, t         where the networks are evaluated
    gap          frame time per unit of s: the velocity network times it is compared with `velocity`
    velocity     target, per unit of s
    weight       of each row; None = one
    noise, deviation   of the Brownian bridge (sf2m)
    growth       target per unit of s (unbalanced)
    """

    x: Float[Tensor, "batch feature"]
    t: Float[Tensor, "batch"]
    gap: Float[Tensor, "batch"]
    velocity: Float[Tensor, "batch feature"]
    weight: Float[Tensor, "batch"] | None = None
    noise: Float[Tensor, "batch feature"] | None = None
    deviation: Float[Tensor, "batch"] | None = None
    growth: Float[Tensor, "batch"] | None = None


def draw(
    config: BridgeConfig,
    problem: BridgeProblem,
    generator: torch.Generator,
    interpolant: EndToEnd | None = None,
) -> Batch:
    """`config.batch` rows per interval used. `interpolant` is the learned one of alicfm."""
    if config.method == "alicfm":
        return _adversarial(config, problem, generator, interpolant)
    interval, s = _places(config, problem, generator)
    gap = problem.gaps[interval]
    t = torch.addcmul(problem.times[interval], s, gap)
    if config.method == "spline":
        return _splines(config, problem, interval, s, t, generator)
    rows = draw_pairs(problem.pairs, interval, generator)
    x0 = problem.cells[problem.pairs.source[rows]]
    x1 = problem.cells[problem.pairs.target[rows]]
    noise = torch.randn(x0.shape, generator=generator, device=generator.device)
    if config.method == "unbalanced":
        mass0, mass1 = problem.pairs.mass0[rows], problem.pairs.mass1[rows]
        path = dirac_path(x0, x1, mass0, mass1, problem.delta, s)
        x = torch.add(path.position, noise, alpha=config.sigma)
        return Batch(x, t, gap, path.velocity, path.mass / mass0, growth=path.growth)
    if config.method in ("sf2m", "sbcfm"):
        sigma = config.sigma * gap.sqrt()
        x, velocity, deviation = brownian_bridge(x0, x1, s, sigma, noise)
        return Batch(x, t, gap, velocity, bridge_weight(s, sigma), noise, deviation)
    x, velocity = straight(x0, x1, s, config.sigma, noise)
    return Batch(x, t, gap, velocity)


def draw_pairs(
    pairs: PairTable, interval: Int[Tensor, "batch"], generator: torch.Generator
) -> Int[Tensor, "batch"]:
    """Rows of the table, one of each interval asked for, in proportion to their mass."""
    device = generator.device
    share = torch.rand(len(interval), generator=generator, dtype=torch.float64, device=device)
    rows = torch.searchsorted(pairs.cumulative, interval + share, right=True)
    return rows.clamp_(max=len(pairs.cumulative) - 1)


def _places(
    config: BridgeConfig, problem: BridgeProblem, generator: torch.Generator
) -> tuple[Int[Tensor, "batch"], Float[Tensor, "batch"]]:
    """Interval and share of it, for each row."""
    device, n = generator.device, config.batch
    chosen = torch.arange(problem.n_intervals, device=device)
    if problem.n_intervals > MAX_INTERVALS:
        chosen = torch.randperm(problem.n_intervals, generator=generator, device=device)
        chosen = chosen[:MAX_INTERVALS]
    within = torch.rand(len(chosen), n, generator=generator, device=device)
    s = (within + torch.arange(n, device=device)) / n
    return chosen.repeat_interleave(n), s.clamp_(EDGE, 1.0 - EDGE).flatten()


def _splines(
    config: BridgeConfig,
    problem: BridgeProblem,
    interval: Tensor,
    s: Tensor,
    t: Tensor,
    generator: torch.Generator,
) -> Batch:
    if problem.chains is None:
        raise InputError("the problem was prepared for another method: prepare it for spline")
    points, bends = problem.chains.points, problem.chains.bends
    gap = problem.gaps[interval]
    device = generator.device
    row = torch.randint(len(points), (len(interval),), generator=generator, device=device)
    ends = (points[row, interval], points[row, interval + 1])
    x, velocity = spline(*ends, bends[row, interval], bends[row, interval + 1], gap, s)
    noise = torch.randn(x.shape, generator=generator, device=generator.device)
    return Batch(torch.add(x, noise, alpha=config.sigma), t, gap, velocity)


def _adversarial(
    config: BridgeConfig,
    problem: BridgeProblem,
    generator: torch.Generator,
    interpolant: EndToEnd | None,
) -> Batch:
    if problem.chains is None or interpolant is None:
        raise InputError("alicfm needs a learned interpolant and chains: train by `training.train`")
    points, span = problem.chains.points, problem.times[-1] - problem.times[0]
    n, device = config.batch * min(problem.n_intervals, MAX_INTERVALS), generator.device
    row = torch.randint(len(points), (n,), generator=generator, device=device)
    within = torch.rand(n, generator=generator, device=device)
    s = (within + torch.arange(n, device=device)) / n
    x, velocity = interpolant(points[row, 0], points[row, -1], s)
    noise = torch.randn(x.shape, generator=generator, device=generator.device)
    gap = span.expand(n) / problem.n_intervals
    x = torch.add(x, noise, alpha=config.sigma)
    return Batch(x, problem.times[0] + s * span, gap, velocity / problem.n_intervals)
