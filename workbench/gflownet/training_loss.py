"""Which loss an objective's name stands for, what it needs scored, and where its log Z is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.objectives import (
    detailed_balance,
    flow_matching,
    forward_kl,
    forward_looking,
    learned_decomposition,
    log_variance,
    mellowmax,
    modified_detailed_balance,
    path_consistency,
    reverse_kl,
    sub_trajectory_balance,
    trajectory_balance,
    trajectory_likelihood,
)
from workbench.gflownet.options import GFlowNetConfig, Objective
from workbench.gflownet.trajectories import Needs, Scores

ON_GIVEN_OBJECTS: tuple[Objective, ...] = ("forward-kl",)
WITH_LOG_PARTITION: tuple[Objective, ...] = ("tb",)
WITH_FLOW: tuple[Objective, ...] = (
    "db",
    "subtb",
    "fl-db",
    "fl-subtb",
    "led",
    "flow-matching",
    "path-consistency",
    "soft-q",
)
FORWARD_LOOKING: tuple[Objective, ...] = ("fl-db", "fl-subtb")


@dataclass(frozen=True)
class Moment:
    """What a loss takes beside scores: the fraction `progress` of the training, and draws."""

    progress: float
    generator: torch.Generator


Loss = Callable[[GFlowNetConfig, Scores, Moment], Float[Tensor, ""]]

_PLAIN: dict[Objective, tuple[Needs, Callable[[Scores], Tensor]]] = {
    "tb": (trajectory_balance.NEEDS, trajectory_balance.loss),
    "log-variance": (log_variance.NEEDS, log_variance.loss),
    "db": (detailed_balance.NEEDS, detailed_balance.loss),
    "modified-db": (modified_detailed_balance.NEEDS, modified_detailed_balance.loss),
    "fl-db": (forward_looking.NEEDS, forward_looking.detailed_balance_loss),
    "flow-matching": (flow_matching.NEEDS, flow_matching.loss),
    "soft-q": (path_consistency.NEEDS, path_consistency.soft_q_loss),
    "forward-kl": (forward_kl.NEEDS, forward_kl.loss),
}


def needs(config: GFlowNetConfig) -> Needs:
    """What has to be scored for the objective."""
    settings = config.settings
    if config.objective in _PLAIN:
        return _PLAIN[config.objective][0]
    if config.objective == "mellowmax":
        return mellowmax.needs(settings.q, settings.alpha, settings.omega)
    others: dict[Objective, Needs] = {
        "subtb": sub_trajectory_balance.NEEDS,
        "fl-subtb": forward_looking.NEEDS,
        "led": learned_decomposition.NEEDS,
        "path-consistency": path_consistency.NEEDS,
        "reverse-kl": reverse_kl.NEEDS,
    }
    return others[config.objective]


def objective_loss(config: GFlowNetConfig, scores: Scores, moment: Moment) -> Float[Tensor, ""]:
    """The loss of the objective, with that of the backward policy where it has one of its own."""
    if config.backward == "likelihood":
        fixed = trajectory_likelihood.with_fixed_backward(scores)
        return _policy_loss(config, fixed, moment) + trajectory_likelihood.loss(scores)
    return _policy_loss(config, scores, moment)


def _policy_loss(config: GFlowNetConfig, scores: Scores, moment: Moment) -> Float[Tensor, ""]:
    objective, settings = config.objective, config.settings
    if objective in _PLAIN:
        return _PLAIN[objective][1](scores)
    if objective == "subtb":
        return sub_trajectory_balance.loss(scores, settings.decay)
    if objective == "fl-subtb":
        return forward_looking.sub_trajectory_balance_loss(scores, settings.decay)
    if objective == "path-consistency":
        return path_consistency.loss(scores, settings.path_length)
    if objective == "mellowmax":
        return mellowmax.loss(scores, settings.q, settings.omega)
    if objective == "reverse-kl":
        return reverse_kl.loss(scores, settings.baseline)
    return _decomposed(config, scores, moment)


def _decomposed(config: GFlowNetConfig, scores: Scores, moment: Moment) -> Float[Tensor, ""]:
    """LED: the potential's own loss, and balance with a local term that fades."""
    settings, valid = config.settings, scores.valid
    u = torch.rand(valid.shape, generator=moment.generator, device=valid.device)
    share = learned_decomposition.decomposition_loss(scores, u >= settings.drop)
    until = settings.local_until
    local = max(0.0, 1.0 - moment.progress / until) if until > 0.0 else 0.0
    return share + learned_decomposition.loss(scores, local)
