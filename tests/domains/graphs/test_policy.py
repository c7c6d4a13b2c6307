"""The conditional policy: probabilities, balance at every objective's needs, and the law it learns."""

from __future__ import annotations

import pytest
import torch

from domains.graphs.enumerable import Enumerated
from domains.graphs.environment import SetBuilding
from domains.graphs.open_problems import open_problems
from domains.graphs.policy import GraphPolicy, log_softmax_in_rows, log_sum_in_rows
from tests.domains.graphs.graph_cases import TASKS, random_graph
from tests.workbench.gflownet.spaces import Word
from workbench.errors import InputError
from workbench.gflownet import algorithm, exact, rollout, states
from workbench.gflownet.options import (
    Exploration,
    GFlowNetConfig,
    LocalSearchConfig,
    ReplayConfig,
    TemperatureConfig,
)
from workbench.gflownet.trajectories import Needs


def shaken(environment, **options) -> GraphPolicy:
    """A policy whose network says something."""
    torch.manual_seed(1)
    policy = GraphPolicy(environment, width=16, n_layers=2, **options)
    torch.nn.init.normal_(policy.network.last.weight, std=0.2)
    with torch.no_grad():
        policy.hint_scale = 1.0
        policy.hint_weights.normal_(std=0.1)
    return policy


@pytest.mark.parametrize("name", TASKS)
def test_laws_over_actions_and_parents(name):
    space = Enumerated(TASKS[name], random_graph(7, 1))
    policy, listed = shaken(space), space.all_states()
    forward = policy.forward_log_probs(listed)
    mask = space.forward_mask(listed)
    assert torch.equal(forward > -torch.inf, mask)
    going = ~listed.stopped
    torch.testing.assert_close(forward[going].exp().sum(1), torch.ones(int(going.sum())))
    for kind in ("learned", "uniform"):
        policy.backward_kind = kind
        backward = policy.backward_log_probs(listed)
        assert torch.equal(backward > -torch.inf, space.backward_mask(listed))
        torch.testing.assert_close(backward[1:].exp().sum(1), torch.ones(len(backward) - 1))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("backward", ["learned", "uniform"])
def test_scores_are_what_was_drawn(name, backward, generator):
    """Forward and backward draws report the log-probabilities that scoring finds."""
    graphs = [random_graph(n, n) for n in (4, 9, 14)]
    environment = SetBuilding(TASKS[name], graphs)
    policy = shaken(environment, backward=backward)
    start = environment.start(torch.tensor([0, 1, 2, 2, 1, 0]))
    drawn = rollout.forward(environment, policy.behaviour(6, generator), start, generator)
    scores = policy.score(drawn, Needs(flow=True, partial=True))[0]
    torch.testing.assert_close(scores.log_pf, drawn.padded(drawn.log_behaviour))
    back = rollout.backward(
        environment, policy.backward_behaviour(6, generator), drawn.final, generator
    )
    scores = policy.score(back, Needs())[0]
    torch.testing.assert_close(scores.log_pb, back.padded(back.log_behaviour))
    start = environment.start(drawn.final.graph)
    torch.testing.assert_close(scores.log_partition, policy.log_partition(start))


def test_draws_follow_the_law(generator):
    space = Enumerated(TASKS["mis"], random_graph(8, 2))
    policy = shaken(space)
    graph = exact.state_graph(space)
    law = exact.log_visits(graph, exact.tabulate(graph, policy.forward_log_probs)).exp()
    n = 4000
    start = space.initial_state(n)
    final = rollout.forward(space, policy.behaviour(n, generator), start, generator).final
    seen = torch.bincount(space.index(final), minlength=space.n_states) / n
    error = (law * (1 - law) / n).sqrt()
    at = graph.terminal & (law > 1e-3)
    assert bool(((seen - law)[at].abs() < 5 * error[at]).all())


def test_exploration_mixes_and_flattens(generator):
    space = Enumerated(TASKS["cut"], random_graph(6, 3))
    policy = shaken(space)
    n = 20_000
    behaviour = policy.behaviour(n, generator, Exploration(epsilon=0.3, temperature=2.0))
    start = space.initial_state(n)
    action, log_prob = behaviour.sample(start, torch.arange(n), generator)
    base = policy.forward_log_probs(start)[0]
    flat = (base / 2).log_softmax(0).exp()
    expected = 0.7 * flat + 0.3 * (base > -torch.inf) / (base > -torch.inf).sum()
    torch.testing.assert_close(log_prob, expected.log()[action])
    seen = torch.bincount(action, minlength=len(base)) / n
    assert bool(((seen - expected).abs() < 5 * (expected / n).sqrt() + 1e-9).all())


def test_rows_of_ragged_softmax():
    values = torch.tensor([1.0, -torch.inf, 2.0, 0.5])
    row = torch.tensor([0, 0, 1, 0])
    expected = torch.tensor([[1.0, 0.5]]).logsumexp(1)
    torch.testing.assert_close(log_sum_in_rows(values, row, 2), torch.cat([expected, values[2:3]]))
    assert torch.equal(log_softmax_in_rows(values, row, 2)[1:3], torch.tensor([-torch.inf, 0.0]))


OBJECTIVES = {
    "tb": {},
    "fl-db": {},
    "fl-subtb": {},
    "led": {},
    "log-variance": {"local_search": LocalSearchConfig(domain=True)},
    "db": {"replay": ReplayConfig("uniform", 200)},
    "subtb": {"local_search": LocalSearchConfig(rounds=1)},
    "flow-matching": {"backward": "uniform"},
    "path-consistency": {"backward": "likelihood"},
    "soft-q": {"replay": ReplayConfig("diverse", 50, paths="backward")},
    "mellowmax": {"replay": ReplayConfig("prioritised", 50)},
    "reverse-kl": {},
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_takes_a_step(objective, generator):
    graphs = [random_graph(n, n, 0.3) for n in (5, 8, 11)]
    environment = SetBuilding(TASKS["mds"], graphs, per_graph=4)
    settings = {"backward": "learned"} | OBJECTIVES[objective]
    config = GFlowNetConfig(objective=objective, steps=3, batch=12, **settings)
    looking = objective in ("fl-db", "fl-subtb", "led")
    state = algorithm.init(
        config, environment, generator, shaken(environment, forward_looking=looking)
    )
    before = [p.clone() for p in state.policy.parameters()]
    for _ in range(3):
        state, info = algorithm.step(config, environment, state)
        assert info["loss"] == info["loss"] and info["gradient_norm"] > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, state.policy.parameters(), strict=True)]
    assert any(moved)


def test_trajectories_of_one_graph_share_a_group(generator):
    """Fresh, replayed and improved ones alike."""
    environment = SetBuilding(TASKS["mis"], [random_graph(n, n) for n in (5, 8)], per_graph=3)
    config = GFlowNetConfig(
        objective="log-variance",
        steps=2,
        batch=12,
        replay=ReplayConfig("uniform", 50),
        local_search=LocalSearchConfig(domain=True),
    )
    state = algorithm.init(config, environment, generator, shaken(environment))
    for n in (24, 30):  # the buffer is empty at first
        batch, _ = algorithm._training_batch(config, environment, state, None, 0.0)
        assert len(batch) == n and torch.equal(batch.group, batch.final.graph)


def test_an_environment_without_local_search_says_so(generator):
    config = GFlowNetConfig(steps=1, batch=4, local_search=LocalSearchConfig(domain=True))
    word = Word(3)
    state = algorithm.init(config, word, generator)
    with pytest.raises(InputError, match="no local search of its own"):
        algorithm.step(config, word, state)


def test_a_stop_at_every_state_is_refused(generator):
    environment = SetBuilding(TASKS["mis"], [random_graph(5, 1)])
    config = GFlowNetConfig(objective="modified-db", steps=1, batch=4)
    state = algorithm.init(config, environment, generator, shaken(environment))
    with pytest.raises(InputError, match="take the objective db"):
        algorithm.step(config, environment, state)


def law_distance(policy: GraphPolicy, task, graph, beta: float) -> float:
    space = Enumerated(task, graph)
    known = exact.state_graph(space)
    table = exact.tabulate(known, policy.on(space).forward_log_probs)
    law = exact.log_visits(known, table).exp()[known.terminal]
    return float(0.5 * (law - (beta * known.log_reward[known.terminal]).softmax(0)).abs().sum())


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("mis", "fl-db"),
        pytest.param("cut", "tb", marks=pytest.mark.slow),
        pytest.param("mds", "led", marks=pytest.mark.slow),
        pytest.param("clique", "log-variance", marks=pytest.mark.slow),
    ],
)
def test_it_learns_the_laws_of_several_graphs_at_once(name, objective, generator):
    """Conditional log Z: one policy comes near R^beta / Z on graphs of different sizes."""
    graphs = [random_graph(n, n, 0.4) for n in (4, 6)]
    steps = 120 if objective == "fl-db" else 400
    task, beta = TASKS[name], 1.5
    environment = SetBuilding(task, graphs, per_graph=8)
    torch.manual_seed(0)
    looking = objective in ("fl-db", "led")
    policy = GraphPolicy(environment, width=32, n_layers=2, beta=beta, forward_looking=looking)
    with torch.no_grad():
        policy.hint_weights[0] *= -1.0 / policy.hint_scale  # a bad start, against the greedy rule
        policy.back_scale.fill_(0.0)
    config = GFlowNetConfig(
        objective=objective,
        steps=steps,
        batch=32,
        learning_rate=1e-2,
        ema_decay=0.95,
        temperature=TemperatureConfig(final=beta),
    )
    state = algorithm.init(config, environment, generator, policy)
    before = [law_distance(state.policy, task, graph, beta) for graph in graphs]
    for _ in range(config.steps):
        state, _ = algorithm.step(config, environment, state)
    after = [law_distance(state.average.module, task, graph, beta) for graph in graphs]
    assert max(after) < 0.12 and sum(after) < 0.5 * sum(before), (before, after)


def test_weights_work_on_other_graphs(generator):
    policy = shaken(SetBuilding(TASKS["mis"], [random_graph(6, 1)]))
    other = SetBuilding(TASKS["mis"], [random_graph(40, 2, 0.1), random_graph(25, 3, 0.2)])
    start = other.initial_state(4)
    final = rollout.forward(other, policy.on(other).behaviour(4, generator), start, generator).final
    assert all(
        TASKS["mis"].feasible(
            other.graphs.graphs[g], final.chosen[row, : other.graphs.graphs[g].n_vertices].numpy()
        )
        for row, g in enumerate(final.graph.tolist())
    )
    assert states.n_rows(final) == 4


def test_the_benchmark_per_graph_sees_the_same_problem():
    """The features, scale and hints that the per-graph Python formulation works out are ours."""
    pytest.importorskip("torch_geometric")
    from tests.benchmarks.bench_graphs import OneGraph

    graph = random_graph(12, 4, weighted=False)
    environment = SetBuilding(TASKS["mis"], [graph])
    ours = open_problems(environment, environment.initial_state(1))
    one = OneGraph(graph)
    features, scale, scores = one.features(torch.arange(12), one.edge_index)
    torch.testing.assert_close(features, ours.features)
    torch.testing.assert_close(scores, ours.scores)
    torch.testing.assert_close(scale.expand(12), ours.scale)
