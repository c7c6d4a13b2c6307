"""One pass of a policy network over the distinct states of a batch, taken apart into its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.gflownet.moves import masked, uniform

if TYPE_CHECKING:
    from workbench.gflownet.categorical import CategoricalPolicy


@dataclass(frozen=True)
class Outputs:
    """One pass of the network: its raw outputs [distinct, output] at distinct states, and for every
    state of the batch the row that holds its own (`None`: its own place)."""

    policy: CategoricalPolicy
    state: Any
    raw: Tensor
    rows: Tensor | None

    def spread(self, values: Tensor) -> Tensor:
        """Values of distinct states for every state of the batch."""
        return values if self.rows is None else values.index_select(0, self.rows)

    def picked(self, table: Tensor, actions: Tensor, place: Tensor | None = None) -> Tensor:
        """`table` [distinct, action] at one action of each state (or of the states at `place`)."""
        rows = self.rows
        if place is not None:
            rows = place if rows is None else rows[place]
        elif rows is None:
            rows = torch.arange(len(actions), device=actions.device)
        rows = rows[: len(actions)]
        return table.flatten().index_select(0, rows * table.shape[1] + actions)

    def forward(self, head: int = 0, spread: bool = False) -> Tensor:
        """log P_F [distinct, action] under one head."""
        policy, n = self.policy, self.policy.environment.n_actions
        logits = self.raw[:, head * n : (head + 1) * n]
        if policy.prior is not None:
            with torch.no_grad():
                prior = policy.prior(policy.environment.features(self.state).to(logits.dtype))
            logits = logits + policy.prior_scale * prior[:, head * n : (head + 1) * n]
        table = masked(logits, policy.environment.forward_mask(self.state))
        return self.spread(table) if spread else table

    def backward(self, spread: bool = False) -> Tensor:
        """log P_B [distinct, action]."""
        policy = self.policy
        start = policy.n_heads * policy.environment.n_actions
        mask = policy.environment.backward_mask(self.state)
        table = masked(self.raw[:, start : start + policy.environment.n_backward_actions], mask)
        if policy.backward_floor > 0.0:
            floor = policy.backward_floor
            share = uniform(mask, table.dtype).exp()
            table = (
                ((1.0 - floor) * table.exp() + floor * share).log().masked_fill(~mask, -torch.inf)
            )
        return self.spread(table) if spread else table

    def log_flow(self, spread: bool = False) -> Tensor:
        """log F [distinct]."""
        flow = self.raw[:, -1 - self.policy.environment.n_actions]
        return self.spread(flow) if spread else flow

    def potential(self) -> Tensor:
        """Potentials [distinct, action] of the transitions that start at a state."""
        return self.raw[:, -self.policy.environment.n_actions :]
