"""What a policy can do: draw moves in both directions and say how likely moves are.

Rollouts and objectives know nothing else of it: no mask, no number of actions. A policy over discrete
actions is `categorical.CategoricalPolicy`; merges of trees with branch lengths, crystal moves or a
Gaussian step have policies of their own. Every policy is a `torch.nn.Module`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.gflownet.options import Exploration
from workbench.gflownet.trajectories import Needs, Scores, Trajectories


class Behaviour(Protocol):
    """Draws the moves of one rollout. It lives as long as the rollout, so it may keep something for
    every trajectory (an ensemble member, embeddings made earlier), found by `row`."""

    def sample(
        self, state: Any, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Float[Tensor, "alive"]]:
        """An action for each trajectory that goes on, and its log-probability under this behaviour.

        state   their present states; `row` is the place of each in the whole batch, ascending
        """
        ...


@runtime_checkable
class Policy(Protocol):
    """Forward and backward transition laws, with a flow and log Z where an objective needs them.

    `behaviour` and `backward_behaviour` are called once per rollout, with the number of trajectories.
    A forward behaviour may explore; a backward one draws from P_B itself.
    """

    def behaviour(
        self, n: int, generator: torch.Generator, exploration: Exploration | None = None
    ) -> Behaviour: ...

    def backward_behaviour(self, n: int, generator: torch.Generator) -> Behaviour: ...

    def score(self, trajectories: Trajectories, needs: Needs) -> list[Scores]:
        """Scores under the present weights, with a graph: one for each ensemble member, most often one.

        All states of all trajectories are best evaluated in one pass of the network; a policy with
        the single-state calls of `SingleStatePolicy` may leave this to `scoring.score_by_state`.
        """
        ...

    def log_partition(self, start: Any) -> Float[Tensor, "batch"]:
        """log Z as seen from an initial state, which holds the conditions, if there are any."""
        ...


class SingleStatePolicy(Protocol):
    """A policy that tells the log-probability of any move from its state alone."""

    def log_prob(self, state: Any, action: Tensor) -> Float[Tensor, "batch"]: ...

    def log_prob_backward(self, state: Any, action: Tensor) -> Float[Tensor, "batch"]: ...

    def log_flow(self, state: Any) -> Float[Tensor, "batch"]: ...

    def log_partition(self, start: Any) -> Float[Tensor, "batch"]: ...
