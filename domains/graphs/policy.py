"""The conditional policy: a graph isomorphism network on the open problem of each state.

    P_F(v | s)  = softmax over allowed v of score_v(s) + f(s)_v         (and a logit of stopping for cut)
    P_B(v | s)  = softmax over parents of b(s_0)_v - d score_v(s_0)      or 1 / number of parents
    log F(s)    = beta (c sum_v share_v(s) + sum_v g(s)_v)              forward-looking objectives
                  beta (value(s) + ...)                                 others
    log Z       = log F(s_0), one for each graph

    score_v(s)  = a sum_k w_k hint_kv(s),    w = (1, 0, 0, ...) at first

hint and share are the task's: the greedy rule and what looking further around says. f, g and b start at
zero, w, c and d are learned: an untrained policy is a randomised greedy rule, and what training makes of it
is what it adds to that rule. w is learned _HINT_RATE times as fast as the network's weights. b is the
network's word on the start of the graph: it tells which vertices come early in any set. A uniform P_B would
ask P_F to build each set in every order alike, and so to unlearn the order in which choices are easy.

Equal states, the starts of a graph above all, are evaluated once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from domains.graphs import _kernels
from domains.graphs.environment import SetBuilding, SetState
from domains.graphs.open_problems import OpenProblems, n_features, open_problems
from workbench.errors import InputError
from workbench.gflownet import scoring, states
from workbench.gflownet.moves import draw, masked
from workbench.gflownet.options import Exploration
from workbench.gflownet.trajectories import Needs, Scores, Trajectories
from workbench.nets.gin import GIN

_LOGIT, _FLOW, _POTENTIAL, _BACK, _STOP, _STOP_POTENTIAL = range(6)
_LARGEST_HINT = 40.0  # beta above which the first policy gets no greedier
_BACKWARD_HINT = 0.1  # of the forward score, at the start of training
_HINT_RATE = 8.0


@dataclass(frozen=True)
class Choices:
    """P_F of distinct states. Choices are the nodes, row by row, then the stops of all rows.

    rows        for each state asked for, its row here
    log_prob    log P_F of each choice, -inf where it is not allowed
    """

    rows: Int[Tensor, "state"]
    row: Int[Tensor, "choice"]
    action: Int[Tensor, "choice"]
    log_prob: Float[Tensor, "choice"]
    n_rows: int
    width: int

    def picked(self, values: Float[Tensor, "choice"], actions: Tensor) -> Float[Tensor, "state"]:
        """`values` at one action of each state asked for."""
        place = torch.full((self.n_rows, self.width + 1), -1)
        place[self.row, self.action] = torch.arange(len(self.row))
        return values[place[self.rows, actions]]


@dataclass(frozen=True)
class Outputs(Choices):
    """All that the network says of distinct states.

    potential   of each choice; `back`: what P_B makes of each vertex, at initial states
    flow        the network's share of log F of each row
    """

    potential: Float[Tensor, "choice"]
    back: Float[Tensor, "choice"]
    flow: Float[Tensor, "row"]

    def back_of(self, starts: Int[Tensor, "start"]) -> Float[Tensor, "start action"]:
        """`back` of every action for some of the states asked for, which are initial; 0 at the others."""
        table = self.flow.new_zeros((self.n_rows, self.width + 1))
        return table.index_put((self.row, self.action), self.back)[self.rows[starts]]


class GraphPolicy(nn.Module):
    """A `Policy` for `SetBuilding`.

    backward          "learned", or "uniform" over the parents
    beta              inverse temperature at the end of training: the scale of log F
    forward_looking   log F leaves out what the partial reward tells
    """

    def __init__(
        self,
        environment: SetBuilding,
        width: int = 64,
        n_layers: int = 3,
        backward: Literal["learned", "uniform"] = "learned",
        beta: float = 1.0,
        forward_looking: bool = True,
    ) -> None:
        super().__init__()
        self.environment = environment
        self.backward_kind, self.beta, self.forward_looking = backward, beta, forward_looking
        task = environment.task
        self.network = GIN(n_features(task), width, n_layers, 6)
        self.hint_scale = task.hint_scale * min(beta, _LARGEST_HINT)
        first = torch.zeros(task.n_hints)
        first[0] = 1.0 / _HINT_RATE
        self.hint_weights = nn.Parameter(first)
        self.back_scale = nn.Parameter(torch.tensor(_BACKWARD_HINT))
        self.share_scale = nn.Parameter(torch.tensor(1.0))
        self.depth_scale = nn.Parameter(torch.tensor(0.0))

    def on(self, environment: SetBuilding) -> GraphPolicy:
        """The same weights on other graphs."""
        other = copy.copy(self)
        other.environment = environment
        return other

    def choices(self, state: SetState) -> Choices:
        """What sampling needs: one pass of the network over the distinct ones of `state`, none terminal."""
        distinct, rows = self._distinct(state)
        nodes = open_problems(self.environment, distinct)
        raw = self._network_outputs(nodes)
        return self._choices(rows, nodes, raw, self.hinted(nodes.scores))

    def _choices(
        self,
        rows: Int[Tensor, "state"],
        nodes: OpenProblems,
        raw: Float[Tensor, "node output"],
        score: Float[Tensor, "node"],
    ) -> Choices:
        logits = (score + raw[:, _LOGIT]).masked_fill(~nodes.allowed, -torch.inf)
        row, action, width = nodes.row, nodes.vertex, self.environment.width
        if self.environment.task.stops:
            every = torch.arange(nodes.n_rows)
            row = torch.cat([row, every])
            action = torch.cat([action, torch.full_like(every, width)])
            logits = torch.cat([logits, _row_means(raw[:, _STOP], nodes)])
        log_prob = log_softmax_in_rows(logits, row, nodes.n_rows)
        return Choices(rows, row, action, log_prob, nodes.n_rows, width)

    def outputs(self, state: SetState) -> Outputs:
        """All of the same pass."""
        distinct, rows = self._distinct(state)
        nodes = open_problems(self.environment, distinct)
        raw = self._network_outputs(nodes)
        score = self.hinted(nodes.scores)
        choices = self._choices(rows, nodes, raw, score)
        potential, back = raw[:, _POTENTIAL], raw[:, _BACK] - self.back_scale * score
        if self.environment.task.stops:
            potential = torch.cat([potential, _row_means(raw[:, _STOP_POTENTIAL], nodes)])
            back = torch.cat([back, back.new_zeros(nodes.n_rows)])
        share = self.share_scale * nodes.share + raw[:, _FLOW]
        flow = share.new_zeros(nodes.n_rows).index_add(0, nodes.row, share)
        chosen = distinct.chosen.sum(1).to(flow.dtype)
        flow = self.beta * flow + self.depth_scale * chosen
        if not self.forward_looking:
            partial = self.environment.log_partial_reward(distinct).to(flow.dtype)
            flow = flow + self.beta * partial
        return Outputs(**choices.__dict__, potential=potential, back=back, flow=flow)

    def hinted(self, scores: Float[Tensor, "node hint"]) -> Float[Tensor, "node"]:
        """What the hints add to the logit of each node."""
        return self.hint_scale * scores @ (_HINT_RATE * self.hint_weights)

    def _network_outputs(self, nodes: OpenProblems) -> Float[Tensor, "node output"]:
        """What the network says, wherever it lives; sets are built on the CPU, so it comes back there."""
        device = self.network.last.weight.device
        adjacency = nodes.adjacency.to(device)
        return self.network(nodes.features.to(device), adjacency, nodes.scale.to(device)).cpu()

    def _distinct(self, state: SetState) -> tuple[SetState, Int[Tensor, "state"]]:
        unique, rows = torch.unique(self.environment.keys(state), return_inverse=True)
        if len(unique) == len(rows):
            return state, torch.arange(len(rows))
        places = torch.empty_like(unique).scatter_(0, rows, torch.arange(len(rows)))
        return states.select(state, places), rows

    def behaviour(
        self, n: int, generator: torch.Generator, exploration: Exploration | None = None
    ) -> ForwardDraws:
        return ForwardDraws(self, exploration or Exploration())

    def backward_behaviour(self, n: int, generator: torch.Generator) -> BackwardDraws:
        return BackwardDraws(self)

    def forward_log_probs(self, state: SetState) -> Float[Tensor, "batch action"]:
        """log P_F of every action; -inf where not allowed. For small graphs."""
        table = torch.full((len(state.graph), self.environment.n_actions), -torch.inf)
        going = (~state.stopped).nonzero().squeeze(1)
        if len(going):
            found = self.choices(states.select(state, going))
            dense = torch.full((found.n_rows, table.shape[1]), -torch.inf)
            dense[found.row, found.action] = found.log_prob.detach()
            table[going] = dense[found.rows]
        return table

    def backward_log_probs(self, state: SetState) -> Float[Tensor, "batch action"]:
        """log P_B of every backward action; -inf where not allowed."""
        mask = self.environment.backward_mask(state)
        if self.backward_kind == "uniform":
            return torch.where(mask, -mask.sum(1, keepdim=True).float().log(), -torch.inf)
        found = self.outputs(self.environment.start(state.graph))
        return _masked_log_softmax(found.back_of(torch.arange(len(mask))), mask)

    def log_flow(self, state: SetState) -> Float[Tensor, "batch"]:
        """log F as the objective has it, of states that are not terminal."""
        found = self.outputs(state)
        return found.flow[found.rows]

    def log_partition(self, start: SetState) -> Float[Tensor, "batch"]:
        """log Z of each initial state; forward-looking: without the reward of what is fixed in."""
        return self.log_flow(start)

    def score(self, trajectories: Trajectories, needs: Needs) -> list[Scores]:
        """Scores from one pass of the network over the distinct states."""
        if needs.stop:
            raise InputError(
                "these sets cannot stop at every state, which the modified detailed balance needs: take "
                "the objective db"
            )
        visited, actions = trajectories.visited, trajectories.actions
        found = self.outputs(visited)
        flow = found.flow[found.rows]
        after = scoring.after(trajectories)
        first = (trajectories.step == 0).nonzero().squeeze(1)
        first = torch.empty_like(first).index_copy(0, trajectories.row[first], first)
        shared: dict[str, Tensor | None] = {}
        if needs.flow:
            shared["log_flow"] = flow
        if needs.partial:
            shared["log_partial"] = scoring.partial_rewards(self.environment, visited)
        if needs.potential:
            shared["potential"] = self.beta * found.picked(found.potential, actions)
        if needs.prior_exponent is not None:
            tilted = log_softmax_in_rows(
                needs.prior_exponent * found.log_prob, found.row, found.n_rows
            )
            shared["log_prior"] = found.picked(tilted, actions)
        if needs.inflow:
            shared["log_inflow"] = self._log_inflow(after)
        return [
            scoring.assemble(
                trajectories,
                log_pf=found.picked(found.log_prob, actions),
                log_pb=self._scored_backward(trajectories, found, first, after),
                log_partition=flow[first],
                **shared,
            )
        ]

    def _scored_backward(
        self, trajectories: Trajectories, found: Outputs, first: Tensor, after: SetState
    ) -> Float[Tensor, "transition"]:
        """log P_B of each transition; `first` holds the first one of each trajectory."""
        mask = self.environment.backward_mask(after)
        if self.backward_kind == "uniform":
            return -mask.sum(1).to(found.flow.dtype).log()
        table = _masked_log_softmax(found.back_of(first)[trajectories.row], mask)
        return table.gather(1, trajectories.undo.unsqueeze(1)).squeeze(1)

    def _log_inflow(self, state: SetState) -> Float[Tensor, "batch"]:
        """log of the sum over parents of F P_F into each state."""
        row, undo = self.environment.backward_mask(state).nonzero().unbind(1)
        parents = self.environment.backward_step(states.select(state, row), undo)
        found = self.outputs(parents)
        edge = found.flow[found.rows] + found.picked(found.log_prob, undo)
        return log_sum_in_rows(edge, row, len(state.graph))


class ForwardDraws:
    """Forward moves from P_F, or from the flattened and mixed law of an exploration."""

    def __init__(self, policy: GraphPolicy, exploration: Exploration) -> None:
        self._policy, self._exploration = policy, exploration

    @torch.no_grad()
    def sample(
        self, state: SetState, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        found = self._policy.choices(state)
        log_prob = _explored(found, self._exploration)
        stops = self._policy.environment.task.stops
        n_nodes = len(found.row) - stops * found.n_rows
        count = torch.bincount(found.row[:n_nodes], minlength=found.n_rows)
        first = torch.cat([count.new_zeros(1), count.cumsum(0)])
        n_draws = int(count[found.rows].sum()) + stops * len(found.rows)
        clock = torch.empty(n_draws).exponential_(generator=generator)
        at = torch.empty(len(found.rows), dtype=torch.int64)
        _kernels.first_to_ring(
            found.rows.numpy(), first.numpy(), log_prob.numpy(), clock.numpy(), at.numpy()
        )
        return found.action[at], log_prob[at]


class BackwardDraws:
    """Backward moves from P_B. What the network says of the starts is asked once, in the first step."""

    def __init__(self, policy: GraphPolicy) -> None:
        self._policy = policy
        self._back: Tensor | None = None

    @torch.no_grad()
    def sample(
        self, state: SetState, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        mask = self._policy.environment.backward_mask(state)
        if self._policy.backward_kind == "uniform":
            table = self._policy.backward_log_probs(state)
        else:
            if self._back is None:  # all rows are alive in the first step
                found = self._policy.outputs(self._policy.environment.start(state.graph))
                self._back = found.back_of(torch.arange(len(row)))
            table = _masked_log_softmax(self._back[row], mask)
        return draw(table, generator)


def _masked_log_softmax(
    logits: Float[Tensor, "batch action_and_stop"], mask: Bool[Tensor, "batch action"]
) -> Float[Tensor, "batch action"]:
    return masked(logits[:, : mask.shape[1]], mask)


def log_sum_in_rows(
    values: Float[Tensor, "entry"], row: Int[Tensor, "entry"], n_rows: int
) -> Float[Tensor, "row"]:
    """log of the sum of exp over the entries of each row, which has at least one that is finite."""
    top = values.new_full((n_rows,), -torch.inf).scatter_reduce(0, row, values.detach(), "amax")
    total = values.new_zeros(n_rows).index_add(0, row, (values - top[row]).exp())
    return top + total.log()


def log_softmax_in_rows(
    values: Float[Tensor, "entry"], row: Int[Tensor, "entry"], n_rows: int
) -> Float[Tensor, "entry"]:
    """Log-softmax over the entries of each row; -inf stays, without NaN in gradients."""
    return values - log_sum_in_rows(values, row, n_rows)[row]


def _row_means(values: Float[Tensor, "node"], nodes: OpenProblems) -> Float[Tensor, "row"]:
    """Mean over the nodes of each row; 0 where there is none."""
    count = torch.bincount(nodes.row, minlength=nodes.n_rows).clamp_min(1)
    return values.new_zeros(nodes.n_rows).index_add(0, nodes.row, values) / count


def _explored(found: Choices, exploration: Exploration) -> Float[Tensor, "choice"]:
    log_prob, n = found.log_prob, found.n_rows
    if exploration.temperature != 1.0:
        log_prob = log_softmax_in_rows(log_prob / exploration.temperature, found.row, n)
    if exploration.epsilon > 0.0:
        allowed: Bool[Tensor, "choice"] = log_prob > -torch.inf
        count = torch.zeros(n).index_add(0, found.row, allowed.float())
        mixed = (1.0 - exploration.epsilon) * log_prob.exp() + exploration.epsilon / count[
            found.row
        ]
        log_prob = mixed.log().masked_fill(~allowed, -torch.inf)
    return log_prob
