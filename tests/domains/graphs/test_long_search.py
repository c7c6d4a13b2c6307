"""Searches that go on: exact optima of small graphs, values and feasibility after every chunk, budgets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from domains.graphs import long_search
from domains.graphs.enumerable import optima
from domains.graphs.graphs import make_graph, with_fixed
from domains.graphs.instances import instances
from domains.graphs.long_search import from_greedy, local_optima, searched, starts_from, tabu
from domains.graphs.solvers import Solver
from tests.domains.graphs.graph_cases import TASKS, random_graph
from workbench.errors import InputError


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [0.15, 0.4, 0.8])
def test_reaches_the_optimum_from_one_random_start(name, weighted, p):
    """By enumeration, with and without fixed vertices, on graphs of up to 12 vertices."""
    task, random = TASKS[name], np.random.default_rng(0)
    for seed, n in itertools.product(range(3), (5, 9, 12)):
        graph = random_graph(n, seed, p, weighted)
        for one in (graph, with_fixed(graph, [1], [4])):
            try:
                solver = Solver(task, one)
            except InputError:  # vertex 4 alone cannot be dominated
                continue
            start = next(local_optima(solver, random))
            found = list(itertools.islice(long_search._from_one(solver, start, random), 12))[-1]
            assert found[1] * task.sign == pytest.approx(float(optima(task, one)[0]))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_best_set_is_a_solution_of_the_record_after_every_chunk(name, weighted):
    task, random = TASKS[name], np.random.default_rng(1)
    graph = with_fixed(random_graph(60, 3, 0.12, weighted), [3], [7])
    solver = Solver(task, graph)
    start, last = next(local_optima(solver, random)), -np.inf
    for best, value in itertools.islice(long_search._from_one(solver, start, random), 6):
        assert task.feasible(graph, best) and best[3] and not best[7]
        assert task.sign * solver.values(best[None])[0] == pytest.approx(value)
        assert value >= last
        last = value


@pytest.mark.parametrize("name", TASKS)
def test_what_a_chunk_remembers_is_what_a_longer_chunk_does(name):
    """Two chunks with one memory make the moves of one chunk of both lengths."""
    task, random = TASKS[name], np.random.default_rng(2)
    solver = Solver(task, random_graph(40, 5, 0.2, weighted=False))
    start = next(local_optima(solver, random))
    chunk, draws = long_search._CHUNKS[name], random.random((60, 2))
    record = task.sign * solver.values(start[None])[0]
    ends = []
    for parts in ([draws], [draws[:25], draws[25:]]):
        chosen, best, memory = start.copy(), start.copy(), np.zeros((3, 40))
        reached, now = record, 0
        for part in parts:
            reached = chunk(*solver.arrays, part, now, reached, chosen, best, memory)
            now += len(part)
        ends.append((chosen.tolist(), best.tolist(), memory.tolist(), reached))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("name", TASKS)
def test_never_worse_than_the_first_start_and_within_its_time(name):
    task, random = TASKS[name], np.random.default_rng(0)
    solver = Solver(task, instances("er-small", 1, 0)[0])
    sets = solver.greedy(solver.noise(4, random), blind=True)
    searched(solver, starts_from(solver, sets, random), random, 0.0)
    least = solver.best(solver.improved(sets))[0]
    at_once, n = searched(solver, starts_from(solver, sets, random), random, -1.0)
    assert (at_once.value, n) == (least, 1)
    longer, _ = searched(solver, starts_from(solver, sets, random), random, 0.05)
    assert longer.value is not None and task.sign * (longer.value - least) >= 0
    assert 0.05 <= longer.seconds < 0.5


def test_starts_are_taken_in_turn_the_best_first_and_then_random_ones():
    random = np.random.default_rng(0)
    solver = Solver(TASKS["mis"], random_graph(30, 1))
    sets = solver.greedy(solver.noise(3, random))
    turns = np.stack(list(itertools.islice(starts_from(solver, sets, random), 40)))
    values = solver.values(turns)
    assert (np.diff(values[:3]) <= 0).all() and (np.diff(values[3:]) > 0).any()
    assert sorted(values[:3]) == sorted(solver.values(solver.improved(sets)))
    assert searched(solver, iter(turns), random, 0.05)[1] >= 2
    greedy = np.stack(list(itertools.islice(from_greedy(solver, 5, random), 5)))
    assert (np.diff(solver.values(greedy)) <= 0).all()


def test_where_nothing_can_move_the_start_is_kept():
    graph = with_fixed(make_graph("pair", 2, np.array([[0, 1]])), [0], [1])
    random = np.random.default_rng(0)
    for task in TASKS.values():
        solver = Solver(task, graph)
        found, _ = searched(solver, local_optima(solver, random), random, 0.001)
        assert found.chosen is not None and found.chosen.tolist() == [True, False]


def test_tabu_search_finds_the_best_cut():
    random = np.random.default_rng(0)
    for seed in range(3):
        graph = random_graph(14, seed, 0.5)
        value, _ = optima(TASKS["cut"], graph)
        found = tabu(Solver(TASKS["cut"], graph), random, 0.05)
        assert found.value == pytest.approx(float(value))
