"""What happened (`Trajectories`), and what a policy says of it (`Scores`).

Trajectories are ragged: one entry per transition, in any order, and a batch of final objects. They hold
no log-probability that a loss could use: that always comes from scoring them under the present
policy, so no stale one can be used by mistake.

Scores are padded [batch, step]. Stopping is an ordinary last transition, step n - 1 of a trajectory of
n transitions; state t is the one before transition t, and state n is the final object. Padding holds 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.gflownet import states


@dataclass(frozen=True)
class Trajectories:
    """Complete trajectories from an initial state to a final one.

    row, step       which trajectory a transition belongs to, and its place in it
    visited         the states before the transitions
    actions         forward actions taken there; `undo`: the backward actions that take them back
    log_behaviour   log-probability with which the behaviour drew the transition, forward or backward:
                    a record for acceptance tests, without a graph
    final           the finished objects, `log_reward` [batch] without a graph
    group           [batch] trajectories that share one log Z, for objectives that compare within a group
    """

    row: Int[Tensor, "transition"]
    step: Int[Tensor, "transition"]
    visited: Any
    actions: Tensor
    undo: Tensor
    log_behaviour: Float[Tensor, "transition"]
    final: Any
    log_reward: Float[Tensor, "batch"]
    group: Int[Tensor, "batch"]

    def __len__(self) -> int:
        return len(self.log_reward)

    @property
    def n_steps(self) -> Int[Tensor, "batch"]:
        """Number of transitions of each trajectory."""
        return torch.bincount(self.row, minlength=len(self))

    @property
    def start(self) -> Any:
        """The initial state of each trajectory."""
        first = (self.step == 0).nonzero().squeeze(1)
        order = torch.empty_like(first)
        order[self.row[first]] = first
        return states.select(self.visited, order)

    def padded(self, values: Tensor, width: int | None = None) -> Tensor:
        """Values per transition as [batch, step, ...]; 0 where there is no transition. Differentiable."""
        width = int(self.step.max()) + 1 if width is None else width
        flat = values.new_zeros((len(self) * width, *values.shape[1:]))
        return flat.index_copy(0, self.row * width + self.step, values).unflatten(0, (-1, width))

    def select(self, rows: Int[Tensor, "chosen"]) -> Trajectories:
        """The trajectories `rows`, each named at most once."""
        place = torch.full((len(self),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        kept = (place[self.row] >= 0).nonzero().squeeze(1)
        return Trajectories(
            row=place[self.row[kept]],
            step=self.step[kept],
            visited=states.select(self.visited, kept),
            actions=self.actions[kept],
            undo=self.undo[kept],
            log_behaviour=self.log_behaviour[kept],
            final=states.select(self.final, rows),
            log_reward=self.log_reward[rows],
            group=self.group[rows],
        )


def join(parts: Sequence[Trajectories]) -> Trajectories:
    """One batch out of several, in order; their groups are kept as they are."""
    if len(parts) == 1:
        return parts[0]
    merged: dict[str, Any] = {}
    for field in fields(Trajectories):
        values = [getattr(part, field.name) for part in parts]
        merged[field.name] = states.concatenate(values)
    offsets = torch.tensor([0, *[len(part) for part in parts[:-1]]]).cumsum(0).tolist()
    shifted = [part.row + offset for part, offset in zip(parts, offsets, strict=True)]
    return replace(Trajectories(**merged), row=torch.cat(shifted))


@dataclass(frozen=True)
class Scores:
    """Trajectories as the losses see them: tensors, not worlds. Optional members are `None` unless
    they were asked for (`Needs`).

    log_pf, log_pb   log-probability of each transition, forward and backward; 0 in the padding
    valid            True for transitions that exist
    log_reward       log R of the final object
    log_partition    log Z, one per trajectory (conditional targets differ)
    group            trajectories that share one log Z
    log_flow         log F of states 0 to n; log R at the final one; 0 beyond
    log_partial      partial log-reward of states 0 to n; log R at the final one; 0 beyond
    log_prior        log softmax(kappa log P_F)[a]: the tilted prior of the mellowmax objective
    log_stop         log P_F(stop) of states 0 to n - 1, and `log_stopped_reward`, log R if stopped there
    potential        learned share of log R of each transition
    log_inflow       log of the sum of edge flows into the state after each transition
    """

    log_pf: Float[Tensor, "batch step"]
    log_pb: Float[Tensor, "batch step"]
    valid: Bool[Tensor, "batch step"]
    log_reward: Float[Tensor, "batch"]
    log_partition: Float[Tensor, "batch"]
    group: Int[Tensor, "batch"]
    log_flow: Float[Tensor, "batch state"] | None = None
    log_partial: Float[Tensor, "batch state"] | None = None
    log_prior: Float[Tensor, "batch step"] | None = None
    log_stop: Float[Tensor, "batch step"] | None = None
    log_stopped_reward: Float[Tensor, "batch step"] | None = None
    potential: Float[Tensor, "batch step"] | None = None
    log_inflow: Float[Tensor, "batch step"] | None = None

    def log_ratio(self) -> Float[Tensor, "batch"]:
        """log P_F(trajectory) - log P_B(trajectory | object)."""
        return (self.log_pf - self.log_pb).sum(1)


@dataclass(frozen=True)
class Needs:
    """What an objective asks of the scores, beyond what is always there.

    prior_exponent   kappa of `log_prior`
    """

    flow: bool = False
    partial: bool = False
    stop: bool = False
    potential: bool = False
    inflow: bool = False
    prior_exponent: float | None = None
