"""Rollouts of the graph sampler, batched, against the usual formulation of one graph at a time in Python.

    python -m tests.benchmarks graphs

Both draw 64 maximal independent sets, one on each of 64 RB graphs of 200 to 300 vertices, with the same
network and weights. The other formulation keeps a list of Python objects, each with its torch-geometric edge
index and a set of excluded vertices; it asks the network for one graph at a time, on the subgraph of the
vertices that are still allowed, gathers and scatters messages edge by edge, and draws from a dictionary
of masked logits. So the network sees the same problems; what is compared is the batch. A second entry has
the sums over neighbours alone, on the whole batch: ours against torch-geometric's scatter.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import degree, scatter, subgraph

from domains.graphs.environment import SetBuilding
from domains.graphs.graphs import Graph
from domains.graphs.independent_set import TASK
from domains.graphs.instances import instances
from domains.graphs.open_problems import open_problems
from domains.graphs.policy import GraphPolicy
from workbench.gflownet import rollout

BATCH, REPEATS = 64, 5


class OneGraph:
    """A growing independent set of one graph, as Python objects."""

    def __init__(self, graph: Graph) -> None:
        edges = torch.from_numpy(graph.edges()[0]).T
        self.edge_index = torch.cat([edges, edges.flip(0)], 1)
        self.neighbours = [
            graph.neighbour[graph.pointer[v] : graph.pointer[v + 1]].tolist()
            for v in range(graph.n_vertices)
        ]
        self.allowed = set(range(graph.n_vertices))
        self.chosen: list[int] = []

    def add(self, v: int) -> None:
        self.chosen.append(v)
        self.allowed -= {v, *self.neighbours[v]}

    def features(self, nodes: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features of `open_problems`, the scale of sums and the hints."""
        n = len(nodes)
        degrees = degree(edge_index[0], n)
        mean = degrees.mean()
        ones = torch.ones(n)
        x = 1 / (degrees + 1)
        hints = [x.log()]
        for _ in range(TASK.n_hints - 1):
            total = x + scatter(x[edge_index[1]], edge_index[0], dim_size=n, reduce="sum")
            hints.append(-total.log())
            x = x / total
        scores = torch.stack(hints, 1)
        over_best = (scores - scores.amax(0)).clamp(-10, 10)
        columns = [
            ones, ones, degrees.log1p(), degrees / (mean + 1), ones,
            torch.full((n,), float(len(self.chosen))).log1p(), torch.full((n,), float(n)).log1p(),
            scores[:, 0].clamp(-10, 10), *over_best.T,
        ]  # fmt: skip
        return torch.stack(columns, 1), 1 / (mean + 1), scores


def scattered(policy: GraphPolicy, x: Tensor, edge_index: Tensor, scale: Tensor) -> Tensor:
    """The policy's network with messages gathered and scattered edge by edge."""
    network = policy.network
    h = network.first(x)
    for layer in network.layers:
        around = scatter(h[edge_index[1]], edge_index[0], dim_size=len(h), reduce="sum")
        h = h + layer.mlp((1 + layer.epsilon) * h + scale * around)
    return network.last(network.norm(h))


@torch.no_grad()
def per_graph_rollout(
    policy: GraphPolicy, graphs: list[Graph], generator: torch.Generator
) -> list[list[int]]:
    found = []
    for one in [OneGraph(graph) for graph in graphs]:
        while one.allowed:
            nodes = torch.tensor(sorted(one.allowed))
            edge_index, _ = subgraph(
                nodes, one.edge_index, relabel_nodes=True, num_nodes=len(one.neighbours)
            )
            x, scale, scores = one.features(nodes, edge_index)
            logits = scattered(policy, x, edge_index, scale)[:, 0] + policy.hinted(scores)
            drawn = torch.multinomial(logits.softmax(0), 1, generator=generator)
            one.add(int(nodes[drawn]))
        found.append(one.chosen)
    return found


@torch.no_grad()
def batched_rollout(policy: GraphPolicy, generator: torch.Generator) -> Tensor:
    environment = policy.environment
    start = environment.initial_state(BATCH)
    return rollout.forward(environment, policy.behaviour(BATCH, generator), start, generator).final


def compared(ours: Callable[[], Any], theirs: Callable[[], Any], unit: str) -> dict[str, Any]:
    """Interleaved repeats, so that a busy machine slows both alike; seconds of processor time."""
    ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for call, kept in zip((ours, theirs), times, strict=True):
            began = time.process_time()
            call()
            kept.append(time.process_time() - began)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
        "ours": statistics.median(times[0]),
        "theirs": statistics.median(times[1]),
        "unit": unit,
    }


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    graphs = instances("rb-small", BATCH, 0)
    policy = GraphPolicy(SetBuilding(TASK, graphs), width=32, n_layers=2)
    generator = torch.Generator().manual_seed(0)
    nodes = open_problems(policy.environment, policy.environment.initial_state(BATCH))
    x = torch.randn(len(nodes.row), 32)
    tail = torch.arange(len(x)).repeat_interleave(nodes.adjacency.pointer.diff())
    head = nodes.adjacency.neighbour.long()
    rollouts = compared(
        lambda: batched_rollout(policy, generator),
        lambda: per_graph_rollout(policy, graphs, generator),
        "CPU seconds for 64 independent sets on RB graphs of 200-300 vertices",
    )
    sums = compared(
        lambda: nodes.adjacency.sums(x),
        lambda: scatter(x[head], tail, dim_size=len(x), reduce="sum"),
        "CPU seconds for one sum over neighbours, 64 graphs, width 32",
    )
    return {"graph_rollout_vs_per_graph_python": rollouts, "graph_neighbour_sums": sums}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
