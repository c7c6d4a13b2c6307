"""A policy over numbered actions: softmax of a network's logits over the actions that are allowed.

    P_F(a | s) = softmax over allowed a of f_k(s)_a + c p_k(s)_a          k: ensemble head
    P_B(b | s) = (1 - floor) softmax over allowed b of g(s)_b + floor / n(s)     or 1 / n(s)

f, g, the state's log-flow and the potentials are outputs of one network with one shared trunk. The
heads k are an ensemble for Thompson sampling (Rector-Brooks et al. 2023, arXiv 2306.17693) with fixed
random prior functions p_k; there is one head and no prior unless they are asked for. A trajectory is
drawn with one head from start to end, so the law of the samples is the mean of the heads' laws.

Equal states are evaluated once where the environment numbers its states: early states are shared by
most trajectories of a batch, and this is where most of the time would go.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.gflownet import scoring, states
from workbench.gflownet.inflow import log_inflow
from workbench.gflownet.moves import (
    BackwardMoves,
    ForwardMoves,
    TabulatedMoves,
    masked,
    uniform,
)
from workbench.gflownet.networks import MLP, Tabular
from workbench.gflownet.options import Exploration
from workbench.gflownet.outputs import Outputs
from workbench.gflownet.policy import Behaviour
from workbench.gflownet.trajectories import Needs, Scores, Trajectories
from workbench.problem import DiscreteEnvironment, EnumerableEnvironment, Stoppable

Backward = Literal["learned", "uniform"]

_LARGEST_NUMBERED = 2**40  # above this, state numbers may overflow
_FEWEST_SHARED = 32  # rows below which looking for equal states costs more than it saves


class CategoricalPolicy(nn.Module):
    """A `Policy` for a `DiscreteEnvironment`. Build it with `build` unless the network is your own.

    network        features (or state numbers, for `Tabular`) -> outputs, see `n_outputs`
    backward       "learned", or "uniform" over the allowed backward actions
    prior          frozen network with `n_heads * n_actions` outputs, added with weight `prior_scale`
    partition      network from the features of the initial state to log Z; None = one number
    """

    def __init__(
        self,
        environment: DiscreteEnvironment,
        network: nn.Module,
        backward: Backward = "learned",
        backward_floor: float = 0.0,
        n_heads: int = 1,
        prior: nn.Module | None = None,
        prior_scale: float = 1.0,
        partition: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.environment = environment
        self.network = network
        self.backward_kind = backward
        self.backward_floor = backward_floor
        self.n_heads = n_heads
        self.prior = prior.requires_grad_(False) if prior is not None else None
        self.prior_scale = prior_scale
        self.partition = partition
        dtype = next(network.parameters()).dtype
        for other in (self.prior, self.partition):
            if other is not None:
                other.to(dtype)
        self.log_z = nn.Parameter(torch.zeros((), dtype=dtype))
        n_states = getattr(environment, "n_states", _LARGEST_NUMBERED + 1)
        numbered = isinstance(environment, EnumerableEnvironment)
        self._numbered = numbered and n_states <= _LARGEST_NUMBERED

    def __deepcopy__(self, memo: dict[int, Any]) -> CategoricalPolicy:
        """Averaged copies share the environment, and with it any counter."""
        memo[id(self.environment)] = self.environment
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        for name, value in self.__dict__.items():
            copied.__dict__[name] = copy.deepcopy(value, memo)
        return copied

    @staticmethod
    def n_outputs(environment: DiscreteEnvironment, n_heads: int = 1) -> int:
        """Outputs a network needs: heads, backward logits, log-flow, potentials."""
        return (n_heads + 1) * environment.n_actions + environment.n_backward_actions + 1

    def distinct(self, state: Any) -> tuple[Any, Int[Tensor, "batch"] | None]:
        """The different states of a batch, and for each row the place of its own; `None` where it is
        not worth looking, or states have no numbers."""
        if not self._numbered or states.n_rows(state) < _FEWEST_SHARED:
            return state, None
        number = self.environment.index(state)  # type: ignore[attr-defined]
        unique, rows = torch.unique(number, return_inverse=True)
        places = torch.arange(len(rows), device=rows.device)
        return states.select(state, torch.empty_like(unique).scatter_(0, rows, places)), rows

    def outputs(self, state: Any) -> Outputs:
        """What the network says of a batch of states, equal ones evaluated once."""
        state, rows = self.distinct(state)
        if isinstance(self.network, Tabular):
            raw = self.network(self.environment.index(state))  # type: ignore[attr-defined]
        else:
            raw = self.network(self.environment.features(state).to(self.log_z.dtype))
        return Outputs(self, state, raw, rows)

    def forward_log_probs(self, state: Any, head: int = 0) -> Float[Tensor, "batch action"]:
        """log P_F of every action under one head; -inf where not allowed."""
        return self.outputs(state).forward(head, spread=True)

    def backward_log_probs(self, state: Any) -> Float[Tensor, "batch action"]:
        """log P_B of every backward action; -inf where not allowed."""
        if self.backward_kind == "uniform":
            return uniform(self.environment.backward_mask(state), self.log_z.dtype)
        return self.outputs(state).backward(spread=True)

    def log_flow(self, state: Any) -> Float[Tensor, "batch"]:
        """log F of states that are not terminal."""
        return self.outputs(state).log_flow(spread=True)

    def log_partition(self, start: Any) -> Float[Tensor, "batch"]:
        """log Z of each initial state."""
        offset = self.log_z.expand(states.n_rows(start))
        if self.partition is None:
            return offset
        return offset + self.partition(self.environment.features(start).to(offset.dtype)).squeeze(1)

    def log_prob(self, state: Any, action: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """log P_F of the given actions under the first head."""
        return self.forward_log_probs(state).gather(1, action.unsqueeze(1)).squeeze(1)

    def log_prob_backward(self, state: Any, action: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """log P_B of the given backward actions."""
        return self.backward_log_probs(state).gather(1, action.unsqueeze(1)).squeeze(1)

    def behaviour(
        self, n: int, generator: torch.Generator, exploration: Exploration | None = None
    ) -> Behaviour:
        """Draws forward moves; each trajectory keeps one head, drawn here."""
        heads = self._drawn_heads(n, generator)
        return ForwardMoves(self, exploration or Exploration(), heads)

    def tabulated_behaviour(self, n: int, generator: torch.Generator, tables: Tensor) -> Behaviour:
        """Draws forward moves from `tables`, see `forward_tables`."""
        heads = self._drawn_heads(n, generator)
        return TabulatedMoves(self.environment, tables, heads)  # type: ignore[arg-type]

    def _drawn_heads(self, n: int, generator: torch.Generator) -> Tensor | None:
        if self.n_heads == 1:
            return None
        return torch.randint(self.n_heads, (n,), generator=generator, device=generator.device)

    @torch.no_grad()
    def forward_tables(self) -> Float[Tensor, "head state action"]:
        """log P_F at every state of an environment that lists them, for every head: evaluated once,
        any number of samples can be drawn without the network."""
        outputs = self.outputs(self.environment.all_states())  # type: ignore[attr-defined]
        return torch.stack([outputs.forward(head, spread=True) for head in range(self.n_heads)])

    def backward_behaviour(self, n: int, generator: torch.Generator) -> Behaviour:
        """Draws backward moves from P_B."""
        return BackwardMoves(self)

    def score(self, trajectories: Trajectories, needs: Needs) -> list[Scores]:
        """Scores for every head, from one pass of the network over the distinct states."""
        ends = self._undecided_ends(trajectories.final)
        pooled = trajectories.visited
        if len(ends):
            pooled = states.concatenate([pooled, states.select(trajectories.final, ends)])
        outputs = self.outputs(pooled)
        n, actions = len(trajectories.row), trajectories.actions
        log_pb = self._scored_backward(trajectories, outputs, ends)
        log_partition = self.log_partition(trajectories.start)
        shared: dict[str, Tensor] = {}
        if needs.flow:
            shared["log_flow"] = outputs.log_flow(spread=True)[:n]
        if needs.partial:
            partial = scoring.partial_rewards(self.environment, trajectories.visited)
            shared["log_partial"] = partial
        if needs.potential:
            shared["potential"] = outputs.picked(outputs.potential(), actions)
        if needs.stop:
            shared["log_stopped_reward"] = self._stopped_reward(trajectories)
        found = []
        for head in range(self.n_heads):
            table = outputs.forward(head)
            own = self._scored_head(trajectories, outputs, table, needs)
            if needs.inflow:
                own["log_inflow"] = log_inflow(self, scoring.after(trajectories), head)
            log_pf = outputs.picked(table, actions)
            scores = scoring.assemble(trajectories, log_pf, log_pb, log_partition, **shared, **own)
            found.append(scores)
        return found

    def _scored_head(
        self, trajectories: Trajectories, outputs: Outputs, table: Tensor, needs: Needs
    ) -> dict[str, Tensor]:
        """What depends on the head, beside log P_F."""
        own: dict[str, Tensor] = {}
        if needs.prior_exponent is not None:
            tilted = masked(needs.prior_exponent * table, table > -torch.inf)
            own["log_prior"] = outputs.picked(tilted, trajectories.actions)
        if needs.stop:
            own["log_stop"] = outputs.spread(table)[: len(trajectories.row), self._stop]
        return own

    def _undecided_ends(self, final: Any) -> Int[Tensor, "end"]:
        """Final objects at which P_B has a choice that the network makes."""
        if self.backward_kind == "uniform":
            return torch.empty(0, dtype=torch.int64, device=self.log_z.device)
        return (self.environment.backward_mask(final).sum(1) > 1).nonzero().squeeze(1)

    def _scored_backward(
        self, trajectories: Trajectories, outputs: Outputs, ends: Tensor
    ) -> Float[Tensor, "transition"]:
        """log P_B of each transition; 0 where the object was the only choice of its parent."""
        if self.backward_kind == "uniform":
            count = self.environment.backward_mask(scoring.after(trajectories)).sum(1)
            return -count.to(self.log_z.dtype).log()
        following, last = scoring.children(trajectories)
        place = torch.full((len(trajectories),), -1, device=last.device)
        place[ends] = len(last) + torch.arange(len(ends), device=last.device)
        place = torch.where(last, place[trajectories.row], following)
        found = outputs.picked(outputs.backward(), trajectories.undo, place.clamp_min(0))
        return found.masked_fill(place < 0, 0.0)

    @property
    def _stop(self) -> int:
        if not isinstance(self.environment, Stoppable):
            raise InputError(
                f"{self.environment.name} cannot stop at every state, which the modified detailed "
                "balance needs: take the objective db"
            )
        return self.environment.stop_action

    def _stopped_reward(self, trajectories: Trajectories) -> Float[Tensor, "transition"]:
        stop = torch.full_like(trajectories.actions, self._stop)
        after = self.environment.step(trajectories.visited, stop)
        return self.environment.log_reward(after).detach()


def build(
    environment: DiscreteEnvironment,
    *,
    tabular: bool = False,
    width: int = 256,
    n_layers: int = 2,
    backward: Backward = "learned",
    backward_floor: float = 0.0,
    n_heads: int = 1,
    prior_scale: float = 0.0,
    conditional: bool = False,
) -> CategoricalPolicy:
    """A policy with the usual networks; weights follow from torch's global generator (`algorithm.init`
    seeds it).

    tabular        one free row per state, float64; for an `EnumerableEnvironment`
    prior_scale    above zero: heads get fixed random prior functions of that weight
    conditional    log Z is a function of the initial state
    Raises InputError for a table of an environment that cannot be enumerated.
    """
    n_outputs = CategoricalPolicy.n_outputs(environment, n_heads)
    network: nn.Module
    if tabular:
        if not isinstance(environment, EnumerableEnvironment):
            raise InputError(
                f"{environment.name} cannot be enumerated, so it has no tabular policy: take a network"
            )
        network = Tabular(environment.n_states, n_outputs)
    else:
        network = MLP(environment.n_features, width, n_layers, n_outputs)
    prior = partition = None
    if prior_scale > 0.0:
        prior = MLP(environment.n_features, width, n_layers, n_heads * environment.n_actions)
        nn.init.normal_(prior.last.weight, std=width**-0.5)
    if conditional:
        partition = MLP(environment.n_features, 64, 2, 1)
    return CategoricalPolicy(
        environment, network, backward, backward_floor, n_heads, prior, prior_scale, partition
    )
