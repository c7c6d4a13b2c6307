"""An environment that counts what it is asked: the cost in every report is read from here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet import states


class CountedEnvironment:
    """An `Environment` whose `n_rewards` counts the objects and unfinished states whose log-reward,
    whole or partial, was computed. Every other member is the wrapped environment's own, optional
    abilities included."""

    def __init__(self, environment: Any) -> None:
        self.wrapped = environment
        self.n_rewards = 0

    def __getattr__(self, name: str) -> Any:
        if name == "wrapped":  # while a copy is being made
            raise AttributeError(name)
        found = getattr(self.wrapped, name)
        return self._partial(found) if name == "log_partial_reward" else found

    def _partial(self, log_partial_reward: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
        def counted(state: Any) -> Tensor:
            self.n_rewards += states.n_rows(state)
            return log_partial_reward(state)

        return counted

    def __deepcopy__(self, memo: dict[int, Any]) -> CountedEnvironment:
        """Itself: averaged copies of a policy that holds an environment share its counter."""
        return self

    def state_dict(self) -> dict[str, int]:
        """The count, so that it is part of what a checkpoint keeps."""
        return {"n_rewards": self.n_rewards}

    def load_state_dict(self, counts: dict[str, int]) -> None:
        self.n_rewards = counts["n_rewards"]

    def log_reward(self, state: Any) -> Float[Tensor, "batch"]:
        self.n_rewards += states.n_rows(state)
        return self.wrapped.log_reward(state)
