"""The four environments: moves, parents and rewards against plain definitions and exact enumeration."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
import torch

from domains.graphs.enumerable import Enumerated, all_sets
from domains.graphs.environment import SetBuilding
from domains.graphs.graphs import FIXED_IN, FIXED_OUT, Graph, make_graph, with_fixed
from tests.domains.graphs.graph_cases import TASKS, neighbours, random_graph, small_graphs
from workbench.errors import InputError
from workbench.gflownet import exact
from workbench.gflownet.checks import (
    check_backward_policy,
    check_environment,
    check_on_rollouts,
)

GRAPHS = small_graphs()


def worth(task, graph, chosen: set[int]) -> float:
    if task.name != "cut":
        return float(sum(graph.vertex_weight[v] for v in chosen))
    edges, weights = graph.edges()
    return float(
        sum(
            w
            for (u, v), w in zip(edges.tolist(), weights, strict=True)
            if (u in chosen) != (v in chosen)
        )
    )


def objects_of(task, graph) -> set[tuple[int, ...]]:
    """By definition: maximal independent sets and cliques; dominating sets that some order builds with every
    vertex dominating a new one; any set for cut."""
    sets = [set(np.flatnonzero(row).tolist()) for row in all_sets(task, graph)]
    if task.name == "mds":
        return _built(graph)
    around = neighbours(graph)
    free = {v for v in range(graph.n_vertices) if graph.fixed[v] != FIXED_OUT}

    def allowed(v, others):
        return not (others & around[v]) if task.name == "mis" else others <= around[v]

    return {
        tuple(sorted(chosen))
        for chosen in sets
        if task.name == "cut"
        or (
            all(allowed(v, chosen - {v}) for v in chosen)
            and not any(allowed(v, chosen) for v in free - chosen)
        )
    }


def _built(graph) -> set[tuple[int, ...]]:
    closed = [near | {v} for v, near in enumerate(neighbours(graph))]
    level = {frozenset(np.flatnonzero(graph.fixed == FIXED_IN).tolist())}
    done = set()
    while level:
        following = set()
        for chosen in level:
            covered = set().union(*[closed[v] for v in chosen])
            if len(covered) == graph.n_vertices:
                done.add(tuple(sorted(chosen)))
            for v in range(graph.n_vertices):
                if graph.fixed[v] != FIXED_OUT and closed[v] - covered:
                    following.add(chosen | {v})
        level = following
    return done


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("number", range(len(GRAPHS)))
def test_moves_parents_and_objects(name, number):
    task, graph = TASKS[name], GRAPHS[number]
    environment = Enumerated(task, graph)
    check_environment(environment)
    states = environment.all_states()
    objects = states.chosen[states.stopped]
    listed = {tuple(row.nonzero().squeeze(1).tolist()) for row in objects}
    prepared = task.prepared(graph)
    assert listed == objects_of(task, prepared) and len(objects) == len(listed)
    values = environment.value(states).tolist()
    for row, value in zip(states.chosen, values, strict=True):
        chosen = set(row.nonzero().squeeze(1).tolist())
        assert value == pytest.approx(worth(task, prepared, chosen), abs=1e-9)


def check_law(name: str, drawn: Graph) -> None:
    """P_B sums to one over real parents, and the policy that balances it draws objects as R / Z."""
    environment = Enumerated(TASKS[name], drawn)
    graph = exact.state_graph(environment)
    log_pb = exact.uniform_policy(graph.backward_mask)
    check_backward_policy(environment, graph, log_pb)
    law = exact.log_visits(graph, exact.optimal_policy(graph, log_pb))
    assert torch.allclose(law[graph.terminal], graph.log_target[graph.terminal], atol=1e-9)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_uniform_parents_give_the_exact_law(name, seed):
    check_law(name, random_graph(8, seed))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    "n",
    [1, 2, 3, 4, pytest.param(5, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.slow)],
)
def test_the_law_is_exact_on_every_graph_of_so_many_vertices(name, n):
    """All graphs up to isomorphism: 1, 2, 4, 11, 34 and 156 of them."""
    known = [graph for graph in networkx.graph_atlas_g() if graph.number_of_nodes() == n]
    assert len(known) == [1, 2, 4, 11, 34, 156][n - 1]
    for graph in known:
        check_law(name, make_graph(str(graph), n, np.array(graph.edges, dtype=int).reshape(-1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_the_law_is_exact_on_graphs_of_seven_and_eight_vertices(name):
    """Of all densities, with and without weights."""
    for seed in range(20):
        for n in (7, 8):
            check_law(name, random_graph(n, seed, (seed + 1) / 21, weighted=seed % 2 == 0))


@pytest.mark.parametrize("name", TASKS)
def test_batches_of_graphs_of_different_sizes(name, generator):
    graphs = [random_graph(n, n, p) for n, p in ((5, 0.5), (12, 0.3), (30, 0.15), (9, 0.9))]
    environment = SetBuilding(TASKS[name], graphs)
    check_on_rollouts(environment, 16, generator)
    one_by_one = [SetBuilding(TASKS[name], [graph]) for graph in graphs]
    state = environment.initial_state(8)
    for _ in range(3):
        mask = environment.forward_mask(state)
        for row, g in enumerate(state.graph.tolist()):
            n = graphs[g].n_vertices
            alone = type(state)(
                torch.zeros(1, dtype=torch.int64),
                state.chosen[row : row + 1, :n].contiguous(),
                state.stopped[row : row + 1],
            )
            assert torch.equal(one_by_one[g].forward_mask(alone)[0, :n], mask[row, :n])
            assert not mask[row, n : environment.width].any()
        going = mask.any(1)
        action = torch.where(
            going,
            torch.multinomial(mask.float() + ~going.unsqueeze(1), 1, generator=generator)[:, 0],
            0,
        )
        state = environment.step(state, action)


def test_starts_are_drawn_in_groups(generator):
    environment = SetBuilding(TASKS["mis"], [random_graph(6, s) for s in range(5)], per_graph=3)
    state = environment.draw_start(10, generator)
    assert len(state.graph) == 10
    assert all(len(set(state.graph[k : k + 3].tolist())) == 1 for k in (0, 3, 6))
    assert torch.equal(environment.condition(state), state.graph)


@pytest.mark.parametrize("name", TASKS)
def test_local_search_gives_objects_that_are_no_worse(name, generator):
    graph = random_graph(8, 5)
    environment = Enumerated(TASKS[name], graph)
    states = environment.all_states()
    rows = states.stopped.nonzero().squeeze(1)
    objects = type(states)(states.graph[rows], states.chosen[rows], states.stopped[rows])
    better = environment.improved(objects)
    index = environment.index(better)
    assert torch.equal(states.chosen[index], better.chosen) and bool(states.stopped[index].all())
    assert bool((environment.log_reward(better) >= environment.log_reward(objects) - 1e-9).all())
    assert bool((environment.log_reward(better) > environment.log_reward(objects) + 1e-9).any())


@pytest.mark.parametrize(
    ("name", "inside", "outside", "words"),
    [
        ("mis", [0, 1], [], "adjacent and both fixed in"),
        ("clique", [0, 2], [], "not adjacent to all"),
        ("mds", [], [0, 1, 3], "nothing can dominate"),
        ("cut", [0, 1, 2], [3], "nothing is left"),
    ],
)
def test_what_cannot_be_solved_is_refused(name, inside, outside, words):
    square = make_graph("square", 4, np.array([[0, 1], [1, 2], [2, 3], [3, 0]]))
    with pytest.raises(InputError, match=words):
        SetBuilding(TASKS[name], [with_fixed(square, inside, outside)])
