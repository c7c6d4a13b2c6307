"""A buffer of trajectories, or of objects whose trajectories are drawn anew.

Only moves, the first state and the object are kept. What is drawn from the buffer is walked through
again, so it is scored like any fresh trajectory; nothing stale is used. Three kinds, see
`options.ReplayConfig`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.gflownet import rollout, states
from workbench.gflownet.options import ReplayConfig
from workbench.gflownet.policy import Policy
from workbench.gflownet.trajectories import Trajectories
from workbench.problem import Environment

_BEST = 0.1  # share of the buffer that counts as best


@dataclass
class Replay:
    """The first `filled` rows are in use; `next_row` is where the next trajectory goes (uniform,
    prioritised). A checkpoint holds all of it."""

    start: Any
    final: Any
    actions: Tensor
    log_reward: Float[Tensor, "capacity"]
    filled: int = 0
    next_row: int = 0


def empty(config: ReplayConfig, environment: Environment, example: Trajectories) -> Replay:
    """An empty buffer for trajectories like `example`."""
    device, n = example.log_reward.device, config.capacity
    blank = torch.zeros(n, dtype=torch.int64, device=device)
    actions = example.actions
    shape = (n, environment.max_steps, *actions.shape[1:])
    return Replay(
        start=states.select(example.start, blank),
        final=states.select(example.final, blank),
        actions=torch.zeros(shape, dtype=actions.dtype, device=device),
        log_reward=torch.zeros(n, dtype=example.log_reward.dtype, device=device),
    )


def add(config: ReplayConfig, buffer: Replay, trajectories: Trajectories) -> Replay:
    """The buffer with `trajectories` in it; what has no room leaves."""
    new = dataclasses.replace(
        buffer,
        start=trajectories.start,
        final=trajectories.final,
        actions=trajectories.padded(trajectories.actions, buffer.actions.shape[1]),
        log_reward=trajectories.log_reward,
    )
    if config.kind == "diverse":
        return _best_distinct(config.capacity, buffer, new)
    n = min(len(trajectories), config.capacity)
    kept = torch.arange(len(trajectories) - n, len(trajectories), device=new.log_reward.device)
    rows = (buffer.next_row + torch.arange(n, device=kept.device)) % config.capacity
    return _put(buffer, rows, new, kept, (buffer.next_row + n) % config.capacity)


def _put(buffer: Replay, rows: Tensor, new: Replay, kept: Tensor, next_row: int) -> Replay:
    """`buffer` whose `rows` hold the rows `kept` of `new`."""
    chosen = states.select(_contents(new), kept)
    merged = states.put(_contents(buffer), rows, chosen)
    filled = max(buffer.filled, int(rows.max()) + 1) if len(rows) else buffer.filled
    return Replay(merged.start, merged.final, merged.actions, merged.log_reward, filled, next_row)


@dataclass(frozen=True)
class _Contents:
    """The tensors of a buffer: a state in the sense of `states`."""

    start: Any
    final: Any
    actions: Tensor
    log_reward: Tensor


def _contents(buffer: Replay) -> _Contents:
    return _Contents(buffer.start, buffer.final, buffer.actions, buffer.log_reward)


def _best_distinct(capacity: int, buffer: Replay, new: Replay) -> Replay:
    """Of old and new trajectories the best `capacity`, one for each object."""
    device = new.log_reward.device
    old = states.select(_contents(buffer), torch.arange(buffer.filled, device=device))
    both = states.concatenate([old, _contents(new)])
    key = states.row_keys(both.final)
    order = both.log_reward.argsort(descending=True, stable=True)
    _, place = torch.unique(key[order], return_inverse=True)
    first = torch.full((int(place.max()) + 1,), len(order), device=device)
    first = first.scatter_reduce(0, place, torch.arange(len(order), device=device), "amin")
    kept = order[first.sort().values[:capacity]]
    rows = torch.arange(len(kept), device=device)
    whole = Replay(both.start, both.final, both.actions, both.log_reward)
    return _put(buffer, rows, whole, kept, 0)


def draw(
    config: ReplayConfig,
    buffer: Replay,
    environment: Environment,
    policy: Policy,
    n: int,
    generator: torch.Generator,
) -> Trajectories:
    """`n` trajectories of the buffer, with replacement, each in a group of its own."""
    rows = _chosen(config, buffer, n, generator)
    group = torch.arange(n, device=rows.device)
    log_reward = buffer.log_reward[rows]
    if config.paths == "backward":
        objects = states.select(buffer.final, rows)
        behaviour = policy.backward_behaviour(n, generator)
        return rollout.backward(environment, behaviour, objects, generator, group, log_reward)
    start = states.select(buffer.start, rows)
    behaviour = rollout.Retraced(buffer.actions[rows])
    return rollout.forward(environment, behaviour, start, generator, group, log_reward)


def _chosen(
    config: ReplayConfig, buffer: Replay, n: int, generator: torch.Generator
) -> Int[Tensor, "draw"]:
    device = buffer.log_reward.device
    u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
    if config.kind != "prioritised":
        return (u * buffer.filled).long()
    order = buffer.log_reward[: buffer.filled].argsort(descending=True)
    n_best = max(1, int(_BEST * buffer.filled))
    n_rest = buffer.filled - n_best
    from_best = torch.arange(n, device=device) < (n + 1) // 2
    place = torch.where(from_best | (n_rest == 0), u * n_best, n_best + u * n_rest)
    return order[place.long()]
