"""Sets of vertices built one by one, on batches of graphs of different sizes: an `Environment` of a task.

A state is (graph, chosen vertices, stopped). Action v adds vertex v; the last action stops, where the task
has stops. The log-reward is the task's value in units of the graph's mean weight, positive where it is
maximised, and the partial one of an unfinished set is the same: a power beta of the reward is the
temperature's affair, and means the same on graphs of any scale of weights.

The environment is conditional: each trajectory has a graph of its own, drawn by `draw_start`, and log Z depends
on it. Everything happens on the CPU, in compiled loops over rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.graphs import _kernels
from domains.graphs.graphs import FIXED_IN, Graph, Graphs, collect, mean_weights
from domains.graphs.solvers import Solver
from domains.graphs.task import Look, Task
from workbench.errors import InputError


@dataclass(frozen=True)
class SetState:
    """graph     number of the graph of each row
    chosen    which vertices are in the set; False beyond the last vertex
    stopped   whether the set is finished
    """

    graph: Int[Tensor, "batch"]
    chosen: Bool[Tensor, "batch width"]
    stopped: Bool[Tensor, "batch"]


class SetBuilding:
    """The environment of `task` on `graphs`: a `DiscreteEnvironment`, a `PartialReward` and `Conditional`.

    per_graph   trajectories that `draw_start` gives each graph it draws
    unit        of the log-reward on each graph: its mean vertex weight, or mean absolute edge weight
    Raises InputError for a graph on which the task has no solution or nothing is left to choose.
    """

    def __init__(self, task: Task, graphs: Sequence[Graph], per_graph: int = 1) -> None:
        self.task = task
        self.graphs: Graphs = collect([task.prepared(graph) for graph in graphs])
        self.per_graph = per_graph
        self.name = f"{task.title} on {len(graphs)} graphs"
        self.width = self.graphs.width
        self.n_actions = self.n_backward_actions = self.width + task.stops
        self.n_features = 2 * self.width + 1
        self._start = torch.zeros(len(graphs), self.width, dtype=torch.bool)
        for row, graph in enumerate(self.graphs.graphs):
            self._start[row, : graph.n_vertices] = torch.from_numpy(graph.fixed == FIXED_IN)
        vertices, edges = mean_weights(self.graphs)
        self.unit = torch.from_numpy(edges if task.weighs_edges else vertices)
        self._solvers: dict[int, Solver] = {}
        self._check_open()
        free = np.diff(self.graphs.first) - self._start.sum(1).numpy()
        self.max_steps = int(free.max()) + task.stops

    def _check_open(self) -> None:
        look = self.look(torch.arange(len(self.graphs)), self._start)
        for row in np.flatnonzero(~look.allowed.any(1)):
            raise InputError(
                f"nothing is left to choose on graph {self.graphs.graphs[row].name}: fix fewer vertices"
            )

    def _solver(self, graph: int) -> Solver:
        if graph not in self._solvers:
            self._solvers[graph] = Solver(self.task, self.graphs.graphs[graph])
        return self._solvers[graph]

    def __deepcopy__(self, memo: dict[int, Any]) -> SetBuilding:
        """Itself: averaged copies of a policy share the graphs."""
        return self

    def look(self, graph: Int[Tensor, "batch"], chosen: Bool[Tensor, "batch width"]) -> Look:
        """What the moves and the network need to know of states."""
        return self.task.look(self.graphs, graph.numpy(), chosen.numpy())

    def start(self, graph: Int[Tensor, "batch"]) -> SetState:
        """Initial states on the given graphs."""
        return SetState(graph, self._start[graph], torch.zeros(len(graph), dtype=torch.bool))

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> SetState:
        """Initial states on the graphs in turn."""
        return self.start(torch.arange(batch, device=device) % len(self.graphs))

    def draw_start(self, n: int, generator: torch.Generator) -> SetState:
        """Initial states on random graphs, `per_graph` on each."""
        drawn = torch.randint(
            len(self.graphs), (-(-n // self.per_graph),), generator=generator, device="cpu"
        )
        return self.start(drawn.repeat_interleave(self.per_graph)[:n])

    def condition(self, state: SetState) -> Int[Tensor, "batch"]:
        """What log Z depends on: the graph."""
        return state.graph

    def is_initial(self, state: SetState) -> Bool[Tensor, "batch"]:
        return ~state.stopped & (state.chosen == self._start[state.graph]).all(1)

    def is_terminal(self, state: SetState) -> Bool[Tensor, "batch"]:
        return state.stopped

    def step(self, state: SetState, action: Int[Tensor, "batch"]) -> SetState:
        chosen, stopped = state.chosen.clone(), state.stopped.clone()
        stopping = action == self.width
        rows = (~state.stopped & ~stopping).nonzero().squeeze(1)
        chosen[rows, action[rows]] = True
        stopped |= stopping
        if not self.task.stops:
            look = self.look(state.graph[rows], chosen[rows])
            stopped[rows] = torch.from_numpy(~look.allowed.any(1))
        return SetState(state.graph, chosen, stopped)

    def backward_step(self, state: SetState, action: Int[Tensor, "batch"]) -> SetState:
        chosen = state.chosen.clone()
        rows = (~self.is_initial(state) & (action < self.width)).nonzero().squeeze(1)
        chosen[rows, action[rows]] = False
        return SetState(state.graph, chosen, torch.zeros_like(state.stopped))

    def undoing(self, state: SetState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        return action

    def redoing(self, state: SetState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        return action

    def forward_mask(self, state: SetState) -> Bool[Tensor, "batch action"]:
        allowed = torch.from_numpy(self.look(state.graph, state.chosen).allowed)
        if self.task.stops:
            allowed = torch.cat([allowed, torch.ones_like(state.stopped).unsqueeze(1)], 1)
        return allowed & ~state.stopped.unsqueeze(1)

    def backward_mask(self, state: SetState) -> Bool[Tensor, "batch action"]:
        found = self.task.parents(self.graphs, state.graph.numpy(), state.chosen.numpy())
        removable = torch.from_numpy(found)
        if not self.task.stops:
            return removable
        stopped = state.stopped.unsqueeze(1)
        return torch.cat([removable & ~stopped, stopped], 1)

    def features(self, state: SetState) -> Float[Tensor, "batch feature"]:
        """Chosen and allowed vertices and whether the set is finished, float32: for perceptrons on one small
        graph. `GraphPolicy` has features of its own."""
        allowed = self.forward_mask(state)[:, : self.width]
        return torch.cat([state.chosen, allowed, state.stopped.unsqueeze(1)], 1).float()

    def value(self, state: SetState) -> Float[Tensor, "batch"]:
        """Worth of each set in the units of the weights, finished or not, float64."""
        found = self.task.value(self.graphs, state.graph.numpy(), state.chosen.numpy())
        return torch.from_numpy(found)

    def log_reward(self, state: SetState) -> Float[Tensor, "batch"]:
        return self.task.sign * self.value(state) / self.unit[state.graph]

    def log_partial_reward(self, state: SetState) -> Float[Tensor, "batch"]:
        return self.log_reward(state)

    def improved(self, state: SetState) -> SetState:
        """Finished sets after local search, finished and built by allowed moves like all others."""
        chosen = state.chosen.clone()
        for g in state.graph.unique().tolist():
            rows = (state.graph == g).nonzero().squeeze(1)
            n = self.graphs.graphs[g].n_vertices
            found = self._solver(g).improved(chosen[rows, :n].numpy())
            chosen[rows, :n] = torch.from_numpy(found)
        return SetState(state.graph, chosen, torch.ones_like(state.stopped))

    def keys(self, state: SetState) -> Int[Tensor, "batch"]:
        """A number for each row, equal for equal states."""
        key = np.zeros(len(state.graph), dtype=np.int64)
        _kernels.state_hashes(state.graph.numpy(), state.chosen.numpy(), state.stopped.numpy(), key)
        return torch.from_numpy(key)
