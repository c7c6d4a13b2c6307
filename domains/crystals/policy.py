"""A policy over groups, orbits and numbers in [0, 1], for `CrystalEnvironment`.

    P_F(group)            softmax of free logits
    P_F(orbit | s)        softmax over allowed placements and the stop, of a perceptron's logits
    p_F(u | s)            piecewise constant on the environment's bins, softmax over the allowed ones of another
                          perceptron's logits: a density on [0, 1], so hybrid trajectories balance against the
                          uniform base measure
    P_B                   uniform over the orbits of the last element; certain in the other stages

Perceptrons see sums of embeddings: of the group, of each occupied position of the group, of each (letter,
element) pair; atoms per element; for numbers also those set before and what is set next. Groups and positions
also have features (crystal system, centring, multiplicity, freedom, where the first atom lies), so that
what is learned in one group serves in others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from domains.crystals.environment import CrystalEnvironment, CrystalState
from domains.crystals.orbits import OrbitState
from domains.crystals.wyckoff import PRIMITIVE, SYSTEMS, wyckoff
from workbench.errors import InputError
from workbench.gflownet import scoring, states
from workbench.gflownet.moves import draw, explored, masked
from workbench.gflownet.options import Exploration
from workbench.gflownet.policy import Behaviour
from workbench.gflownet.trajectories import Needs, Scores, Trajectories

_MEANINGS = 8  # axes of one kind of parameter, rounded up
_KEYS = 16
_FREE = 25.0  # free logits go this much faster than weights: a group may have to fall by many nats


def _place_features(environment: CrystalEnvironment) -> Float[Tensor, "place feature"]:
    """Of every position: group, multiplicity, free coordinates, and where its first atom lies."""
    orbits, table = environment.orbits, wyckoff()
    place = torch.from_numpy(orbits.place)
    group = torch.from_numpy(np.searchsorted(table.first_position, orbits.place, side="right") - 1)
    system = functional.one_hot(torch.from_numpy(table.system).long()[group], len(SYSTEMS))
    centring = functional.one_hot(torch.from_numpy(table.centring).long()[group], len(PRIMITIVE))
    size = torch.from_numpy(table.multiplicity)[place].float()
    general = torch.from_numpy(table.multiplicity[table.first_position[1:] - 1])[group].float()
    free = torch.from_numpy(table.free)[place].float()
    first = torch.from_numpy(table.offset[table.first_atom[orbits.place]]).float()
    angle = 2 * math.pi * first / 24
    dimension = functional.one_hot(free.sum(1).long(), 4)
    scalars = torch.stack([size.log(), size / orbits.limits.most_atoms, general.log()], 1)
    return torch.cat([system, centring, dimension, scalars, free, angle.cos(), angle.sin()], 1)


class _Orbits(nn.Module):
    """Orbits as the sum of embeddings [batch, width]."""

    features: Tensor

    def __init__(self, environment: CrystalEnvironment, width: int) -> None:
        super().__init__()
        orbits = environment.orbits
        self.n_elements, self.parameters_of = len(orbits.elements), environment.parameters
        self.n_pairs, self.n_places = orbits.width * self.n_elements, len(orbits.place)
        self.most_atoms = orbits.limits.most_atoms
        self.group = nn.Embedding(orbits.n_groups, width)
        self.pair = nn.EmbeddingBag(self.n_pairs + 1, width, mode="sum", padding_idx=self.n_pairs)
        self.place = nn.EmbeddingBag(
            self.n_places + 1, width, mode="sum", padding_idx=self.n_places
        )
        self.counts = nn.Linear(2 * self.n_elements + 1, width)
        features = _place_features(environment)
        self.register_buffer("features", features, persistent=False)
        self.described = nn.Linear(features.shape[1], width)
        self.first = torch.from_numpy(orbits.first)
        for table in (self.group, self.pair, self.place):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, state: OrbitState) -> Float[Tensor, "batch width"]:
        there = state.position >= 0
        pair = torch.where(there, state.position * self.n_elements + state.element, self.n_pairs)
        places = self.parameters_of.places(state)
        counts = torch.from_numpy(self.parameters_of.counts(state)).float()
        total = counts.sum(1, keepdim=True)
        group = state.group.clamp_min(0)
        described = functional.pad(self.described(self.features), (0, 0, 0, 1))
        occupied = torch.where(there, places, self.n_places)
        composition = torch.cat([counts / 4, counts / total.clamp_min(1), total / 8], 1)
        return (
            self.group(group)
            + described[self.first[group]]
            + self.pair(pair)
            + self.place(occupied)
            + functional.embedding_bag(occupied, described, mode="sum")
            + self.counts(composition)
        )


class _Perceptron(nn.Module):
    """[batch, width] -> [batch, output] through `layers` residual layers; zero at first."""

    def __init__(self, width: int, layers: int, n_outputs: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.n_outputs = n_outputs
        self.last = nn.Linear(width, n_outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch output"]:
        for layer in self.hidden:
            x = x + layer(functional.silu(x))
        return self.last(functional.silu(x))


class CrystalPolicy(nn.Module):
    """A `Policy` for the objectives tb and log-variance. Weights follow from torch's global generator.

    width, layers   of the two perceptrons
    """

    def __init__(self, environment: CrystalEnvironment, width: int = 256, layers: int = 2) -> None:
        super().__init__()
        orbits = environment.orbits
        self.environment, self.n_bins = environment, environment.n_bins
        self.log_z = nn.Parameter(torch.zeros(()))
        self.group_logits = nn.Parameter(torch.zeros(orbits.n_groups))
        self.place_logits = nn.Parameter(torch.zeros(len(orbits.place) + 1))
        self.seen = _Orbits(environment, width)
        self.placing = _Perceptron(width, layers, orbits.n_actions - orbits.n_groups + _KEYS)
        self.keys = nn.Linear(self.seen.features.shape[1], _KEYS)
        self.seen_whole = _Orbits(environment, width)
        most = environment.parameters.most
        self.numbers = nn.Linear(4 * most, width)
        self.meaning = nn.Embedding(3 * _MEANINGS, width)
        self.query = nn.Embedding(self.seen.n_pairs, width)
        self.place_query = nn.Embedding(len(orbits.place), width)
        self.place_described = nn.Linear(self.seen.features.shape[1], width)
        self.binning = _Perceptron(width, layers, self.n_bins)

    def orbit_log_probs(self, state: OrbitState) -> Float[Tensor, "batch action"]:
        """log P_F of every discrete action; -inf where not allowed."""
        orbits = self.environment.orbits
        n = len(state.group)
        choosing, placing = (state.group < 0).nonzero().squeeze(1), (state.group >= 0).nonzero()
        logits = torch.zeros(n, orbits.n_actions)
        if len(choosing):
            first = functional.pad(
                _FREE * self.group_logits, (0, orbits.n_actions - orbits.n_groups)
            )
            logits = logits.index_copy(0, choosing, first.expand(len(choosing), -1))
        if len(placing):
            rows = placing.squeeze(1)
            own = self._placing_logits(states.select(state, rows))
            logits = logits.index_copy(0, rows, functional.pad(own, (orbits.n_groups, 0)))
        return masked(logits, orbits.forward_mask(state))

    def _placing_logits(self, state: OrbitState) -> Float[Tensor, "batch placement"]:
        """Logits of placements and stop: by letter and element, and by position, with a free logit for each
        and another for its features."""
        orbits = self.environment.orbits
        logits, wanted = self.placing(self.seen(state)).split(
            [self.placing.n_outputs - _KEYS, _KEYS], 1
        )
        first = self.seen.first[state.group].unsqueeze(1)
        places = (first + torch.arange(orbits.width)).clamp_max(len(orbits.place))
        keys = functional.pad(self.keys(self.seen.features), (0, 0, 0, 1))
        own = _FREE * self.place_logits[places] + torch.einsum("bwk,bk->bw", keys[places], wanted)
        own = own.repeat_interleave(len(orbits.elements), 1)
        return logits + functional.pad(own, (0, 1))

    def bin_log_probs(self, state: CrystalState) -> Float[Tensor, "batch bin"]:
        """log-probability of each bin of the number that is set next; -inf where not allowed."""
        parameters, orbits = self.environment.parameters, state.orbits
        places = torch.arange(parameters.most) < state.n_set.unsqueeze(1)
        angle = 2 * math.pi * state.values.float()
        known = [torch.ones_like(angle), 2 * state.values.float() - 1, angle.cos(), angle.sin()]
        numbers = (torch.stack(known, 2) * places.unsqueeze(2)).flatten(1)
        kind, axis, slot = parameters.meaning(orbits, state.n_set)
        element = orbits.element.gather(1, slot.unsqueeze(1)).squeeze(1)
        position = orbits.position.gather(1, slot.unsqueeze(1)).squeeze(1)
        place = parameters.places(orbits).gather(1, slot.unsqueeze(1)).squeeze(1)
        hidden = (
            self.seen_whole(orbits)
            + self.numbers(numbers)
            + self.meaning(kind * _MEANINGS + axis)
            + self.query(position * len(self.environment.orbits.elements) + element)
            + self.place_query(place)
            + self.place_described(self.seen_whole.features[place])
        )
        return masked(self.binning(hidden), self.environment.allowed_bins(state))

    def behaviour(
        self, n: int, generator: torch.Generator, exploration: Exploration | None = None
    ) -> Behaviour:
        """Draws forward moves; epsilon and temperature act on bins as on numbered actions."""
        return _Forward(self, exploration or Exploration())

    def backward_behaviour(self, n: int, generator: torch.Generator) -> Behaviour:
        """Takes back moves by P_B."""
        return _Backward(self.environment)

    def score(self, trajectories: Trajectories, needs: Needs) -> list[Scores]:
        """Scores from one pass over all orbit states and one over all numbers.

        Raises InputError for objectives that need flows or partial rewards."""
        if needs != Needs():
            raise InputError(
                "the crystal policy has no flows of states: take the objective tb or log-variance"
            )
        visited, actions = trajectories.visited, trajectories.actions
        setting = visited.orbits.stopped
        log_pf = torch.zeros(len(actions))
        rows = (~setting).nonzero().squeeze(1)
        discrete = states.select(visited.orbits, rows)
        number = actions[rows, 0].long()
        table = self.orbit_log_probs(discrete)
        log_pf = log_pf.index_copy(0, rows, table.gather(1, number.unsqueeze(1)).squeeze(1))
        log_pb = torch.zeros(len(actions)).index_copy(0, rows, self._log_back(discrete, number))
        rows = setting.nonzero().squeeze(1)
        if len(rows):
            bins = self.bin_of(actions[rows, 1]).unsqueeze(1)
            table = self.bin_log_probs(states.select(visited, rows))
            density = table.gather(1, bins).squeeze(1) + math.log(self.n_bins)
            log_pf = log_pf.index_copy(0, rows, density)
        log_partition = self.log_partition(trajectories.start)
        return [scoring.assemble(trajectories, log_pf, log_pb, log_partition)]

    def _log_back(self, state: OrbitState, action: Int[Tensor, "row"]) -> Float[Tensor, "row"]:
        orbits = self.environment.orbits
        ways = orbits.backward_mask(orbits.step(state, action)).sum(1)
        return -ways.float().log()

    def bin_of(self, value: Float[Tensor, "row"]) -> Int[Tensor, "row"]:
        """The piece of [0, 1] that a number lies in."""
        return (value * self.n_bins).long().clamp(0, self.n_bins - 1)

    def log_partition(self, start: Any) -> Float[Tensor, "batch"]:
        return self.log_z.expand(states.n_rows(start))


class _Forward:
    def __init__(self, policy: CrystalPolicy, exploration: Exploration) -> None:
        self._policy, self._exploration = policy, exploration

    @torch.no_grad()
    def sample(
        self, state: CrystalState, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Float[Tensor, "alive"]]:
        policy = self._policy
        stopped = state.orbits.stopped
        action = torch.zeros(len(row), 2, dtype=torch.float64)
        log_prob = torch.zeros(len(row))
        rows = (~stopped).nonzero().squeeze(1)
        if len(rows):
            table = policy.orbit_log_probs(states.select(state.orbits, rows))
            number, log_prob[rows] = draw(explored(table, self._exploration), generator)
            action[rows, 0] = number.double()
        rows = stopped.nonzero().squeeze(1)
        if len(rows):
            table = policy.bin_log_probs(states.select(state, rows))
            bins, chosen = draw(explored(table, self._exploration), generator)
            inside = torch.rand(len(rows), generator=generator, dtype=torch.float64)
            action[rows, 0] = float(policy.environment.orbits.n_actions)
            action[rows, 1] = (bins + inside) / policy.n_bins
            log_prob[rows] = chosen + math.log(policy.n_bins)
        return action, log_prob


class _Backward:
    def __init__(self, environment: CrystalEnvironment) -> None:
        self._environment = environment

    @torch.no_grad()
    def sample(
        self, state: CrystalState, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Float[Tensor, "alive"]]:
        orbits = self._environment.orbits
        forgetting = state.n_set > 0
        mask: Bool[Tensor, "alive action"] = orbits.backward_mask(state.orbits)
        number, log_prob = draw(-mask.float().sum(1, keepdim=True).log() + mask.log(), generator)
        number = torch.where(forgetting, orbits.n_backward_actions, number)
        action = torch.stack([number.double(), torch.zeros(len(row), dtype=torch.float64)], 1)
        return action, log_prob.masked_fill(forgetting, 0.0)
