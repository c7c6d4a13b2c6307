"""From log-probabilities of transitions to padded `Scores`."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.gflownet import states
from workbench.gflownet.policy import SingleStatePolicy
from workbench.gflownet.trajectories import Needs, Scores, Trajectories
from workbench.problem import Environment, PartialReward


def assemble(
    trajectories: Trajectories,
    log_pf: Float[Tensor, "transition"],
    log_pb: Float[Tensor, "transition"],
    log_partition: Float[Tensor, "batch"],
    log_flow: Float[Tensor, "transition"] | None = None,
    log_partial: Float[Tensor, "transition"] | None = None,
    **others: Float[Tensor, "transition"] | None,
) -> Scores:
    """`Scores` from values per transition, those of states being taken at the visited ones."""
    steps = torch.arange(int(trajectories.step.max()) + 1, device=log_pf.device)
    padded = trajectories.padded
    return Scores(
        log_pf=padded(log_pf),
        log_pb=padded(log_pb),
        valid=steps < trajectories.n_steps.unsqueeze(1),
        log_reward=trajectories.log_reward,
        log_partition=log_partition,
        group=trajectories.group,
        log_flow=_with_reward(trajectories, log_flow),
        log_partial=_with_reward(trajectories, log_partial),
        **{name: None if value is None else padded(value) for name, value in others.items()},
    )


def _with_reward(trajectories: Trajectories, values: Tensor | None) -> Tensor | None:
    """Values of visited states as [batch, state], with log R at the final one."""
    if values is None:
        return None
    dtype = torch.promote_types(values.dtype, trajectories.log_reward.dtype)
    inner = trajectories.padded(values, int(trajectories.step.max()) + 2).to(dtype)
    at, reward = trajectories.n_steps.unsqueeze(1), trajectories.log_reward.unsqueeze(1)
    return inner.scatter(1, at, reward.to(dtype))


def children(trajectories: Trajectories) -> tuple[Int[Tensor, "transition"], Tensor]:
    """For each transition the place of the next one in its trajectory (any number for the last), and
    whether it is the last."""
    width = int(trajectories.step.max()) + 2
    place = torch.full((len(trajectories) * width,), -1, device=trajectories.row.device)
    here = trajectories.row * width + trajectories.step
    place[here] = torch.arange(len(here), device=here.device)
    following = place[here + 1]
    return following.clamp_min(0), following < 0


def after(trajectories: Trajectories) -> Any:
    """The states after the transitions."""
    following, last = children(trajectories)
    inner = states.select(trajectories.visited, following)
    return states.where(last, states.select(trajectories.final, trajectories.row), inner)


def partial_rewards(environment: Environment, visited: Any) -> Float[Tensor, "transition"]:
    """Partial log-rewards of visited states. InputError where the environment has none."""
    if not isinstance(environment, PartialReward):
        raise InputError(
            f"{environment.name} has no partial reward, so forward-looking objectives cannot be used: "
            "take an objective without forward-looking"
        )
    return environment.log_partial_reward(visited).detach()


def score_by_state(
    environment: Environment, policy: SingleStatePolicy, trajectories: Trajectories, needs: Needs
) -> Scores:
    """Scores out of single-state calls: one batch of all states in each direction."""
    if needs.stop or needs.potential or needs.prior_exponent is not None:
        raise InputError(
            "this policy gives log-probabilities of single moves only: take a balance objective "
            "(tb, log-variance, db, subtb)"
        )
    visited = trajectories.visited
    return assemble(
        trajectories,
        log_pf=policy.log_prob(visited, trajectories.actions),
        log_pb=policy.log_prob_backward(after(trajectories), trajectories.undo),
        log_partition=policy.log_partition(trajectories.start),
        log_flow=policy.log_flow(visited) if needs.flow else None,
        log_partial=partial_rewards(environment, visited) if needs.partial else None,
    )
