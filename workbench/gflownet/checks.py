"""What must hold for every environment, or every balance loss reaches zero with a wrong law.

`check_environment`   all states of a space that can be listed
`check_on_rollouts`   the states that random walks pass, forward and then back, for larger spaces

Both check, for every allowed move s -> s' that they see:
    the backward action `undoing` is allowed at s' and leads back to s;
    every allowed backward action of s' leads to a state where `redoing` is allowed and leads to s'
    again, so the sum of P_B runs over real parents and, since different backward actions answer to
    different moves, over each of them once;
    states that are not terminal have an action, states that are not initial a backward one, and the
    rows beyond are left alone;
    a state is not changed by calls that return another.
On listed spaces also: numbering, order, and that every state is reached.

`check_backward_policy`  that a P_B sums to one over the real parents of every state.

Each raises `BrokenEnvironment`, whose message says what failed and in which state.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from workbench.gflownet.exact import LogPolicy, StateGraph
from workbench.gflownet.states import n_rows, select
from workbench.problem import DiscreteEnvironment, EnumerableEnvironment, PartialReward

_TOLERANCE = 1e-9


class BrokenEnvironment(AssertionError):
    """An environment does not keep to its protocol."""


def check_environment(environment: EnumerableEnvironment, chunk: int = 200_000) -> None:
    """Everything above on all states and moves. Raises BrokenEnvironment."""
    states = environment.all_states()
    n = environment.n_states
    numbers = torch.arange(n)
    _require(environment, torch.tensor([n_rows(states) == n]), None, f"lists {n} states")
    _require(environment, environment.index(states) == numbers, states, "has the number of its row")
    _require(
        environment,
        environment.is_initial(states) == (numbers == 0),
        states,
        "is initial iff first",
    )
    _check_states(environment, states)
    reached = numbers == 0
    tail, action = environment.forward_mask(states).nonzero(as_tuple=True)
    for some in torch.arange(len(tail)).split(chunk):
        here = select(states, tail[some])
        _check_moves(environment, here, action[some])
        after = environment.step(here, action[some])
        head = environment.index(after)
        valid = (head >= 0) & (head < n)
        _require(environment, valid, here, "leads to a state that is listed")
        _require(environment, head > tail[some], here, "comes before its children")
        _require(environment, _same(after, select(states, head)), here, "leads to the listed state")
        reached[head] = True
    _require(environment, reached, states, "can be reached from the initial one")
    ways_back = environment.backward_mask(states).sum()
    text = f"has as many backward actions ({int(ways_back)}) as forward ones ({len(tail)})"
    _require(environment, (ways_back == len(tail)).unsqueeze(0), None, text)


def check_backward_policy(
    environment: EnumerableEnvironment, graph: StateGraph, log_pb: LogPolicy
) -> None:
    """P_B [state, backward action] sums to one over the moves that lead into each state."""
    mass = torch.zeros(graph.n_states, dtype=torch.float64)
    mass.index_add_(0, graph.head, log_pb.double()[graph.head, graph.undo].exp())
    whole = (mass - 1).abs() < _TOLERANCE
    whole[0] = True
    _require(environment, whole, graph.states, "has a P_B that sums to one over its parents")


def check_on_rollouts(
    environment: DiscreteEnvironment, batch: int, generator: torch.Generator
) -> None:
    """The same on the states of `batch` uniformly random walks to the end and back again, with
    every backward action of each state tried. Raises BrokenEnvironment."""
    state = environment.initial_state(batch)
    _require(environment, environment.is_initial(state), state, "is initial at the start")
    for _ in range(environment.max_steps):
        _check_states(environment, state)
        going = (~environment.is_terminal(state)).nonzero().squeeze(1)
        if not len(going):
            break
        action = torch.zeros(batch, dtype=torch.int64)
        action[going] = _random_actions(environment.forward_mask(select(state, going)), generator)
        _check_moves(environment, select(state, going), action[going])
        state = environment.step(state, action)
    _require(environment, environment.is_terminal(state), state, "ends within max_steps")
    for _ in range(environment.max_steps):
        _check_states(environment, state)
        going = (~environment.is_initial(state)).nonzero().squeeze(1)
        if not len(going):
            break
        action = torch.zeros(batch, dtype=torch.int64)
        mask = environment.backward_mask(select(state, going))
        action[going] = _random_actions(mask, generator)
        state = environment.backward_step(state, action)
    _require(environment, environment.is_initial(state), state, "is undone within max_steps")


def _random_actions(mask: Bool[Tensor, "batch action"], generator: torch.Generator) -> Tensor:
    return torch.multinomial(mask.double(), 1, generator=generator).squeeze(1)


def _check_states(environment: DiscreteEnvironment, state: Any) -> None:
    """Masks, rows beyond the ends, features, rewards and every way back, at each state."""
    terminal, initial = environment.is_terminal(state), environment.is_initial(state)
    forward, backward = environment.forward_mask(state), environment.backward_mask(state)
    n = n_rows(state)
    for mask, width in (
        (forward, environment.n_actions),
        (backward, environment.n_backward_actions),
    ):
        right = mask.shape == (n, width) and mask.dtype == torch.bool
        _require(environment, torch.tensor([right]), None, f"has boolean masks [batch, {width}]")
    _require(environment, forward.any(1) == ~terminal, state, "allows an action iff not terminal")
    _require(environment, backward.any(1) == ~initial, state, "allows a way back iff not initial")
    for ended, step, width in (
        (terminal, environment.step, environment.n_actions),
        (initial, environment.backward_step, environment.n_backward_actions),
    ):
        beyond = select(state, ended.nonzero().squeeze(1))
        for action in {0, width - 1}:
            after = step(beyond, torch.full((n_rows(beyond),), action))
            _require(environment, _same(after, beyond), beyond, "stays where it has ended")
    features = environment.features(state)
    right = features.shape == (n, environment.n_features) and features.is_floating_point()
    text = f"has features [batch, {environment.n_features}]"
    _require(environment, torch.tensor([right]), None, text)
    _require(environment, features.isfinite().all(1), state, "has finite features")
    _check_rewards(environment, select(state, terminal.nonzero().squeeze(1)))
    _check_ways_back(environment, state)


def _check_rewards(environment: DiscreteEnvironment, objects: Any) -> None:
    reward = environment.log_reward(objects)
    _require(environment, reward.isfinite(), objects, "has a finite log-reward")
    if isinstance(environment, PartialReward):
        partial = environment.log_partial_reward(objects)
        text = "has its log-reward as partial one"
        _require(environment, (partial - reward).abs() < _TOLERANCE, objects, text)


def _check_moves(environment: DiscreteEnvironment, state: Any, action: Tensor) -> None:
    """Forward, undo, and forward again."""
    before = copy.deepcopy(state)
    after = environment.step(state, action)
    undo = environment.undoing(state, action)
    _require(environment, _same(state, before), before, "is not changed by a step")
    allowed = environment.backward_mask(after).gather(1, undo.unsqueeze(1)).squeeze(1)
    _require(environment, allowed, before, "is among the parents of its child")
    back = environment.backward_step(after, undo)
    _require(environment, _same(back, before), before, "comes back when a step is undone")
    again = environment.redoing(after, undo)
    _require(environment, again == action, before, "is left by the action that is redone")


def _check_ways_back(environment: DiscreteEnvironment, state: Any) -> None:
    """Every allowed backward action leads to a real parent."""
    row, undo = environment.backward_mask(state).nonzero(as_tuple=True)
    here = select(state, row)
    before = copy.deepcopy(here)
    parent = environment.backward_step(here, undo)
    action = environment.redoing(here, undo)
    _require(environment, _same(here, before), before, "is not changed by a backward step")
    allowed = environment.forward_mask(parent).gather(1, action.unsqueeze(1)).squeeze(1)
    _require(environment, allowed, before, "is reached by an allowed action from each parent")
    child = environment.step(parent, action)
    _require(environment, _same(child, before), before, "comes back when a way back is redone")
    again = environment.undoing(parent, action)
    _require(environment, again == undo, before, "has one backward action for each way in")


def _same(first: Any, second: Any) -> Bool[Tensor, "batch"]:
    """Which rows are equal in every tensor."""
    if isinstance(first, Tensor):
        return (first == second).flatten(1).all(1) if first.dim() > 1 else first == second
    if first is None:
        return torch.ones(0, dtype=torch.bool)
    rows = [
        _same(getattr(first, name), getattr(second, name))
        for name in first.__dataclass_fields__
        if getattr(first, name) is not None
    ]
    return torch.stack(rows).all(0)


def _require(
    environment: DiscreteEnvironment, holds: Bool[Tensor, "batch"], state: Any, what: str
) -> None:
    """Raises BrokenEnvironment for the first row where `holds` is False."""
    if bool(holds.all()):
        return
    wrong = (~holds).nonzero().squeeze(1)
    where = "" if state is None else f"; not so {select(state, wrong[:1])}"
    raise BrokenEnvironment(
        f"{environment.name}: every state {what} ({len(wrong)} of {len(holds)} do not{where})"
    )
