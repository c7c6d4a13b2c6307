"""Entropic optimal transport between two snapshots, in tiles: memory grows with n + m, not with n m.

    min_pi sum_ij pi_ij |x_i - y_j|^2 + epsilon KL(pi | a b^T),    pi 1 = a,  pi^T 1 = b
    pi_ij = a_i b_j exp((f_i + g_j - |x_i - y_j|^2) / epsilon)

by Sinkhorn's iteration on the potentials f and g in the log domain (Cuturi, Sinkhorn distances, 2013,
arXiv 1306.0895). With epsilon = 2 sigma^2 dt this is the end-point coupling of the Schrödinger bridge
with reference sigma dW over dt.

Each half-step is one matrix product per tile that gives the exponents already shifted by the last
row sums, so a plain exp is safe; a tile whose sums over- or underflow is redone with the stable sum.
Large problems start from the potentials of a subsample, and small epsilon is reached by halving.
Over-relaxation (Lehmann et al., 2022, arXiv 2012.12562) speeds up the end. Groups of cells far apart, such as
two fates, exchange mass only after their potentials have moved by many epsilon, a little in every iteration in
one direction: there the step is doubled for as long as the dual value rises, which is concave.

Certificate: with f just updated the first marginal is exact, the second is off by `marginal_error` in
L1, and primal minus dual value is <g, pi^T 1 - b>, given over the larger of the dual value and epsilon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.bridge.couplings.plan import Plan, uniform
from workbench.errors import InputError

TILE_ELEMENTS = 2**20
LISTED_UP_TO = 2**18
SUBSAMPLE = 2000
DOUBLE_UP_TO = 2**20
_OVER_RELAXED_AFTER = 10
_CHECKS = 5
_SLOW = 0.85  # the error left after so many iterations, above which a long step is tried
_MOST_DOUBLINGS = 16
_ROUGH = 0.05  # marginal error of a subsample's plan, which only has to begin the whole one's
_SMALLEST_EXPONENT = -80.0


@dataclass(frozen=True)
class Solved:
    """Potentials in squared data units, float64, and what is known of their plan."""

    f: Float[Tensor, "source"]
    g: Float[Tensor, "target"]
    marginal_error: float
    duality_gap: float
    iterations: int
    converged: bool


@dataclass(frozen=True)
class _Side:
    """One snapshot as the rows or columns of tiles: positions over sqrt(epsilon / 2), squared norms
    over epsilon, log weights. All but `log_weight` in the dtype of the products."""

    z: Tensor
    norm: Tensor
    log_weight: Tensor


def entropic_plan(
    x0: Float[Tensor, "source feature"],
    x1: Float[Tensor, "target feature"],
    epsilon: float,
    weights0: Float[Tensor, "source"] | None = None,
    weights1: Float[Tensor, "target"] | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
    pairs_per_cell: int = 16,
    generator: torch.Generator,
) -> Plan:
    """All pairs where there are few, else `pairs_per_cell` pairs drawn for each source cell.

    The marginal error and the gap are those of the plan that was solved; the drawn pairs have the exact
    first marginal and a second one with the noise of drawing. Raises InputError for a bad epsilon or
    where the iteration did not converge."""
    a, b = uniform(len(x0), weights0), uniform(len(x1), weights1)
    solved = solve(x0, x1, epsilon, a, b, tolerance, max_iterations, generator)
    if not solved.converged:
        raise InputError(
            f"the entropic plan of {len(x0)} x {len(x1)} cells at epsilon {epsilon:.3g} has a marginal "
            f"error of {solved.marginal_error:.1e} after {solved.iterations} iterations: raise epsilon, "
            "the tolerance or the iterations, or take the exact plan"
        )
    left, right = _sides(x0, x1, a, b, epsilon)
    if len(x0) * len(x1) <= LISTED_UP_TO:
        source, target, mass = _listed(left, right, solved, a, epsilon)
    else:
        source, target, mass = _drawn(left, right, solved, a, epsilon, pairs_per_cell, generator)
    return Plan(
        source,
        target,
        mass,
        len(x0),
        len(x1),
        method="entropic",
        cost=_cost(x0, x1, source, target, mass),
        marginal_error=solved.marginal_error,
        duality_gap=solved.duality_gap,
        converged=True,
        iterations=solved.iterations,
        epsilon=epsilon,
    )


def solve(
    x0: Float[Tensor, "source feature"],
    x1: Float[Tensor, "target feature"],
    epsilon: float,
    a: Float[Tensor, "source"],
    b: Float[Tensor, "target"],
    tolerance: float,
    max_iterations: int,
    generator: torch.Generator,
) -> Solved:
    """The potentials; `converged` says whether the tolerance was met."""
    if not 0 < epsilon < math.inf:
        raise InputError(f"epsilon is {epsilon}: give a positive number, 2 sigma^2 dt for a bridge")
    g = _start(x0, x1, epsilon, a, b, tolerance, max_iterations, generator)
    left, right = _sides(x0, x1, a, b, epsilon)
    return _iterate(left, right, b, epsilon, g, tolerance, max_iterations)


def _start(
    x0: Tensor,
    x1: Tensor,
    epsilon: float,
    a: Tensor,
    b: Tensor,
    tolerance: float,
    max_iterations: int,
    generator: torch.Generator,
) -> Tensor:
    """Potential g to begin with: solved on a subsample for a large problem and extended to all
    targets; by halving epsilon from the mean cost down for a small one."""
    if max(len(x0), len(x1)) > SUBSAMPLE * 2:
        rows = torch.multinomial(a, SUBSAMPLE, replacement=True, generator=generator)
        columns = torch.multinomial(b, SUBSAMPLE, replacement=True, generator=generator)
        part0, part1 = uniform(len(rows), None), uniform(len(columns), None)
        small = x0[rows], x1[columns]
        rough = max(tolerance, _ROUGH)
        solved = solve(*small, epsilon, part0, part1, rough, max_iterations, generator)
        left, right = _sides(x0[rows], x1, part0, b, epsilon)
        sums = torch.zeros(len(x1), dtype=torch.float64)
        log_sums = _log_sums(right, left, solved.f / epsilon, sums)
        return epsilon * (right.norm.double() - log_sums)
    largest = float(torch.cdist(x0.double(), x1.double()).square().mean())
    g = torch.zeros(len(x1), dtype=torch.float64)
    level = largest
    while level > epsilon:
        left, right = _sides(x0, x1, a, b, level)
        g = _iterate(left, right, b, level, g, 0.05, 50).g
        level *= 0.5
    return g


def _sides(x0: Tensor, x1: Tensor, a: Tensor, b: Tensor, epsilon: float) -> tuple[_Side, _Side]:
    dtype = torch.float64 if len(x0) * len(x1) <= DOUBLE_UP_TO else torch.float32
    centre = 0.5 * (x0.double().mean(0) + x1.double().mean(0))
    sides = []
    for x, weight in ((x0, a), (x1, b)):
        z = (x.double() - centre) * math.sqrt(2.0 / epsilon)
        norm = 0.5 * z.square().sum(1)
        sides.append(_Side(z.to(dtype), norm.to(dtype), weight.log()))
    return sides[0], sides[1]


def _log_sums(rows: _Side, columns: _Side, potential: Tensor, last: Tensor) -> Tensor:
    """log sum_j exp(log_weight_j + potential_j - |x_j|^2 / epsilon + 2 x_i . x_j / epsilon) for each
    row i, float64. `potential` is over epsilon; `last` is a guess of the result."""
    dtype = rows.z.dtype
    bias = columns.log_weight + potential - columns.norm.double()
    # One product gives the shifted exponent: [z_i, 1, -last_i] . [z_j, bias_j, 1].
    ones = torch.ones(len(columns.z), 1, dtype=dtype)
    right = torch.cat([columns.z, bias.to(dtype)[:, None], ones], dim=1).T
    height = max(1, TILE_ELEMENTS // len(columns.z))
    result = torch.empty(len(rows.z), dtype=torch.float64)
    for start in range(0, len(rows.z), height):
        z, shift = rows.z[start : start + height], last[start : start + height]
        ones = torch.ones(len(z), 1, dtype=dtype)
        tile = torch.cat([z, ones, -shift.to(dtype)[:, None]], dim=1) @ right
        # Far pairs count for nothing, but their denormal exponentials take twenty times as long.
        sums = tile.clamp_(min=_SMALLEST_EXPONENT).exp_().sum(1)
        value = sums.double().log() + shift.to(dtype).double()
        if not bool(((sums > 1e-20) & (sums < 1e20)).all()):
            value = torch.logsumexp(z @ columns.z.T + bias.to(dtype), dim=1).double()
        result[start : start + height] = value
    return result


def _iterate(
    left: _Side,
    right: _Side,
    b: Tensor,
    epsilon: float,
    g: Tensor,
    tolerance: float,
    max_iterations: int,
) -> Solved:
    """Sinkhorn's iteration from `g` until the second marginal is met; potentials over epsilon inside."""
    column = g / epsilon
    row_sums, column_sums = torch.zeros(len(left.z)).double(), torch.zeros(len(right.z)).double()
    relax, previous = 1.0, math.inf
    used = b > 0
    for iteration in range(1, max_iterations + 1):
        row_sums = _log_sums(left, right, column, row_sums)
        row = left.norm.double() - row_sums
        column_sums = _log_sums(right, left, row, column_sums)
        update = right.norm.double() - column_sums
        excess = torch.where(used, b * torch.expm1((column - update).clamp(max=50.0)), 0.0)
        error = float(excess.abs().sum())
        if error < tolerance or iteration == max_iterations:
            break
        step = relax * (update - column)
        if iteration % _CHECKS == 0:
            if error > _SLOW * previous:
                relax, step = 1.0, _long_step(left, right, b, column, update - column, row_sums)
            elif iteration >= _OVER_RELAXED_AFTER:
                relax = _relaxation(error / previous, relax)
            previous = error
        column = column + step
    dual = float(left.log_weight.exp() @ row + b @ column)
    gap = abs(float(torch.where(used, column, 0.0) @ excess)) / max(abs(dual), 1.0)
    return Solved(row * epsilon, column * epsilon, error, gap, iteration, error < tolerance)


def _long_step(
    left: _Side, right: _Side, b: Tensor, column: Tensor, step: Tensor, row_sums: Tensor
) -> Tensor:
    """`step` times the power of two up to which the dual value, with the best f for each g, keeps rising."""
    a = left.log_weight.exp()

    def value(g: Tensor) -> float:
        return float(b @ g - a @ _log_sums(left, right, g, row_sums))

    best = value(column + step)
    for _ in range(_MOST_DOUBLINGS):
        longer = value(column + 2.0 * step)
        if not longer > best:
            break
        best, step = longer, 2.0 * step
    return step


def _relaxation(shrunk: float, relax: float) -> float:
    """The best over-relaxation for the contraction seen over a few plain steps; kept once chosen."""
    if relax > 1.0:
        return relax
    rate = min(shrunk ** (1.0 / _CHECKS), 0.9999)
    return min(1.8, 2.0 / (1.0 + math.sqrt(1.0 - rate)))


def _tile(left: _Side, right: _Side, solved: Solved, epsilon: float, rows: slice) -> Tensor:
    """Conditional probabilities pi_ij / a_i of a tile of rows, normalised."""
    bias = right.log_weight + solved.g / epsilon - right.norm.double()
    return torch.softmax(left.z[rows] @ right.z.T + bias.to(left.z.dtype), dim=1)


def _cost(x0: Tensor, x1: Tensor, source: Tensor, target: Tensor, mass: Tensor) -> float:
    """sum of mass |x - y|^2, a part of the pairs at a time."""
    total = 0.0
    for i, j, weight in zip(*(t.split(2**18) for t in (source, target, mass)), strict=True):
        total += float(weight @ (x0[i].double() - x1[j].double()).square().sum(1))
    return total


def _listed(
    left: _Side, right: _Side, solved: Solved, a: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Every pair whose mass matters: all but the smallest of each row's."""
    plan = a[:, None] * _tile(left, right, solved, epsilon, slice(None)).double()
    kept = plan > 1e-12 * plan.max()
    source, target = kept.nonzero(as_tuple=True)
    mass = plan[kept]
    return source, target, mass / mass.sum()


def _drawn(
    left: _Side,
    right: _Side,
    solved: Solved,
    a: Tensor,
    epsilon: float,
    n: int,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"], Float[Tensor, "pair"]]:
    """`n` targets per source by systematic draws from its conditional law."""
    targets = []
    height = max(1, TILE_ELEMENTS // len(right.z))
    for start in range(0, len(left.z), height):
        law = _tile(left, right, solved, epsilon, slice(start, start + height)).double().cumsum(1)
        offset = torch.rand(len(law), 1, generator=generator, dtype=torch.float64)
        points = (torch.arange(n, dtype=torch.float64) + offset) / n * law[:, -1:]
        targets.append(torch.searchsorted(law, points).clamp_(max=len(right.z) - 1))
    source = torch.arange(len(left.z)).repeat_interleave(n)
    return source, torch.cat(targets).flatten(), (a / n).repeat_interleave(n)
