"""Exact answers on spaces whose states can be listed: dynamic programming over the graph of states.

Forward, given P_F:    p(s_0) = 1,  p(s') = sum_s p(s) P_F(s'|s);   the terminal law is p at objects
Backward, given P_B:   F(x) = R(x), F(s) = sum_s' F(s') P_B(s|s');  F(s_0) = Z
Optimum for that P_B:  P_F(s'|s) = F(s') P_B(s|s') / F(s)
Bounds of log Z:       ELBO = E_{P_F}[ log R + log P_B - log P_F ] = log Z - KL(P_F || R P_B / Z)
                       EUBO = E_{x ~ R/Z, P_B}[ the same ]         = log Z + KL(R P_B / Z || P_F)

after Bengio et al., "GFlowNet Foundations" (2021, arXiv 2111.09266). All in float64 and in logarithms,
so rewards of any range are kept; states are taken level by level, a level being the length of the
longest way to a state, and the only Python loop is over levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.gflownet.states import select
from workbench.problem import EnumerableEnvironment

LogPolicy = Float[Tensor, "state action"]


@dataclass(frozen=True)
class StateGraph:
    """All states of an environment and the moves between them, sorted by the level of their tail.

    states           row i is the state of number i; 0 is the initial one
    tail, head       numbers of the states that a move leaves and reaches
    action           the forward action of each move
    undo             its backward action at the head
    starts           first move of each level, and the number of moves
    forward_mask, backward_mask   allowed actions of each state
    terminal         which states are objects
    log_reward       of every state, -inf where it is no object
    """

    states: Any
    tail: Int[Tensor, "edge"]
    head: Int[Tensor, "edge"]
    action: Int[Tensor, "edge"]
    undo: Int[Tensor, "edge"]
    starts: tuple[int, ...]
    forward_mask: Bool[Tensor, "state action"]
    backward_mask: Bool[Tensor, "state backward_action"]
    terminal: Bool[Tensor, "state"]
    log_reward: Float[Tensor, "state"]

    @property
    def n_states(self) -> int:
        return len(self.terminal)

    @property
    def log_partition(self) -> float:
        """log Z: the sum of R over all objects."""
        return float(torch.logsumexp(self.log_reward, 0))

    @property
    def log_target(self) -> Float[Tensor, "state"]:
        """log R / Z of every state; -inf where it is no object."""
        return self.log_reward - self.log_partition

    def levels(self) -> Iterator[slice]:
        """The moves of each level, from the initial state on."""
        for first, last in zip(self.starts[:-1], self.starts[1:], strict=True):
            yield slice(first, last)


def state_graph(environment: EnumerableEnvironment) -> StateGraph:
    """Everything that the dynamic programmes need, from one call of every allowed action."""
    states = environment.all_states()
    forward = environment.forward_mask(states)
    tail, action = forward.nonzero(as_tuple=True)
    tails = select(states, tail)
    head = environment.index(environment.step(tails, action))
    level = _levels(tail, head, environment.n_states)
    order = level[tail].argsort(stable=True)
    counts = torch.bincount(level[tail], minlength=1)
    terminal = environment.is_terminal(states)
    log_reward = torch.full((environment.n_states,), -torch.inf, dtype=torch.float64)
    objects = terminal.nonzero().squeeze(1)
    log_reward[objects] = environment.log_reward(select(states, objects)).double()
    return StateGraph(
        states,
        tail[order],
        head[order],
        action[order],
        environment.undoing(tails, action)[order],
        (0, *counts.cumsum(0).tolist()),
        forward,
        environment.backward_mask(states),
        terminal,
        log_reward,
    )


def _levels(tail: Tensor, head: Tensor, n_states: int) -> Int[Tensor, "state"]:
    """Length of the longest way from the initial state to each."""
    level = torch.zeros(n_states, dtype=torch.int64)
    for _ in range(n_states):
        longer = level.scatter_reduce(0, head, level[tail] + 1, "amax")
        if torch.equal(longer, level):
            return level
        level = longer
    raise ValueError("the moves of this environment go round in a circle")


def _log_sum_into(total: Tensor, place: Tensor, values: Tensor) -> None:
    """total[place] <- log(exp(total[place]) + sum exp(values)), in place; each `place` may occur many
    times."""
    touched, group = place.unique(return_inverse=True)
    top = total[touched].scatter_reduce(0, group, values, "amax")
    finite = torch.where(top.isfinite(), top, 0.0)
    scaled = (total[touched] - finite).exp()
    scaled.index_add_(0, group, (values - finite[group]).exp())
    total[touched] = finite + scaled.log()


def log_visits(graph: StateGraph, log_pf: LogPolicy) -> Float[Tensor, "state"]:
    """log probability that a trajectory of P_F passes each state; at objects, their log law.

    `log_pf` [state, action] in float64 holds log P_F at allowed actions; others are not looked at.
    """
    visits = torch.full((graph.n_states,), -torch.inf, dtype=torch.float64)
    visits[0] = 0.0
    log_edge = log_pf.double()[graph.tail, graph.action]
    for level in graph.levels():
        _log_sum_into(visits, graph.head[level], visits[graph.tail[level]] + log_edge[level])
    return visits


def log_flows(
    graph: StateGraph, log_pb: LogPolicy, log_mass: Float[Tensor, "state"] | None = None
) -> Float[Tensor, "state"]:
    """log F of every state, given P_B [state, backward action].

    log_mass   what flows out of the objects: log R unless given (`graph.log_target` gives the
               probability that a backward trajectory of a true object passes each state)
    """
    flows = (graph.log_reward if log_mass is None else log_mass).clone()
    log_edge = log_pb.double()[graph.head, graph.undo]
    for level in reversed(list(graph.levels())):
        _log_sum_into(flows, graph.tail[level], flows[graph.head[level]] + log_edge[level])
    return flows


def optimal_policy(graph: StateGraph, log_pb: LogPolicy) -> Float[Tensor, "state action"]:
    """log P_F that gives the reward's law with this P_B; -inf at actions that are not allowed."""
    flows = log_flows(graph, log_pb)
    log_edge = log_pb.double()[graph.head, graph.undo]
    policy = torch.full(graph.forward_mask.shape, -torch.inf, dtype=torch.float64)
    policy[graph.tail, graph.action] = flows[graph.head] + log_edge - flows[graph.tail]
    return policy


def uniform_policy(mask: Bool[Tensor, "state action"]) -> Float[Tensor, "state action"]:
    """Log probabilities that are equal over the allowed actions; -inf elsewhere."""
    log_count = mask.sum(1, keepdim=True).double().log()
    return torch.where(mask, -log_count, -torch.inf)


def posterior_backward(graph: StateGraph, log_pf: LogPolicy) -> Float[Tensor, "state action"]:
    """log P_B(s|s') = p(s) P_F(s'|s) / p(s'): the law of the way that P_F took to each state."""
    visits = log_visits(graph, log_pf)
    policy = torch.full(graph.backward_mask.shape, -torch.inf, dtype=torch.float64)
    log_edge = log_pf.double()[graph.tail, graph.action]
    policy[graph.head, graph.undo] = visits[graph.tail] + log_edge - visits[graph.head]
    return policy


def elbo(graph: StateGraph, log_pf: LogPolicy, log_pb: LogPolicy) -> float:
    """The lower bound of log Z, without sampling."""
    visits = log_visits(graph, log_pf)
    mass = (visits[graph.tail] + log_pf.double()[graph.tail, graph.action]).exp()
    return _expected(graph, visits, mass, log_pf, log_pb)


def eubo(graph: StateGraph, log_pf: LogPolicy, log_pb: LogPolicy) -> float:
    """The upper bound of log Z, without sampling; infinite where P_F misses an object."""
    visits = log_flows(graph, log_pb, graph.log_target)
    mass = (visits[graph.head] + log_pb.double()[graph.head, graph.undo]).exp()
    return _expected(graph, visits, mass, log_pf, log_pb)


def _expected(
    graph: StateGraph, visits: Tensor, mass: Tensor, log_pf: Tensor, log_pb: Tensor
) -> float:
    """Mean of log R + log P_B - log P_F, given how often each object and each move occurs."""
    change = log_pb.double()[graph.head, graph.undo] - log_pf.double()[graph.tail, graph.action]
    objects = visits[graph.terminal].exp() * graph.log_reward[graph.terminal]
    return float(torch.where(mass > 0, mass * change, 0.0).sum() + objects.sum())


@torch.no_grad()
def tabulate(
    graph: StateGraph, log_probabilities: Callable[[Any], Tensor], chunk: int = 8192
) -> Float[Tensor, "state action"]:
    """A policy as a table in float64: `log_probabilities(states)` of all states, in chunks of
    `chunk`."""
    parts = [
        log_probabilities(select(graph.states, rows)).double()
        for rows in torch.arange(graph.n_states).split(chunk)
    ]
    return torch.cat(parts)
