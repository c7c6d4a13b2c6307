"""Training: the sampler beside the fast energy that is fitted to labels of its own proposals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from domains.crystals.crystals import Crystals
from domains.crystals.environment import CrystalState
from domains.crystals.ionic import IonicEnergy
from domains.crystals.playground import Playground
from domains.crystals.policy import CrystalPolicy
from domains.crystals.reward import RewardConfig, in_law
from pipelines.crystals import rounds
from pipelines.crystals.options import ANNEALED, Config
from pipelines.crystals.prepare import Problem, generator
from workbench.errors import InputError
from workbench.gflownet import algorithm, rollout, states
from workbench.gflownet.evaluation import total_variation
from workbench.gflownet.options import GFlowNetConfig
from workbench.gflownet.trajectories import Needs
from workbench.runs.folder import RunFolder
from workbench.seeds import weights_from
from workbench.training.fit import Fitted, fit

_PLAYGROUND_BETA = 2.0
_BACKWARD_DRAWS = 8
_BALANCED_EVERY = 10  # steps
_MOST_DRAWS = 30  # for each crystal asked for


def train(config: Config, problem: Problem, folder: RunFolder) -> Fitted:
    """The trained `(algorithm.State, energy, fitted, balance, chains)`; one samples with `state[0].average`."""
    random = problem.generator(config.seed, "training")
    with weights_from(random):
        policy = CrystalPolicy(problem.environment, config.width, config.layers)
    sampler = config.sampler
    state = algorithm.init(sampler, problem.environment, random, policy)
    every = max(1, int(ANNEALED * config.steps) // config.fit.rounds)

    told: dict[str, float] = {}  # of the latest round, which seldom falls on a step that is logged

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        inner, walks = state[0], state[-1]
        number, rest = divmod(inner.steps_done, every)
        if inner.steps_done == 0:
            walks, info = rounds.first(config, problem, inner)
            told.update(info)
        elif rest == 0 and number < config.fit.rounds:
            walks, info = rounds.again(config, problem, inner, walks, number)
            told.update(info)
        elif number >= config.fit.rounds and inner.steps_done % _BALANCED_EVERY == 0:
            rounds.rebalance(config, problem, inner)
        inner, found = algorithm.step(sampler, problem.environment, inner)
        return (inner, *state[1:-1], walks), {**found, **told}

    kept = (problem.energy, problem.fitted, problem.reward.balance)
    start = (state, *kept, rounds.nothing(config, problem))
    return fitted(config, folder, start, step)


def fitted(config: Config, folder: RunFolder, state: Any, step: Any) -> Fitted:
    """The training loop of either environment, logged and saved."""
    return fit(
        state,
        step,
        config.steps,
        name="training",
        folder=folder,
        log_every=max(1, config.steps // 200),
        checkpoint_every=max(1, config.steps // 10),
    )


@dataclass(frozen=True)
class Drawn:
    """Crystals of the trained sampler.

    log_probability   of each one's description (orbits, and density of its numbers), by importance over
                      ways to build it
    log_reward        what the sampler learned from
    redrawn           share of the draws that were no crystals of the target and were drawn again
    """

    state: CrystalState
    crystals: Crystals
    log_probability: Float[np.ndarray, "crystal"]
    log_reward: Float[np.ndarray, "crystal"]
    redrawn: float = 0.0


def draw(problem: Problem, policy: Any, n: int, random: torch.Generator) -> Drawn:
    """`n` crystals of the policy. What no mask can forbid without dead ends is drawn again: atoms too close,
    and orbits with more symmetry than their group. The law is that of the policy given neither. Fewer than
    `n` where thirty times as many draws do not hold them.

    Raises InputError where they hold none."""
    environment = problem.environment
    kept: list[CrystalState] = []
    rewards: list[Tensor] = []
    n_drawn = n_kept = 0
    while n_kept < n and n_drawn < _MOST_DRAWS * n:
        drawn = algorithm.sample(environment, policy, n, random)
        crystals = environment.crystals(drawn.final)
        good = in_law(environment.orbits, crystals, drawn.final.orbits)
        rows = good.nonzero().squeeze(1)
        kept.append(states.select(drawn.final, rows))
        rewards.append(drawn.log_reward[rows])
        n_drawn, n_kept = n_drawn + n, n_kept + len(rows)
    if not n_kept:
        raise InputError(
            f"none of {n_drawn:,} draws keeps its atoms apart in the symmetry of its group: train longer with "
            "--steps, or allow other space groups"
        )
    final = states.select(states.concatenate(kept), torch.arange(min(n, n_kept)))
    share = n_kept / n_drawn
    likelihood = log_probability(problem, policy, final, random) - np.log(share)
    log_reward = torch.cat(rewards)[:n].double().numpy()
    return Drawn(final, environment.crystals(final), likelihood, log_reward, 1.0 - share)


@torch.no_grad()
def log_probability(
    problem: Problem, policy: Any, final: CrystalState, random: torch.Generator
) -> Float[np.ndarray, "crystal"]:
    """log of the mean of P_F / P_B over backward trajectories of each crystal."""
    n = states.n_rows(final)
    rows = torch.arange(n).repeat_interleave(_BACKWARD_DRAWS)
    behaviour = policy.backward_behaviour(len(rows), random)
    blank = torch.zeros(len(rows))
    objects = states.select(final, rows)
    ways = rollout.backward(problem.environment, behaviour, objects, random, log_reward=blank)
    ratio: Tensor = policy.score(ways, Needs())[0].log_ratio().double()
    mean = ratio.view(n, _BACKWARD_DRAWS).logsumexp(1) - np.log(_BACKWARD_DRAWS)
    return mean.numpy()


@dataclass(frozen=True)
class PlaygroundResult:
    """Distance of a sampler's law over crystals from the exact one, where that is known.

    learned, exact   the two laws
    """

    total_variation: float
    log_partition_error: float
    learned: Float[Tensor, "crystal"]
    exact: Float[Tensor, "crystal"]


def playground(config: Config, folder: RunFolder) -> PlaygroundResult | None:
    """Train the same kind of policy on the small space, with the ionic energy; None where left out."""
    if not config.playground_steps or config.environment == "three-stages":
        return None
    space = Playground(RewardConfig(beta=_PLAYGROUND_BETA), IonicEnergy())
    random = generator(config.seed, "playground")
    sampler = GFlowNetConfig(
        steps=config.playground_steps, batch=128, learning_rate=1e-2, ema_decay=0.98
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        policy = CrystalPolicy(space.environment, 64, config.layers)
    state = algorithm.init(sampler, space.environment, random, policy)
    trained = fit(
        state,
        lambda state: algorithm.step(sampler, space.environment, state),
        config.playground_steps,
        name="playground",
        folder=folder,
        log_every=50,
        checkpoint_every=max(1, config.playground_steps // 4),
    )
    average: Any = trained.state.average.module
    law = space.learned_law(average)
    error = abs(float(average.log_z) - space.log_partition)
    return PlaygroundResult(total_variation(law, space.law), error, law, space.law)
