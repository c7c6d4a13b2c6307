"""Markov chains of crystals under small changes: good crystals for a sampler to learn from.

A change is one of
    a number       moved by a normal deviate of `_STEP` (coordinates around the cell, others between their
                   bounds), or drawn again
    an element     replaced by another everywhere, or exchanged with it
    regrowth       the last moves of construction taken back, up to all of them, and made again at random
and is accepted with probability min(1, (R' / R)^power). Proposals are not corrected for being lopsided, so the
law of the chains is not that of R: they serve as training data of an objective that holds on any data. Only
crystals with the symmetry of their group and with atoms apart are accepted. As the power rises chains are drawn
again in proportion to what they have gained (sequential Monte Carlo, Del Moral et al. 2006, JRSS B 68, 411), so
that groups and anions between which no chain moves still come into proportion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from domains.crystals.elements import Elements, neutral_states
from domains.crystals.environment import CrystalEnvironment, CrystalState
from domains.crystals.parameters import COORDINATE
from domains.crystals.random_search import UniformBehaviour
from domains.crystals.reward import in_law
from workbench.gflownet import rollout, states
from workbench.seeds import seed_from

_STEP = 0.06
_REDRAWN = 0.25  # share of number changes that are drawn again
_TRIES = 6
_KINDS = (0.5, 0.25, 0.25)  # shares of the three changes


@dataclass
class Walks:
    """Chains at `state`, finished crystals, with their log-rewards."""

    state: CrystalState
    log_reward: Float[Tensor, "chain"]


def begin(environment: CrystalEnvironment, state: CrystalState) -> Walks:
    """Chains that start at the given finished crystals."""
    return Walks(state, environment.log_reward(state))


def resampled(
    walks: Walks, log_weight: Float[Tensor, "chain"], generator: torch.Generator
) -> Walks:
    """As many chains, drawn in proportion to their weights by evenly spaced levels (systematic resampling)."""
    n = len(log_weight)
    ends = log_weight.softmax(0).cumsum(0)
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    levels = (torch.arange(n, dtype=torch.float64) + offset) / n * ends[-1]
    rows = torch.searchsorted(ends, levels).clamp_max(n - 1)
    return Walks(states.select(walks.state, rows), walks.log_reward[rows])


def sweep(
    environment: CrystalEnvironment, walks: Walks, power: float, generator: torch.Generator
) -> Walks:
    """One proposed change of every chain."""
    n = len(walks.log_reward)
    kind = torch.multinomial(torch.tensor(_KINDS), n, replacement=True, generator=generator)
    changes = (_other_numbers, _other_elements, _regrown)
    proposal = walks.state
    for i, change in enumerate(changes):
        rows = (kind == i).nonzero().squeeze(1)
        if len(rows):
            one = change(environment, states.select(walks.state, rows), generator)
            proposal = states.put(proposal, rows, one)
    fit = in_law(environment.orbits, environment.crystals(proposal), proposal.orbits)
    log_reward = torch.full_like(walks.log_reward, -torch.inf)
    rows = fit.nonzero().squeeze(1)
    if len(rows):
        log_reward[rows] = environment.log_reward(states.select(proposal, rows))
    level = torch.rand(n, generator=generator, dtype=torch.float64).log()
    taken = (level < power * (log_reward - walks.log_reward)).nonzero().squeeze(1)
    if not len(taken):
        return walks
    return Walks(
        states.put(walks.state, taken, states.select(proposal, taken)),
        walks.log_reward.index_copy(0, taken, log_reward[taken]),
    )


def _other_numbers(
    environment: CrystalEnvironment, state: CrystalState, generator: torch.Generator
) -> CrystalState:
    n = len(state.n_set)
    u = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    step = _STEP * torch.randn(n, generator=generator, dtype=torch.float64)
    at = (u[:, 0] * state.n_set).long()
    kind, _, _ = environment.parameters.meaning(state.orbits, at)
    moved = state.values.gather(1, at.unsqueeze(1)).squeeze(1) + step
    folded = 1.0 - (moved.remainder(2.0) - 1.0).abs()
    moved = torch.where(kind == COORDINATE, moved.remainder(1.0), folded)
    again = u[:, 1] < _REDRAWN
    moved = torch.where(again, u[:, 1] / _REDRAWN, moved).clamp_max(1.0 - 1e-12)
    return replace(state, values=state.values.scatter(1, at.unsqueeze(1), moved.unsqueeze(1)))


def _other_elements(
    environment: CrystalEnvironment, state: CrystalState, generator: torch.Generator
) -> CrystalState:
    chosen, parameters = environment.orbits.elements, environment.parameters
    rng = np.random.default_rng(seed_from(generator))
    element, position = state.orbits.element.clone(), state.orbits.position.clone()
    values, counts = state.values.clone(), parameters.counts(state.orbits)
    n_free = parameters.free_numbers(state.orbits)
    first = 1 + torch.from_numpy(parameters.n_shape)[state.orbits.group]
    required = set(environment.orbits.limits.required)
    for row, count in enumerate(counts):
        renaming = _neutral_renaming(chosen, count, required, rng)
        if renaming is None:
            continue
        old, new = renaming
        n = int((position[row] >= 0).sum())
        names = element[row, :n].tolist()
        names = [new if e == old else old if e == new else e for e in names]
        order = sorted(range(n), key=lambda i: (names[i], int(position[row, i])))
        begin_at = int(first[row]) + np.cumsum([0, *n_free[row, :n].tolist()])
        own = values[row].clone()
        blocks = [own[int(begin_at[i]) : int(begin_at[i + 1])] for i in order]
        values[row, int(begin_at[0]) : int(begin_at[n])] = torch.cat(blocks)
        position[row, :n] = position[row, order]
        element[row, :n] = torch.tensor([names[i] for i in order])
    return replace(
        state, orbits=replace(state.orbits, element=element, position=position), values=values
    )


def _neutral_renaming(
    chosen: Elements, count: np.ndarray, required: set[int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """An element that is there and another to exchange it with, of a few tried the first that leaves a
    neutral composition with the required elements."""
    for _ in range(_TRIES):
        old, new = int(rng.choice(count.nonzero()[0])), int(rng.integers(len(chosen)))
        after = count.copy()
        after[[old, new]] = count[[new, old]]
        kinds = after.nonzero()[0]
        if old == new or not required <= set(kinds.tolist()):
            continue
        if neutral_states(chosen, kinds, after[kinds]) is not None:
            return old, new
    return None


def _regrown(
    environment: CrystalEnvironment, state: CrystalState, generator: torch.Generator
) -> CrystalState:
    length = state.n_set + (state.orbits.position >= 0).sum(1) + 2
    u = torch.rand(len(length), generator=generator, dtype=torch.float64)
    depth = 1 + (u * length).long()
    orbits = environment.orbits
    for t in range(int(depth.max())):
        rows = (depth > t).nonzero().squeeze(1)
        some = states.select(state, rows)
        mask = orbits.backward_mask(some.orbits).float()
        undo = torch.multinomial(mask, 1, generator=generator).double()
        action = torch.cat([undo, torch.zeros_like(undo)], 1)
        state = states.put(state, rows, environment.backward_step(some, action))
    blank = torch.zeros(len(length))
    behaviour = UniformBehaviour(environment)
    return rollout.forward(environment, behaviour, state, generator, log_reward=blank).final
