"""Many unconstrained minimisations side by side, each with its own history and step: L-BFGS.

    x <- x - step * H g,   H from the last `memory` pairs (x_k+1 - x_k, g_k+1 - g_k)

J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comput. 35, 773 (1980). The first
H is the identity, so the variables should come in units in which the curvature is about one. The step
is 1, halved until the value falls enough (Armijo). A problem is done when the fall that its quadratic model
still expects, half of g H g, is below a tolerance twice in a row; done ones are not evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

# Value and gradient [problem, dim] of the problems numbered `index` at `x`.
Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
ENOUGH_FALL = 1e-4  # of what the slope promises
SMALLEST_STEP = 2.0**-20


@dataclass(frozen=True)
class Options:
    tolerance: float = 1e-6
    """A problem is done when it expects to fall by less than this."""
    memory: int = 12
    max_iterations: int = 300


@dataclass
class Minima:
    """The lowest points found: x [problem, dim], value [problem], and which of them converged."""

    x: Float[Tensor, "problem dim"]
    value: Float[Tensor, "problem"]
    converged: Bool[Tensor, "problem"]
    n_iterations: int


class _Histories:
    """The last pairs of every problem, a ring of `memory` places; an unused place has rho = 0."""

    def __init__(self, memory: int, n_problems: int, dim: int) -> None:
        self.moves = torch.zeros(memory, n_problems, dim, dtype=torch.float64)
        self.bends = torch.zeros_like(self.moves)
        self.rho = torch.zeros(memory, n_problems, dtype=torch.float64)
        self.scale = torch.ones(n_problems, dtype=torch.float64)
        self.next = torch.zeros(n_problems, dtype=torch.int64)

    def add(self, index: Int64[Tensor, "some"], move: Tensor, bend: Tensor) -> None:
        """Pairs along which the function bends downwards would spoil H: they are left out."""
        along = (move * bend).sum(1)
        fit = along > 1e-10 * move.norm(dim=1) * bend.norm(dim=1)
        index, move, bend, along = index[fit], move[fit], bend[fit], along[fit]
        place = self.next[index]
        self.moves[place, index], self.bends[place, index] = move, bend
        self.rho[place, index] = 1 / along
        self.scale[index] = along / bend.square().sum(1)
        self.next[index] = (place + 1) % len(self.rho)

    def newton(self, index: Int64[Tensor, "some"], gradient: Tensor) -> Float[Tensor, "some dim"]:
        """H g by the two-loop recursion."""
        q = gradient.clone()
        memory = len(self.rho)
        ages = [(self.next[index] - 1 - age) % memory for age in range(memory)]
        weights = []
        for place in ages:
            rho = self.rho[place, index]
            weight = rho * (self.moves[place, index] * q).sum(1)
            q -= weight[:, None] * self.bends[place, index]
            weights.append(weight)
        q *= self.scale[index, None]
        for place, weight in zip(reversed(ages), reversed(weights), strict=True):
            rho = self.rho[place, index]
            back = rho * (self.bends[place, index] * q).sum(1)
            q += (weight - back)[:, None] * self.moves[place, index]
        return q

    def forget(self, index: Int64[Tensor, "some"]) -> None:
        self.rho[:, index], self.scale[index] = 0.0, 1.0


def minimise(
    function: Function, start: Float[Tensor, "problem dim"], options: Options | None = None
) -> Minima:
    """Minimises every problem from its row of `start` (float64); a value that is not finite counts as
    too high, so `start` must be finite in value."""
    options = options or Options()
    n_problems, dim = start.shape
    x = start.clone()
    value, gradient = function(x, torch.arange(n_problems))
    histories = _Histories(options.memory, n_problems, dim)
    calm = torch.zeros(n_problems, dtype=torch.int64)
    stuck = torch.zeros(n_problems, dtype=torch.bool)
    n_iterations = 0
    while n_iterations < options.max_iterations:
        index = ((calm < 2) & ~stuck).nonzero().squeeze(1)
        if len(index) == 0:
            break
        n_iterations += 1
        direction = -histories.newton(index, gradient[index])
        slope = (direction * gradient[index]).sum(1)
        calm[index] = torch.where(-slope / 2 < options.tolerance, calm[index] + 1, 0)
        new_x, new_value, new_gradient, moved = _line_search(
            function, index, x[index], value[index], gradient[index], direction, slope
        )
        # No step helps: once with an old history, it is forgotten; with a fresh one, this is the end.
        failed = index[~moved]
        stuck[failed] = (histories.rho[:, failed] == 0).all(0)
        histories.forget(failed)
        index, new_x, new_gradient = index[moved], new_x[moved], new_gradient[moved]
        histories.add(index, new_x - x[index], new_gradient - gradient[index])
        x[index], value[index], gradient[index] = new_x, new_value[moved], new_gradient
    return Minima(x, value, (calm >= 2) | stuck, n_iterations)


def _line_search(
    function: Function,
    index: Tensor,
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
    slope: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The points reached, their values and gradients, and which problems moved at all."""
    best_x, best_value, best_gradient = x.clone(), value.clone(), gradient.clone()
    step = torch.ones(len(index), dtype=torch.float64)
    waiting = torch.ones(len(index), dtype=torch.bool)
    while bool(waiting.any()) and float(step[waiting].max()) >= SMALLEST_STEP:
        rows = waiting.nonzero().squeeze(1)
        trial = x[rows] + step[rows, None] * direction[rows]
        new_value, new_gradient = function(trial, index[rows])
        # Rounding of the value itself must not forbid a step at the very end.
        slack = 1e-13 * value[rows].abs()
        enough = new_value <= value[rows] + ENOUGH_FALL * step[rows] * slope[rows] + slack
        good = enough & new_value.isfinite() & new_gradient.isfinite().all(1)
        taken = rows[good]
        best_x[taken], best_value[taken] = trial[good], new_value[good]
        best_gradient[taken] = new_gradient[good]
        waiting[taken] = False
        step[rows[~good]] /= 2
    return best_x, best_value, best_gradient, ~waiting
