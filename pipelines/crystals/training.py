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
from domains.crystals.fingerprint import fingerprints
from domains.crystals.ionic import IonicEnergy
from domains.crystals.playground import Playground
from domains.crystals.policy import CrystalPolicy
from domains.crystals.random_search import random_crystals
from domains.crystals.reward import RewardConfig, allowed
from pipelines.crystals.options import Config
from pipelines.crystals.prepare import Problem, generator
from workbench.gflownet import algorithm, replay, rollout, states
from workbench.gflownet.evaluation import total_variation
from workbench.gflownet.options import GFlowNetConfig
from workbench.gflownet.temperature import tempered_scores
from workbench.gflownet.trajectories import Needs, Trajectories
from workbench.runs.folder import RunFolder
from workbench.training.fit import Fitted, fit

_PLAYGROUND_BETA = 2.0
_BACKWARD_DRAWS = 8
_PROPOSALS = 3  # drawn for each that is labelled
_IMITATION_STEPS, _IMITATED, _IMITATION_RATE = 60, 128, 2e-3


def train(config: Config, problem: Problem, folder: RunFolder) -> Fitted:
    """The trained `(algorithm.State, energy, fitted)`; one samples with `state[0].average`."""
    random = problem.generator(config.seed, "training")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=random)))
        policy = CrystalPolicy(problem.environment, config.width, config.layers)
    sampler = config.sampler
    state = algorithm.init(sampler, problem.environment, random, policy)
    every = max(1, config.steps // (config.fit.rounds + 1))

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        inner = state[0]
        info: dict[str, float] = {}
        if inner.steps_done == 0:
            info |= _begin(config, problem, inner)
        round_, rest = divmod(inner.steps_done, every)
        if problem.fitted is not None and rest == 0 and 0 < round_ < config.fit.rounds:
            proposals = _proposals(config, problem, inner)
            if len(proposals):
                info |= _label(config, problem, inner, proposals)
        inner, found = algorithm.step(sampler, problem.environment, inner)
        return (inner, *state[1:]), {**found, **info}

    return fit(
        (state, problem.energy, problem.fitted),
        step,
        config.steps,
        name="training",
        folder=folder,
        log_every=max(1, config.steps // 200),
        checkpoint_every=max(1, config.steps // 10),
    )


def _begin(config: Config, problem: Problem, state: algorithm.State) -> dict[str, float]:
    """Random crystals: some are labelled for the first fit; those that have the symmetry of their group go to
    the replay buffer and are imitated. log Z starts from the fitted energy."""
    random, environment = state.generator, problem.environment
    info: dict[str, float] = {}
    crystals, objects = random_crystals(environment, config.seeds, random)
    if problem.fitted is not None:
        n = config.fit.labels // config.fit.rounds
        info = _label(config, problem, state, crystals.select(range(min(n, len(crystals)))))
    _, claims = problem.equivalents.log_multiplicity_and_claim(objects.orbits)
    if bool(claims.any()):
        objects = states.select(objects, claims.nonzero().squeeze(1))
    policy: Any = state.policy
    behaviour = policy.backward_behaviour(states.n_rows(objects), random)
    seeds = rollout.backward(environment, behaviour, objects, random)
    if state.buffer is not None:
        state.buffer = replay.add(config.replay, state.buffer, seeds)
    _imitate(state, seeds, random)
    drawn = algorithm.sample(environment, policy, config.batch, random)
    power = config.sampler.temperature.at(0.0)
    scores = tempered_scores(policy.score(drawn, Needs())[0], power)
    policy.log_z.data.fill_(algorithm.log_mean_weight(scores))
    return info


def _imitate(state: algorithm.State, seeds: Trajectories, random: torch.Generator) -> None:
    """A start near the law of random crystals: steps of largest likelihood, with an optimiser of their own."""
    policy: Any = state.policy
    optimiser = torch.optim.Adam(policy.parameters(), _IMITATION_RATE)
    for _ in range(_IMITATION_STEPS):
        rows = torch.randperm(len(seeds), generator=random)[:_IMITATED]
        likelihood = policy.score(seeds.select(rows), Needs())[0].log_pf.sum(1).mean()
        optimiser.zero_grad()
        (-likelihood).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimiser.step()


def _label(
    config: Config, problem: Problem, state: algorithm.State, proposals: Crystals
) -> dict[str, float]:
    """Label proposals, fit the fast energy, renew the rewards that were made with the old one."""
    fitted, info = problem.fitted, {}
    assert fitted is not None
    labels = problem.energy.formation_energy_ev_per_atom(proposals)
    if len(fitted.labels):
        info["fit_error_new"] = fitted.error_ev_per_atom(proposals, labels)
    fitted.add(proposals, labels)
    info["fit_error"] = fitted.fit(config.fit.steps)
    info["labels"] = float(len(fitted.labels))
    buffer = state.buffer
    if buffer is not None and buffer.filled:
        kept = states.select(buffer.final, torch.arange(buffer.filled))
        renewed = problem.environment.log_reward(kept)
        buffer.log_reward[: buffer.filled] = renewed.to(buffer.log_reward.dtype)
    return info


def _proposals(config: Config, problem: Problem, state: algorithm.State) -> Crystals:
    """Up to a round's number of new crystals of the sampler itself, allowed and all different."""
    fitted = problem.fitted
    assert fitted is not None and fitted.crystals is not None
    n = config.fit.labels // config.fit.rounds
    final = algorithm.sample(
        problem.environment, state.policy, _PROPOSALS * n, state.generator
    ).final
    _, claims = problem.equivalents.log_multiplicity_and_claim(final.orbits)
    crystals = problem.environment.crystals(final)
    rows = (allowed(crystals) & claims.numpy()).nonzero()[0]
    known = set(fingerprints(fitted.crystals))
    keys = dict(zip(fingerprints(crystals.select(rows)), rows, strict=True))
    new = [row for key, row in keys.items() if key not in known][:n]
    return crystals.select(new)


@dataclass(frozen=True)
class Drawn:
    """Crystals of the trained sampler.

    log_probability   of each one's description (orbits, and density of its numbers), by importance over
                      ways to build it
    """

    state: CrystalState
    crystals: Crystals
    log_probability: Float[np.ndarray, "crystal"]


def draw(problem: Problem, policy: Any, n: int, random: torch.Generator) -> Drawn:
    """`n` crystals of the policy itself; none is dropped."""
    final = algorithm.sample(problem.environment, policy, n, random).final
    return Drawn(
        final, problem.environment.crystals(final), log_probability(problem, policy, final, random)
    )


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
    if not config.playground_steps:
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
