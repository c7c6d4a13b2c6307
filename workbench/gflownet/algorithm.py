"""Training a policy that draws objects in proportion to their reward: one loop for every objective.

A step draws a batch with the exploring behaviour, adds local changes and replayed trajectories, scores all
of them under the present weights and takes one gradient step on the objective (`training_loss`). Samples
come from averaged weights.

Defaults beyond the papers: log Z starts at the importance estimate of the first batch, log (mean of
R P_B / P_F); learning rates fall by a cosine; equal states are evaluated once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.gflownet import categorical, local_search, replay, rollout, states, training_loss
from workbench.gflownet.options import GFlowNetConfig as Config
from workbench.gflownet.policy import Policy
from workbench.gflownet.replay import Replay
from workbench.gflownet.temperature import Tempered, tempered_scores
from workbench.gflownet.training_loss import Moment
from workbench.gflownet.trajectories import Needs, Scores, Trajectories, join
from workbench.problem import (
    Conditional,
    DiscreteEnvironment,
    EnumerableEnvironment,
    Environment,
    Improvable,
)
from workbench.seeds import weights_from
from workbench.training.optimise import Ema, apply_gradients

_LOWEST_RATE = 0.01  # of the learning rate, at the end of the cosine


@dataclass
class State:
    """Everything the next step depends on. `policy` is an `nn.Module` that is a `Policy`; `average` holds
    its averaged weights; the generator is the caller's and is saved here."""

    policy: nn.Module
    average: Ema
    optimiser: torch.optim.Optimizer
    buffer: Replay | None
    generator: torch.Generator
    steps_done: int = 0
    n_trajectories: int = 0
    n_rewards: int = 0


def target(config: Config, environment: Environment) -> Environment:
    """The environment that is sampled: with beta in its states where the temperature is conditional."""
    at = config.temperature
    if at.kind != "conditional" or isinstance(environment, Tempered):
        return environment
    return Tempered(environment, at.initial, at.final)  # type: ignore[arg-type]


def init(
    config: Config,
    environment: Environment,
    generator: torch.Generator,
    policy: nn.Module | None = None,
) -> State:
    """An untrained policy, whose weights follow from the generator, and an empty buffer.

    policy   a policy of one's own; parameters whose names begin with `log_z` or `partition` learn at
             `log_partition_rate`. Default: a categorical policy as `config` describes it
    """
    environment = target(config, environment)
    if policy is None:
        with weights_from(generator):
            policy = _default_policy(config, environment).to(generator.device)  # type: ignore[arg-type]
    with torch.no_grad():
        first = _fresh(config, environment, policy, generator, 0.0)  # type: ignore[arg-type]
        _start_log_partition(config, policy, first)
    buffer = None
    if config.replay.kind != "none":
        buffer = replay.empty(config.replay, environment, first)
    optimiser = torch.optim.Adam(_parameter_groups(config, policy), fused=True)
    average = Ema(policy, config.ema_decay)
    rewards = len(first)
    return State(policy, average, optimiser, buffer, generator, 0, len(first), rewards)


def _default_policy(
    config: Config, environment: DiscreteEnvironment
) -> categorical.CategoricalPolicy:
    if not isinstance(environment, DiscreteEnvironment):
        raise InputError("this environment has no numbered actions: give a policy made for it")
    likelihood = config.backward == "likelihood"
    return categorical.build(
        environment,
        tabular=config.network.tabular,
        width=config.network.width,
        n_layers=config.network.layers,
        backward="uniform" if config.backward == "uniform" else "learned",
        backward_floor=config.backward_floor if likelihood else 0.0,
        n_heads=config.ensemble.heads,
        prior_scale=config.ensemble.prior_scale,
        conditional=config.temperature.kind == "conditional",
    )


def _is_partition(name: str) -> bool:
    return name.startswith(("log_z", "partition"))


def _parameter_groups(config: Config, policy: nn.Module) -> list[dict[str, Any]]:
    named = [(name, p) for name, p in policy.named_parameters() if p.requires_grad]
    slow = [p for name, p in named if not _is_partition(name)]
    fast = [p for name, p in named if _is_partition(name)]
    groups = [
        {"params": slow, "lr": config.learning_rate, "rate": config.learning_rate},
        {"params": fast, "lr": config.log_partition_rate, "rate": config.log_partition_rate},
    ]
    return [group for group in groups if group["params"]]


def _start_log_partition(config: Config, policy: nn.Module, first: Trajectories) -> None:
    """Set a scalar log Z to the importance estimate of the first batch."""
    parameters = dict(policy.named_parameters())
    if "log_z" in parameters:
        scores = _scored(config, policy, first, 0.0, Needs())[0]
        parameters["log_z"].fill_(log_mean_weight(scores))


def log_mean_weight(scores: Scores) -> float:
    """log of the mean of R P_B / P_F: an estimate of log Z from trajectories of the policy, low on
    average."""
    weights = scores.log_reward - scores.log_ratio()
    return float(weights.double().logsumexp(0)) - math.log(len(weights))


def step(
    config: Config, environment: Environment, state: State, given: Any | None = None
) -> tuple[State, Mapping[str, float]]:
    """One gradient step. `info` has the loss, the gradient norm before clipping, log Z as learned, the mean
    log-reward of the fresh objects, and the acceptance of the local search.

    given   objects (a terminal state batch) for the objective forward-kl, a sample of the target
    """
    environment = target(config, environment)
    policy: Any = state.policy
    generator, progress = state.generator, min(1.0, state.steps_done / config.steps)
    batch, info = _training_batch(config, environment, state, given, progress)
    scored = _scored(config, policy, batch, progress, training_loss.needs(config))
    loss = _mean_over_heads(config, scored, Moment(progress, generator))
    _set_learning_rates(state, progress)
    gradients = apply_gradients(loss, policy, state.optimiser, config.gradient_norm)
    info |= {"loss": gradients["loss"], "gradient_norm": gradients["gradient_norm"]}
    state.average.update(policy)
    state.steps_done += 1
    info["log_partition"] = float(scored[0].log_partition.detach().mean())
    return state, info


def _training_batch(
    config: Config, environment: Environment, state: State, given: Any | None, progress: float
) -> tuple[Trajectories, dict[str, float]]:
    """Fresh, locally changed and replayed trajectories of one step."""
    policy: Any = state.policy
    generator = state.generator
    if config.objective in training_loss.ON_GIVEN_OBJECTS:
        batch = _from_given(config, environment, policy, given, generator)
        state.n_trajectories += len(batch)
        return batch, {}
    fresh = _fresh(config, environment, policy, generator, progress)
    info = {"mean_log_reward": float(fresh.log_reward.mean())}
    parts = [fresh]
    search = config.local_search
    if search.rounds:
        beta = config.temperature.at(progress)
        proposals, rate = local_search.search(search, environment, policy, fresh, generator, beta)
        parts += proposals
        info["local_acceptance"] = rate
    if search.domain:
        parts.append(_improved(environment, policy, fresh, generator))
    n_new = sum(len(part) for part in parts)
    state.n_trajectories += n_new
    state.n_rewards += n_new
    if state.buffer is not None:
        made = join(parts)
        if state.buffer.filled:
            n = max(1, round(config.replay.fraction * config.batch))
            parts.append(
                replay.draw(config.replay, state.buffer, environment, policy, n, generator)
            )
        state.buffer = replay.add(config.replay, state.buffer, made)
    return _with_own_groups(config, environment, parts), info


def _improved(
    environment: Environment, policy: Policy, fresh: Trajectories, generator: torch.Generator
) -> Trajectories:
    """Backward trajectories from what the environment's local search makes of fresh objects."""
    if not isinstance(environment, Improvable):
        raise InputError(
            "this environment has no local search of its own: set local_search.domain to false, or take "
            "local_search.rounds"
        )
    objects = environment.improved(fresh.final)
    behaviour = policy.backward_behaviour(len(fresh), generator)
    with torch.no_grad():
        return rollout.backward(environment, behaviour, objects, generator, fresh.group)


def _with_own_groups(
    config: Config, environment: Environment, parts: list[Trajectories]
) -> Trajectories:
    """One batch. At one temperature all trajectories of one condition share log Z, wherever they come
    from."""
    batch = join(parts)
    if isinstance(environment, Conditional):
        return replace(batch, group=environment.condition(batch.final))
    if config.temperature.kind == "conditional":
        return batch
    return replace(batch, group=torch.zeros_like(batch.group))


def _fresh(
    config: Config,
    environment: Environment,
    policy: Policy,
    generator: torch.Generator,
    progress: float,
) -> Trajectories:
    """A batch drawn by the exploring behaviour."""
    n, group = config.batch, None
    if isinstance(environment, Tempered):
        beta, group = environment.draw(n, config.temperature.groups, generator)
        start: Any = environment.start(beta)
    elif isinstance(environment, Conditional):
        start = environment.draw_start(n, generator)
    else:
        start = environment.initial_state(n, generator.device)
    behaviour = policy.behaviour(n, generator, config.exploration.at(progress))
    with torch.no_grad():
        return rollout.forward(environment, behaviour, start, generator, group)


def _from_given(
    config: Config, environment: Environment, policy: Policy, given: Any, generator: torch.Generator
) -> Trajectories:
    """Backward trajectories from a batch of the given objects."""
    if given is None:
        raise InputError(
            f"the objective {config.objective} learns from given objects and none were given: give them, "
            "or take the objective tb"
        )
    if isinstance(environment, Tempered):
        raise InputError(
            f"the objective {config.objective} follows the objects it is given, at one temperature: take "
            "the objective tb for a conditional temperature"
        )
    n = config.batch
    rows = torch.randint(states.n_rows(given), (n,), generator=generator, device=generator.device)
    behaviour = policy.backward_behaviour(n, generator)
    with torch.no_grad():
        return rollout.backward(environment, behaviour, states.select(given, rows), generator)


def _scored(
    config: Config, policy: Any, batch: Trajectories, progress: float, needs: Needs
) -> list[Scores]:
    beta = config.temperature.at(progress)
    return [tempered_scores(scores, beta) for scores in policy.score(batch, needs)]


def _mean_over_heads(config: Config, scored: list[Scores], moment: Moment) -> Float[Tensor, ""]:
    """Mean loss of the heads, each on the trajectories it keeps."""
    losses = []
    for scores in scored:
        if config.ensemble.keep < 1.0:
            u = torch.rand(
                len(scores.log_reward), generator=moment.generator, device=scores.valid.device
            )
            kept = (u < config.ensemble.keep).nonzero().squeeze(1)
            if not len(kept):
                continue
            scores = states.select(scores, kept)
        losses.append(training_loss.objective_loss(config, scores, moment))
    if not losses:
        return scored[0].log_pf.sum() * 0.0
    return torch.stack(losses).mean()


def _set_learning_rates(state: State, progress: float) -> None:
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    for group in state.optimiser.param_groups:
        group["lr"] = group["rate"] * (_LOWEST_RATE + (1.0 - _LOWEST_RATE) * cosine)


@torch.no_grad()
def sample(
    environment: Environment, policy: Any, n: int, generator: torch.Generator, chunk: int = 4096
) -> Trajectories:
    """`n` complete trajectories of the policy itself, without exploration.

    Where an environment has fewer states than the trajectories will pass, the policy is evaluated once
    at all of them and drawn from a table.
    """
    tables = None
    numbered = isinstance(policy, categorical.CategoricalPolicy) and isinstance(
        environment, EnumerableEnvironment
    )
    if numbered and environment.n_states <= 4 * n:  # type: ignore[attr-defined]
        tables = policy.forward_tables()
    parts = []
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        first = environment.initial_state(size, generator.device)
        if tables is not None:
            behaviour = policy.tabulated_behaviour(size, generator, tables)
        else:
            behaviour = policy.behaviour(size, generator)
        parts.append(rollout.forward(environment, behaviour, first, generator))
    return join(parts)


@torch.no_grad()
def log_partition(
    config: Config, environment: Environment, policy: Any, generator: torch.Generator, n: int = 4096
) -> float:
    """log Z as the objective learns it: its own parameter (tb), the flow through the initial state, or
    the importance estimate from `n` trajectories where it has neither."""
    start = environment.initial_state(1, generator.device)
    if config.objective in training_loss.WITH_LOG_PARTITION:
        return float(policy.log_partition(start))
    if config.objective in training_loss.WITH_FLOW:
        flow = policy.log_flow(start)
        if config.objective in training_loss.FORWARD_LOOKING:
            beta = config.temperature.at(1.0)
            flow = flow + beta * environment.log_partial_reward(start)  # type: ignore[attr-defined]
        return float(flow)
    drawn = sample(environment, policy, n, generator)
    return log_mean_weight(_scored(config, policy, drawn, 1.0, Needs())[0])
