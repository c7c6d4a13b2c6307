"""Rollouts: whole batches of trajectories, forward from initial states or backward from objects.

Finished trajectories leave the batch, so a step costs what the rest of the batch costs. Nothing here
switches gradients off: a behaviour that is differentiable gives `log_behaviour` a graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.gflownet import states
from workbench.gflownet.policy import Behaviour
from workbench.gflownet.trajectories import Trajectories
from workbench.problem import Environment


@dataclass
class _Record:
    """Transitions in the order in which they were made."""

    row: list[Tensor] = field(default_factory=list)
    count: list[Tensor] = field(default_factory=list)
    visited: list[Any] = field(default_factory=list)
    actions: list[Tensor] = field(default_factory=list)
    undo: list[Tensor] = field(default_factory=list)
    log_behaviour: list[Tensor] = field(default_factory=list)

    def add(
        self, t: int, row: Tensor, state: Any, action: Tensor, undo: Tensor, log_prob: Tensor
    ) -> None:
        self.row.append(row)
        self.count.append(torch.full_like(row, t))
        self.visited.append(state)
        self.actions.append(action)
        self.undo.append(undo)
        self.log_behaviour.append(log_prob)


def forward(
    environment: Environment,
    behaviour: Behaviour,
    start: Any,
    generator: torch.Generator,
    group: Int[Tensor, "batch"] | None = None,
    log_reward: Float[Tensor, "batch"] | None = None,
) -> Trajectories:
    """Trajectories from initial (or unfinished) states `start` until all are terminal.

    group        trajectories that share one log Z; default: all of them do
    log_reward   of the final objects where it is known already; default: asked of the environment
    Raises RuntimeError where a trajectory is longer than the environment's `max_steps`.
    """
    record, n = _Record(), states.n_rows(start)
    state, row = start, torch.arange(n, device=generator.device)
    ended: list[Any] = []
    ended_rows: list[Tensor] = []
    for t in range(environment.max_steps):
        action, log_prob = behaviour.sample(state, row, generator)
        following = environment.step(state, action)
        record.add(t, row, state, action, environment.undoing(state, action), log_prob)
        done = environment.is_terminal(following)
        finished, going = done.nonzero().squeeze(1), (~done).nonzero().squeeze(1)
        state = following
        if len(finished):
            ended.append(states.select(following, finished))
            ended_rows.append(row[finished])
            state, row = states.select(following, going), row[going]
        if not len(row):
            break
    if len(row):
        raise RuntimeError(f"{environment.name}: a trajectory is longer than max_steps")
    order = torch.cat(ended_rows).argsort()
    final = states.select(states.concatenate(ended), order)
    return _finish(environment, record, torch.cat(record.count), final, group, log_reward)


def backward(
    environment: Environment,
    behaviour: Behaviour,
    objects: Any,
    generator: torch.Generator,
    group: Int[Tensor, "batch"] | None = None,
    log_reward: Float[Tensor, "batch"] | None = None,
) -> Trajectories:
    """Trajectories that end in the given `objects`, drawn backward until all are initial states."""
    record, n = _Record(), states.n_rows(objects)
    state, row = objects, torch.arange(n, device=generator.device)
    for t in range(environment.max_steps):
        undo, log_prob = behaviour.sample(state, row, generator)
        before = environment.backward_step(state, undo)
        record.add(t, row, before, environment.redoing(state, undo), undo, log_prob)
        going = (~environment.is_initial(before)).nonzero().squeeze(1)
        state = before
        if len(going) < len(row):
            state, row = states.select(before, going), row[going]
        if not len(row):
            break
    if len(row):
        raise RuntimeError(f"{environment.name}: a trajectory is longer than max_steps")
    rows = torch.cat(record.row)
    step = torch.bincount(rows, minlength=n)[rows] - 1 - torch.cat(record.count)
    return _finish(environment, record, step, objects, group, log_reward)


def _finish(
    environment: Environment,
    record: _Record,
    step: Tensor,
    final: Any,
    group: Tensor | None,
    log_reward: Tensor | None,
) -> Trajectories:
    if log_reward is None:
        log_reward = environment.log_reward(final).detach()
    if group is None:
        group = torch.zeros(len(log_reward), dtype=torch.int64, device=log_reward.device)
    return Trajectories(
        row=torch.cat(record.row),
        step=step,
        visited=states.concatenate(record.visited),
        actions=torch.cat(record.actions),
        undo=torch.cat(record.undo),
        log_behaviour=torch.cat(record.log_behaviour),
        final=final,
        log_reward=log_reward,
        group=group,
    )


class Retraced:
    """A behaviour that repeats stored actions [batch, step, ...]: it brings back the visited states."""

    def __init__(self, actions: Tensor) -> None:
        self._actions = actions
        self._step = 0

    def sample(
        self, state: Any, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        action = self._actions[row, self._step]
        self._step += 1
        return action, torch.zeros(len(row), device=row.device)
