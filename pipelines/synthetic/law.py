"""The law of a trained policy: exact where all states can be listed, by importance where not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.synthetic.options import Config
from pipelines.synthetic.prepare import Problem
from workbench.gflownet import algorithm, exact, rollout
from workbench.gflownet.evaluation import importance_log_probability
from workbench.gflownet.states import concatenate, n_rows, select
from workbench.gflownet.temperature import Tempered, TemperedState
from workbench.gflownet.trajectories import Needs, Trajectories


@dataclass(frozen=True)
class Law:
    """log_p [state] of objects, -inf elsewhere; the mean over the heads of an ensemble.

    elbo, eubo   bounds of log Z, the mean over heads
    """

    log_p: Float[Tensor, "state"]
    elbo: float
    eubo: float

    @property
    def probabilities(self) -> Float[Tensor, "state"]:
        return self.log_p.exp()


def enter(config: Config, problem: Problem, state: Any) -> Any:
    """States as the policy sees them: with beta where the temperature is conditional."""
    environment = algorithm.target(config, problem.synthetic)
    return environment.at(state, problem.beta) if isinstance(environment, Tempered) else state


def leave(state: Any) -> Any:
    """States of the environment, without beta."""
    return state.state if isinstance(state, TemperedState) else state


def law_of(config: Config, problem: Problem, policy: Any) -> Law | None:
    """None where there are too many states."""
    graph = problem.graph
    if graph is None:
        return None
    log_pb = exact.tabulate(
        graph, lambda state: policy.backward_log_probs(enter(config, problem, state))
    )
    log_ps, lower, upper = [], [], []
    for head in range(policy.n_heads):
        log_pf = exact.tabulate(
            graph,
            lambda state, h=head: policy.forward_log_probs(enter(config, problem, state), h),  # type: ignore[misc]
        )
        log_ps.append(exact.log_visits(graph, log_pf))
        lower.append(exact.elbo(graph, log_pf, log_pb))
        upper.append(exact.eubo(graph, log_pf, log_pb))
    log_p = torch.logsumexp(torch.stack(log_ps), 0) - math.log(len(log_ps))
    log_p = torch.where(graph.terminal, log_p, -torch.inf)
    return Law(log_p, sum(lower) / len(lower), sum(upper) / len(upper))


@torch.no_grad()
def log_ratio(policy: Any, trajectories: Trajectories) -> Float[Tensor, "batch"]:
    """log P_F - log P_B of trajectories, float64; P_F is the mean over the heads of an ensemble."""
    scored = policy.score(trajectories, Needs())
    forward = torch.stack([scores.log_pf.double().sum(1) for scores in scored])
    mean = torch.logsumexp(forward, 0) - math.log(len(scored))
    return mean - scored[0].log_pb.double().sum(1)


@torch.no_grad()
def log_p_by_importance(
    config: Config,
    problem: Problem,
    policy: Any,
    objects: Any,
    n_draws: int,
    generator: torch.Generator,
) -> Float[Tensor, "object"]:
    """log p of objects from `n_draws` backward trajectories each; biased low."""
    environment = algorithm.target(config, problem.synthetic)
    ends = enter(config, problem, objects)
    n = len(problem.synthetic.is_terminal(objects))
    ratios = []
    for _ in range(n_draws):
        behaviour = policy.backward_behaviour(n, generator)
        back = rollout.backward(environment, behaviour, ends, generator)
        ratios.append(log_ratio(policy, back))
    ratio = torch.stack(ratios)
    return importance_log_probability(ratio, torch.zeros_like(ratio))


def some_objects(problem: Problem, state: Any, n: int, generator: torch.Generator) -> Any:
    """Half of `n` from the given objects, half uniformly random: good and bad ones."""
    rows = torch.randint(n_rows(state), (n // 2,), generator=generator, device=generator.device)
    random = problem.synthetic.uniform_objects(n - n // 2, generator)
    return concatenate([select(state, rows), random])
