"""Sampling R^beta: at one inverse temperature, at one that changes in training, or at all of a range.

Fixed and annealed: rewards in the scores are multiplied by beta, partial ones too. Conditional: beta is
part of the state (`Tempered`), so one policy and one log Z(beta) serve the whole range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.errors import InputError
from workbench.gflownet import states
from workbench.gflownet.trajectories import Scores
from workbench.problem import DiscreteEnvironment, PartialReward, Stoppable


def tempered_scores(scores: Scores, beta: float) -> Scores:
    """The scores with R^beta in the place of R."""
    if beta == 1.0:
        return scores
    flow, partial, stopped = scores.log_flow, scores.log_partial, scores.log_stopped_reward
    if flow is not None:
        at = scores.valid.sum(1, keepdim=True)
        end = (beta * scores.log_reward).to(flow.dtype).unsqueeze(1)
        flow = flow.scatter(1, at, end)
    return replace(
        scores,
        log_reward=beta * scores.log_reward,
        log_flow=flow,
        log_partial=None if partial is None else beta * partial,
        log_stopped_reward=None if stopped is None else beta * stopped,
    )


@dataclass(frozen=True)
class TemperedState:
    """A state of the wrapped environment, and the inverse temperature of its trajectory."""

    state: Any
    beta: Float[Tensor, "batch"]


class Tempered:
    """A `DiscreteEnvironment` whose initial states choose beta and whose reward is R^beta.

    Features are those of the wrapped environment, then beta / `high` and its logarithm relative to the
    range. `initial_state` has beta = `high`; `start` takes others. Raises InputError for an empty range.
    """

    def __init__(self, environment: DiscreteEnvironment, low: float, high: float) -> None:
        if not 0.0 < low < high:
            raise InputError(
                f"inverse temperatures from {low:g} to {high:g} were given: a conditional policy needs a "
                "range above 0, the lower end first"
            )
        self.wrapped = environment
        self.low, self.high = low, high
        self.name = f"{environment.name}, reward to the power {low:g} to {high:g}"
        self.max_steps = environment.max_steps
        self.n_actions = environment.n_actions
        self.n_backward_actions = environment.n_backward_actions
        self.n_features = environment.n_features + 2
        if isinstance(environment, PartialReward):
            self.log_partial_reward = self._log_partial_reward
        if isinstance(environment, Stoppable):
            self.stop_action = environment.stop_action

    def start(self, beta: Float[Tensor, "batch"]) -> TemperedState:
        """Initial states at the given inverse temperatures."""
        return TemperedState(self.wrapped.initial_state(len(beta), beta.device), beta)

    def at(self, state: Any, beta: float) -> TemperedState:
        """States of the wrapped environment, all at one inverse temperature."""
        tensor = states.first_tensor(state)
        device = tensor.device if tensor is not None else None
        full = torch.full((states.n_rows(state),), beta, dtype=torch.float64, device=device)
        return TemperedState(state, full)

    def draw(self, n: int, n_groups: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Log-uniform beta for `n` trajectories in `n_groups` groups, and the group of each."""
        device = generator.device
        u = torch.rand(min(n_groups, n), generator=generator, device=device, dtype=torch.float64)
        values = self.low * (self.high / self.low) ** u
        group = torch.arange(n, device=device) % len(values)
        return values[group], group

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> TemperedState:
        return self.at(self.wrapped.initial_state(batch, device), self.high)

    def is_initial(self, state: TemperedState) -> Bool[Tensor, "batch"]:
        return self.wrapped.is_initial(state.state)

    def is_terminal(self, state: TemperedState) -> Bool[Tensor, "batch"]:
        return self.wrapped.is_terminal(state.state)

    def step(self, state: TemperedState, action: Tensor) -> TemperedState:
        return TemperedState(self.wrapped.step(state.state, action), state.beta)

    def backward_step(self, state: TemperedState, action: Tensor) -> TemperedState:
        return TemperedState(self.wrapped.backward_step(state.state, action), state.beta)

    def undoing(self, state: TemperedState, action: Tensor) -> Tensor:
        return self.wrapped.undoing(state.state, action)

    def redoing(self, state: TemperedState, action: Tensor) -> Tensor:
        return self.wrapped.redoing(state.state, action)

    def forward_mask(self, state: TemperedState) -> Bool[Tensor, "batch action"]:
        return self.wrapped.forward_mask(state.state)

    def backward_mask(self, state: TemperedState) -> Bool[Tensor, "batch action"]:
        return self.wrapped.backward_mask(state.state)

    def features(self, state: TemperedState) -> Float[Tensor, "batch feature"]:
        inner = self.wrapped.features(state.state)
        linear = state.beta / self.high
        logarithm = (state.beta / self.low).log() / math.log(self.high / self.low)
        return torch.cat([inner, torch.stack([linear, logarithm], 1).to(inner.dtype)], 1)

    def log_reward(self, state: TemperedState) -> Float[Tensor, "batch"]:
        return state.beta * self.wrapped.log_reward(state.state)

    def _log_partial_reward(self, state: TemperedState) -> Float[Tensor, "batch"]:
        return state.beta * self.wrapped.log_partial_reward(state.state)  # type: ignore[attr-defined]
