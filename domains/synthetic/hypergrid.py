"""The hypergrid: walk from the origin along the axes of a d-dimensional grid, stop anywhere.

    R(x) = R0 + R1 prod_i [|x_i / (H-1) - 1/2| > 0.25] + R2 prod_i [0.3 < |x_i / (H-1) - 1/2| < 0.4]

for x in {0, ..., H-1}^d. Moves add one to a coordinate; stopping is the last action, so every point is
an object and a trajectory to x has |x| + 1 steps. R is counted coordinate by coordinate, so log Z is
exact at any size, and the inequalities are decided in integers. R0 sets the difficulty (0.1 is usual,
1e-3 and less are hard): a figure on a hypergrid means nothing without it.

Source: Bengio et al., "Flow Network based Generative Models for Non-Iterative Diverse Candidate
Generation" (2021, arXiv 2106.04399).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import InputError


@dataclass(frozen=True)
class GridState:
    """coordinates   position of each walk, 0 to height - 1
    stopped       whether the walk has ended there
    """

    coordinates: Int[Tensor, "batch dim"]
    stopped: Bool[Tensor, "batch"]


class Hypergrid:
    """A `SyntheticEnvironment`. Actions: 0 to d-1 move along an axis, d stops; backward the same.

    Raises InputError for fewer than one dimension, a height below two or rewards that are not positive.
    """

    def __init__(
        self,
        dimensions: int = 4,
        height: int = 8,
        r0: float = 0.1,
        r1: float = 0.5,
        r2: float = 2.0,
    ) -> None:
        if dimensions < 1 or height < 2:
            raise InputError(
                f"the hypergrid was given {dimensions} dimensions of height {height}: take at least "
                "1 dimension of height 2"
            )
        if not r0 > 0 or r1 < 0 or r2 < 0:
            raise InputError(
                f"the hypergrid was given rewards {r0:g}, {r1:g}, {r2:g}: R0 must be positive, R1 and "
                "R2 zero or more"
            )
        self.name = f"hypergrid {dimensions} x {height}"
        self.dimensions, self.height = dimensions, height
        self.rewards = (r0, r1, r2)
        self.max_steps = dimensions * (height - 1) + 1
        self.n_actions = self.n_backward_actions = dimensions + 1
        self.stop_action = dimensions
        self.n_features = dimensions * height
        self.n_states = 2 * height**dimensions
        still = torch.zeros(1, dimensions, dtype=torch.int64)
        self._increments = torch.cat([torch.eye(dimensions, dtype=torch.int64), still])
        self._weights = height ** torch.arange(dimensions - 1, -1, -1)
        # twice the distance from the middle, in units of 1 / (height - 1)
        distance = (2 * torch.arange(height) - (height - 1)).abs()
        self._outer = 2 * distance > height - 1
        self._band = (6 * (height - 1) < 10 * distance) & (10 * distance < 8 * (height - 1))
        outer, band = int(self._outer.sum()), int(self._band.sum())
        counts = (height**dimensions, outer**dimensions, band**dimensions)
        total = sum(reward * count for reward, count in zip(self.rewards, counts, strict=True))
        self.log_partition: float | None = math.log(total)
        self.n_modes = 2**dimensions

    @property
    def description(self) -> list[str]:
        r0, r1, r2 = self.rewards
        return [
            f"Hypergrid of {self.dimensions} dimensions, {self.height} points each "
            f"({self.height**self.dimensions:,} objects), R0 = {r0:g}, R1 = {r1:g}, R2 = {r2:g}.",
            f"Exact log Z = {self.log_partition:.6f}. Modes: the {self.n_modes} orthants, each found by "
            "a point of the largest reward in it.",
        ]

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> GridState:
        return GridState(
            torch.zeros((batch, self.dimensions), dtype=torch.int64, device=device),
            torch.zeros(batch, dtype=torch.bool, device=device),
        )

    def is_initial(self, state: GridState) -> Bool[Tensor, "batch"]:
        return ~state.stopped & (state.coordinates == 0).all(1)

    def is_terminal(self, state: GridState) -> Bool[Tensor, "batch"]:
        return state.stopped

    def step(self, state: GridState, action: Int[Tensor, "batch"]) -> GridState:
        action = action.masked_fill(state.stopped, self.dimensions)
        moved = state.coordinates + self._increments.to(action.device).index_select(0, action)
        return GridState(moved, action == self.dimensions)

    def backward_step(self, state: GridState, action: Int[Tensor, "batch"]) -> GridState:
        """The move along `action` taken back; a walk at zero in that coordinate stays."""
        moved = state.coordinates - self._increments.to(action.device).index_select(0, action)
        return GridState(moved.clamp_min(0), state.stopped & (action != self.dimensions))

    def undoing(self, state: GridState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        return action

    def redoing(self, state: GridState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        return action

    def forward_mask(self, state: GridState) -> Bool[Tensor, "batch action"]:
        free = state.coordinates < self.height - 1
        mask = torch.cat([free, torch.ones_like(state.stopped).unsqueeze(1)], 1)
        return mask & ~state.stopped.unsqueeze(1)

    def backward_mask(self, state: GridState) -> Bool[Tensor, "batch action"]:
        stopped = state.stopped.unsqueeze(1)
        return torch.cat([(state.coordinates > 0) & ~stopped, stopped], 1)

    def features(self, state: GridState) -> Float[Tensor, "batch feature"]:
        """One-hot coordinates, float32. Whether the walk has stopped is not among them: nothing is
        decided after that."""
        values = torch.arange(self.height, device=state.coordinates.device)
        return (state.coordinates.unsqueeze(2) == values).flatten(1).float()

    def log_reward(self, state: GridState) -> Float[Tensor, "batch"]:
        return self.log_partial_reward(state)

    def log_partial_reward(self, state: GridState) -> Float[Tensor, "batch"]:
        """log R of the point, stopped or not, float64."""
        at = state.coordinates
        r0, r1, r2 = self.rewards
        outer, band = (
            table.to(at.device)[at].all(1).double() for table in (self._outer, self._band)
        )
        return (r0 + r1 * outer + r2 * band).log()

    def all_states(self) -> GridState:
        """Walking states in lexicographic order, then the stopped ones in the same order."""
        n = self.height**self.dimensions
        points = torch.arange(n).unsqueeze(1) // self._weights % self.height
        return GridState(points.repeat(2, 1), torch.arange(2 * n) >= n)

    def index(self, state: GridState) -> Int[Tensor, "batch"]:
        point = (state.coordinates * self._weights.to(state.coordinates.device)).sum(1)
        return torch.add(point, state.stopped, alpha=self.height**self.dimensions)

    def mode(self, state: GridState) -> Int[Tensor, "batch"]:
        """Orthants are numbered in binary, the last coordinate lowest."""
        r0, r1, r2 = self.rewards
        best = r0 + r1 * bool(self._outer.any()) + r2 * bool(self._band.any())
        sides = (2 * state.coordinates > self.height - 1).long()
        powers = 2 ** torch.arange(self.dimensions - 1, -1, -1, device=sides.device)
        is_best = self.log_reward(state) > math.log(best) - 1e-9
        return torch.where(is_best, (sides * powers).sum(1), -1)

    def uniform_objects(self, n: int, generator: torch.Generator) -> GridState:
        shape, device = (n, self.dimensions), generator.device
        points = torch.randint(self.height, shape, generator=generator, device=device)
        return GridState(points, torch.ones(n, dtype=torch.bool, device=device))

    def propose(self, state: GridState, generator: torch.Generator) -> GridState:
        """One step up or down a random axis; a step off the grid is not taken."""
        at, n = state.coordinates, len(state.stopped)
        axis = torch.randint(self.dimensions, (n, 1), generator=generator, device=at.device)
        up = torch.randint(2, (n, 1), generator=generator, device=at.device)
        moved = at.scatter_add(1, axis, 2 * up - 1)
        inside = ((moved >= 0) & (moved < self.height)).all(1, keepdim=True)
        return GridState(torch.where(inside, moved, at), state.stopped)

    def arrays(self, state: GridState) -> dict[str, Tensor]:
        """`coordinates` [object, dim]."""
        return {"coordinates": state.coordinates}
