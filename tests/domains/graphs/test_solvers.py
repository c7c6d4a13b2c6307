"""Greedy rules, local search and the solvers of others, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from domains.graphs import exact_solvers
from domains.graphs.enumerable import optima
from domains.graphs.graphs import FIXED_IN, FIXED_OUT, with_fixed
from domains.graphs.instances import instances
from domains.graphs.long_search import tabu
from domains.graphs.solvers import Solver, plain_greedy, restarts
from tests.domains.graphs.graph_cases import TASKS, neighbours, random_graph
from workbench.errors import InputError

PETERSEN = {"mis": (4, 5), "clique": (2, 15), "mds": (3, 10), "cut": (12, 5)}


@pytest.mark.parametrize("name", TASKS)
def test_petersen(name):
    """The values are in every textbook; five independent sets of 4, and one maximum cut for each."""
    graph = instances("petersen", 1, 0)[0]
    value, sets = optima(TASKS[name], graph)
    assert (value, len(sets)) == PETERSEN[name]
    assert all(TASKS[name].feasible(graph, row) for row in sets)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_sets_are_solutions_and_restarts_reach_the_optimum(name, weighted):
    task, random = TASKS[name], np.random.default_rng(0)
    for seed in range(4):
        graph = with_fixed(random_graph(11, seed, 0.35, weighted), [3], [7])
        solver = Solver(task, graph)
        value, _ = optima(task, graph)
        noise = solver.noise(40, random)
        for blind in (False, True):
            raw = solver.greedy(noise, blind)
            better = solver.improved(raw)
            for row in (*raw, *better):
                assert task.feasible(graph, row) and row[3] and not row[7]
            gain = task.sign * (solver.values(better) - solver.values(raw))
            assert (gain >= -1e-9).all()
        assert solver.best(better)[0] == pytest.approx(float(value))


@pytest.mark.parametrize("name", TASKS)
def test_local_search_leaves_nothing_to_swap(name):
    """No (1,2)-swap, no (2,1)-swap and no flip improves what it returns, by trying them all."""
    task, random = TASKS[name], np.random.default_rng(1)
    graph = random_graph(10, 6, 0.3, weighted=name == "cut")
    solver = Solver(task, graph)
    free = np.flatnonzero(solver.graph.fixed == 0)
    for row in solver.improved(solver.greedy(solver.noise(5, random), True)):
        value = solver.values(row[None])[0]
        for out_and_in in itertools.combinations(free, {"cut": 1}.get(name, 3)):
            changed = row.copy()
            changed[list(out_and_in)] ^= True
            removed = int((row & ~changed).sum())
            swap = {"mis": (1, 2), "clique": (1, 2), "mds": (2, 1)}.get(name)
            if swap and (removed, len(out_and_in) - removed) != swap:
                continue
            if task.feasible(graph, changed):
                assert task.sign * (solver.values(changed[None])[0] - value) <= 1e-9


def test_greedy_is_the_rule():
    """Minimum degree by a plain loop."""
    graph = random_graph(30, 2, 0.15, weighted=False)
    around, left, chosen = neighbours(graph), set(range(30)), set()
    while left:
        v = min(left, key=lambda u: (len(around[u] & left), u))
        chosen.add(v)
        left -= around[v] | {v}
    found = plain_greedy(Solver(TASKS["mis"], graph))
    assert found.chosen is not None and set(np.flatnonzero(found.chosen)) == chosen


def test_budgets():
    solver, random = Solver(TASKS["mis"], random_graph(30, 1)), np.random.default_rng(0)
    restarts(solver, random, 1)
    found, n = restarts(solver, random, seconds=0.02)
    assert n > 20 and 0.02 <= found.seconds < 0.2
    assert restarts(solver, random, 7)[1] == 7


@pytest.mark.parametrize("name", TASKS)
def test_cp_sat_proves_the_optimum(name):
    pytest.importorskip("ortools")
    for seed, weighted in ((0, False), (1, True)):
        graph = with_fixed(random_graph(10, seed, 0.4, weighted), [2], [5])
        value, _ = optima(TASKS[name], graph)
        found = exact_solvers.cp_sat(TASKS[name], graph, 10.0)
        assert found.chosen is not None and TASKS[name].feasible(graph, found.chosen)
        assert found.value == pytest.approx(float(value), abs=1e-4)
        assert found.bound == pytest.approx(float(value), abs=1e-4)
        assert found.chosen[2] and not found.chosen[5]


def test_edge_cliques_hold_every_edge_and_nothing_else():
    graph = random_graph(20, 3, 0.5)
    edges, _ = graph.edges()
    around = neighbours(graph)
    held = set()
    for clique in exact_solvers._edge_cliques(20, edges):
        for u, v in itertools.combinations(sorted(clique), 2):
            assert v in around[u]
            held.add((u, v))
    assert held == set(map(tuple, edges.tolist()))


@pytest.mark.parametrize("name", ["mis", "clique"])
def test_kamis(name):
    pytest.importorskip("chszlablib")
    graph = with_fixed(random_graph(12, 3, 0.4, weighted=False), [2], [5])
    value, _ = optima(TASKS[name], graph)
    found = exact_solvers.kamis(TASKS[name], graph, 0.2)
    assert found.chosen is not None and TASKS[name].feasible(graph, found.chosen)
    assert found.value == value and found.chosen[2] and not found.chosen[5]
    assert not (found.chosen & (graph.fixed == FIXED_OUT)).any()
    assert found.chosen[graph.fixed == FIXED_IN].all()


def test_kamis_knows_two_tasks_and_extras_may_be_absent(monkeypatch):
    graph = random_graph(5, 0)
    with pytest.raises(InputError, match="not cut"):
        exact_solvers.kamis(TASKS["cut"], graph, 1.0)
    monkeypatch.setattr(exact_solvers, "is_installed", lambda module: False)
    for solve in (exact_solvers.kamis, exact_solvers.cp_sat):
        with pytest.raises(InputError, match=r"not installed: pip install"):
            solve(TASKS["mis"], graph, 1.0)


def test_cp_sat_proves_a_dominating_set_soon():
    """Only with clauses in its linear relaxation; with the defaults it has no bound after many seconds."""
    pytest.importorskip("ortools")
    graph = instances("ba-small", 1, 2)[0]
    found = exact_solvers.cp_sat(TASKS["mds"], graph, 20.0)
    assert found.value == found.bound == 31.0 and found.seconds < 20.0


def test_what_cp_sat_says_of_a_cut_is_its_value():
    """Long before the optimum, edges may cross that the programme does not count."""
    pytest.importorskip("ortools")
    task, graph = TASKS["cut"], instances("ba-small", 2, 2)[1]
    found = exact_solvers.cp_sat(task, graph, 3.0)
    assert found.chosen is not None
    assert Solver(task, graph).values(found.chosen[None])[0] == found.value == found.curve[-1][1]


def test_curves_get_better_and_end_with_the_solution():
    task, random = TASKS["cut"], np.random.default_rng(3)
    solver = Solver(task, instances("er-small", 1, 0)[0])
    found = [restarts(solver, random, seconds=0.02)[0], tabu(solver, random, 0.02)]
    if exact_solvers.is_installed("ortools"):
        found.append(exact_solvers.cp_sat(TASKS["mis"], solver.graph, 0.5))
    for solution in found:
        seconds, values = np.array(solution.curve).T
        assert (np.diff(seconds) >= 0).all() and (np.diff(values) >= 0).all()
        assert solution.curve[-1] == (solution.seconds, solution.value)
