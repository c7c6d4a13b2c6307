"""What happens between gradient steps, once per round, in the first 0.6 of them: chains of crystals move, some
are labelled and the fast energy is fitted again, and the policy imitates what the chains have found.

The chains (`domains/crystals/walks.py`) are training data: they end in the replay buffer, from which the
imitation and the objective draw. Beta of the chains rises with that of the training to the run's own. Where
shares of anions, groups or formulas are bounded, the chains are what the multipliers are learned from, and
after the last round the policy's own draws.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from domains.crystals import walks as chains
from domains.crystals.crystals import Crystals, join
from domains.crystals.environment import CrystalState
from domains.crystals.fingerprint import fingerprints
from domains.crystals.random_search import random_crystals
from domains.crystals.reward import in_law
from domains.crystals.walks import Walks
from pipelines.crystals.options import Config
from pipelines.crystals.prepare import Problem
from workbench.gflownet import algorithm, replay, rollout, states
from workbench.gflownet.temperature import tempered_scores
from workbench.gflownet.trajectories import Needs

_PROPOSALS = 3  # drawn from the policy for each that is labelled
_IMITATED, _IMITATION_RATE = 128, 2e-3
_KEPT_EVERY = 8  # sweeps
_BALANCED_ON = 400  # draws of the policy


def nothing(config: Config, problem: Problem) -> Walks:
    """Chains that have not begun."""
    start = problem.environment.initial_state(config.chains)
    return Walks(start, torch.zeros(config.chains, dtype=torch.float64))


def first(
    config: Config, problem: Problem, state: algorithm.State
) -> tuple[Walks, dict[str, float]]:
    """Random crystals: some are labelled for the first fit, all with the symmetry of their group go to the
    replay buffer, and the best of them start the chains."""
    random, environment = state.generator, problem.environment
    info: dict[str, float] = {}
    crystals, objects = random_crystals(environment, config.seeds, random)
    if problem.fitted is not None:
        n = config.fit.labels // config.fit.rounds
        info = _label(config, problem, crystals.select(range(min(n, len(crystals)))))
    own = environment.orbits.has_own_symmetry(objects.orbits)
    if bool(own.any()):
        objects = states.select(objects, own.nonzero().squeeze(1))
    _remember(config, problem, state, objects)
    order = environment.log_reward(objects).argsort(descending=True)
    rows = order[torch.arange(config.chains) % len(order)]
    walks = chains.begin(environment, states.select(objects, rows))
    return _turn(config, problem, state, walks, 0, info)


def again(
    config: Config, problem: Problem, state: algorithm.State, walks: Walks, number: int
) -> tuple[Walks, dict[str, float]]:
    """Round `number`: label proposals of chains and policy, fit, renew rewards, move on."""
    info: dict[str, float] = {}
    if problem.fitted is not None:
        proposals = _proposals(config, problem, state, walks)
        if len(proposals):
            info = _label(config, problem, proposals)
            _renew(problem, state)
            walks = chains.begin(problem.environment, walks.state)
    return _turn(config, problem, state, walks, number, info)


def _turn(
    config: Config,
    problem: Problem,
    state: algorithm.State,
    walks: Walks,
    number: int,
    info: dict[str, float],
) -> tuple[Walks, dict[str, float]]:
    """Move the chains, remember where they have been, imitate. The log tells the chains' median of log R / beta
    without multipliers: minus the formation energy where that is the target."""
    environment, random = problem.environment, state.generator
    looks = [*range(0, config.sweeps, _KEPT_EVERY), config.sweeps]
    for start, end in itertools.pairwise(looks):
        before, power = (
            config.sampler.temperature.at((number + i / config.sweeps) / config.fit.rounds)
            for i in (start, end)
        )
        walks = chains.resampled(walks, (power - before) * walks.log_reward, random)
        for _ in range(start, end):
            walks = chains.sweep(environment, walks, power, random)
        if problem.reward.balance.shares:
            walks = _balanced(problem, walks, power, random)
        _remember(config, problem, state, walks.state)
    if problem.reward.balance.shares:
        _renew(problem, state)
    _imitate(config, problem, state)
    policy: Any = state.policy
    with torch.no_grad():
        drawn = algorithm.sample(environment, policy, config.batch, random)
        scores = policy.score(drawn, Needs())[0]
        at = config.sampler.temperature.at(state.steps_done / config.steps)
        scores = tempered_scores(scores, at)
        policy.log_z.fill_((scores.log_reward - scores.log_ratio()).median())
    nats = torch.from_numpy(problem.reward.balance.nats(environment.crystals(walks.state)))
    info["chains_median_score"] = float((walks.log_reward + nats).median()) / config.beta
    return walks, info


def _balanced(problem: Problem, walks: Walks, power: float, random: torch.Generator) -> Walks:
    """Chains after a step of the multipliers, drawn again in proportion to it."""
    crystals, balance = problem.environment.crystals(walks.state), problem.reward.balance
    before = balance.nats(crystals)
    balance.learn(crystals, power)
    gained = torch.from_numpy(before - balance.nats(crystals))
    walks = Walks(walks.state, walks.log_reward + gained)
    return chains.resampled(walks, power * gained, random)


def rebalance(config: Config, problem: Problem, state: algorithm.State) -> None:
    """After the last round the multipliers follow the policy's own draws, where shares are bounded."""
    environment, policy = problem.environment, state.policy
    if not problem.reward.balance.shares:
        return
    final = algorithm.sample(environment, policy, _BALANCED_ON, state.generator).final
    crystals = environment.crystals(final)
    rows = in_law(environment.orbits, crystals, final.orbits).nonzero().squeeze(1).numpy()
    if len(rows):
        power = config.sampler.temperature.at(state.steps_done / config.steps)
        problem.reward.balance.learn(crystals.select(rows), power, slowly=True)
        _renew(problem, state)


def _remember(
    config: Config, problem: Problem, state: algorithm.State, objects: CrystalState
) -> None:
    """Put crystals into the replay buffer, each with a way to build it."""
    if state.buffer is None:
        return
    policy: Any = state.policy
    behaviour = policy.backward_behaviour(states.n_rows(objects), state.generator)
    ways = rollout.backward(problem.environment, behaviour, objects, state.generator)
    state.buffer = replay.add(config.replay, state.buffer, ways)


def _imitate(config: Config, problem: Problem, state: algorithm.State) -> None:
    """Steps of largest likelihood on the buffer, with an optimiser of their own."""
    policy, buffer = state.policy, state.buffer
    if buffer is None:
        return
    evenly = replace(config.replay, kind="uniform")
    scorer: Any = policy
    optimiser = torch.optim.Adam(policy.parameters(), _IMITATION_RATE)
    for i in range(config.imitation):
        for group in optimiser.param_groups:
            group["lr"] = _IMITATION_RATE * (1.0 - i / config.imitation)
        some = replay.draw(evenly, buffer, problem.environment, scorer, _IMITATED, state.generator)
        likelihood: Tensor = scorer.score(some, Needs())[0].log_pf.sum(1).mean()
        optimiser.zero_grad()
        (-likelihood).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimiser.step()


def _label(config: Config, problem: Problem, proposals: Crystals) -> dict[str, float]:
    """Label proposals and fit the fast energy to all labels."""
    fitted, info = problem.fitted, {}
    assert fitted is not None
    labels = problem.energy.formation_energy_ev_per_atom(proposals)
    if len(fitted.labels):
        info["fit_error_new"] = fitted.error_ev_per_atom(proposals, labels)
    fitted.add(proposals, labels)
    info["fit_error"] = fitted.fit(config.fit.steps)
    info["labels"] = float(len(fitted.labels))
    return info


def _renew(problem: Problem, state: algorithm.State) -> None:
    """Rewards of the buffer under the energy as it is now."""
    buffer = state.buffer
    if buffer is not None and buffer.filled:
        kept = states.select(buffer.final, torch.arange(buffer.filled))
        renewed = problem.environment.log_reward(kept)
        buffer.log_reward[: buffer.filled] = renewed.to(buffer.log_reward.dtype)


def _proposals(config: Config, problem: Problem, state: algorithm.State, walks: Walks) -> Crystals:
    """A round's number of new crystals, allowed and all different: half from the chains, the rest from the
    policy."""
    environment, fitted = problem.environment, problem.fitted
    assert fitted is not None and fitted.crystals is not None
    n = config.fit.labels // config.fit.rounds
    known = set(fingerprints(fitted.crystals))
    moved = environment.crystals(walks.state)
    order = torch.randperm(len(moved), generator=state.generator).numpy()
    ours = _new(moved.select(order), known, n // 2)
    final = algorithm.sample(environment, state.policy, _PROPOSALS * n, state.generator).final
    drawn = environment.crystals(final)
    good = in_law(environment.orbits, drawn, final.orbits).numpy()
    theirs = _new(drawn.select(good.nonzero()[0]), known, n - len(ours))
    return join([ours, theirs])


def _new(crystals: Crystals, known: set[bytes], n: int) -> Crystals:
    """The first `n` that are not known; they are known from then on."""
    rows: list[int] = []
    for row, key in enumerate(fingerprints(crystals)):
        if key not in known and len(rows) < n:
            known.add(key)
            rows.append(row)
    return crystals.select(rows)
