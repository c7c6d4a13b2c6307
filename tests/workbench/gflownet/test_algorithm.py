"""A training step is deterministic, resumable and what its options say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.workbench.gflownet.spaces import StoppableGrid, total_variation, trees, words
from workbench.errors import InputError
from workbench.gflownet import algorithm, categorical, exact, options
from workbench.gflownet.options import GFlowNetConfig
from workbench.gflownet.temperature import Tempered
from workbench.training import checkpoint

SMALL = GFlowNetConfig(
    steps=20, batch=32, learning_rate=0.05, network=options.NetworkConfig(width=16, layers=1)
)

VARIANTS = {
    "plain": SMALL,
    "replay": replace(SMALL, replay=options.ReplayConfig(kind="prioritised", capacity=60)),
    "diverse, backward": replace(
        SMALL, replay=options.ReplayConfig(kind="diverse", capacity=10, paths="backward")
    ),
    "ensemble": replace(SMALL, ensemble=options.EnsembleConfig(heads=3, keep=0.7, prior_scale=0.5)),
    "local search": replace(SMALL, local_search=options.LocalSearchConfig(rounds=2)),
    "led, likelihood": replace(SMALL, objective="led", backward="likelihood"),
    "conditional": replace(
        SMALL,
        objective="log-variance",
        temperature=options.TemperatureConfig("conditional", 0.5, 2.0, groups=4),
    ),
    "annealed": replace(SMALL, temperature=options.TemperatureConfig("annealed", 0.5, 2.0)),
}


def start(config, environment, seed=5):
    return algorithm.init(config, environment, torch.Generator().manual_seed(seed))


def go_on(config, environment, state, n):
    for _ in range(n):
        state, info = algorithm.step(config, environment, state)
    return state, info


@pytest.mark.parametrize("name", VARIANTS)
def test_a_resumed_training_is_the_uninterrupted_one(name, tmp_path):
    config, environment = VARIANTS[name], words()
    whole, info = go_on(config, environment, start(config, environment), 6)
    half, _ = go_on(config, environment, start(config, environment), 3)
    checkpoint.save(tmp_path, 3, half)
    found = checkpoint.load_latest(tmp_path, start(config, environment, seed=99))
    assert found is not None
    resumed, again = go_on(config, environment, found[1], 3)
    assert again == info and resumed.n_trajectories == whole.n_trajectories
    for a, b in zip(whole.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_log_partition_starts_at_its_importance_estimate():
    config, environment = replace(SMALL, batch=4096), words()
    state = start(config, environment)
    assert float(state.policy.log_z.detach()) == pytest.approx(environment.log_partition, abs=0.15)


def test_heads_that_begin_alike_and_see_everything_stay_alike():
    table = options.NetworkConfig(tabular=True)
    config = replace(SMALL, network=table, ensemble=options.EnsembleConfig(heads=3))
    environment = trees()
    state, _ = go_on(config, environment, start(config, environment), 5)
    graph = exact.state_graph(environment)
    first, *others = [
        exact.tabulate(graph, lambda s, h=head: state.policy.forward_log_probs(s, h))
        for head in range(3)
    ]
    assert not torch.equal(first, exact.uniform_policy(graph.forward_mask))
    for other in others:
        assert torch.equal(first, other)


def test_one_head_is_plain_training():
    environment = words()
    plain, _ = go_on(SMALL, environment, start(SMALL, environment), 3)
    one = replace(SMALL, ensemble=options.EnsembleConfig(heads=1, keep=1.0))
    same, _ = go_on(one, environment, start(one, environment), 3)
    for a, b in zip(plain.policy.parameters(), same.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_conditional_policy_follows_every_temperature():
    """One network for R^0.5 to R^2 on 16 objects: total variation at most 0.05 at both ends."""
    inner = StoppableGrid(2, 4)
    config = GFlowNetConfig(
        steps=300,
        batch=256,
        learning_rate=1e-2,
        network=options.NetworkConfig(width=64),
        temperature=options.TemperatureConfig("conditional", 0.5, 2.0),
    )
    state, _ = go_on(config, inner, start(config, inner), config.steps)
    policy, graph = state.average.module, exact.state_graph(inner)
    environment = algorithm.target(config, inner)
    assert isinstance(environment, Tempered)
    for beta in (0.5, 2.0):
        table = exact.tabulate(
            graph, lambda s, b=beta: policy.forward_log_probs(environment.at(s, b))
        )
        law = exact.log_visits(graph, table).exp()[graph.terminal]
        truth = (beta * graph.log_reward[graph.terminal]).softmax(0)
        assert float(0.5 * (law - truth).abs().sum()) < 0.05
        at = environment.at(inner.initial_state(1), beta)
        log_z = (beta * graph.log_reward[graph.terminal]).logsumexp(0)
        assert float(policy.log_partition(at)) == pytest.approx(float(log_z), abs=0.05)


def test_annealing_ends_at_the_final_temperature():
    environment = StoppableGrid(2, 4)
    config = GFlowNetConfig(
        steps=250,
        batch=64,
        learning_rate=0.1,
        log_partition_rate=0.1,
        network=options.NetworkConfig(tabular=True),
        temperature=options.TemperatureConfig("annealed", 0.3, 2.0),
    )
    state, _ = go_on(config, environment, start(config, environment), config.steps)
    graph = exact.state_graph(environment)
    assert total_variation(state.average.module, graph, beta=2.0) < 0.02


@pytest.mark.parametrize("n", [40, 5000])
def test_samples_are_the_same_law_with_and_without_a_table(n):
    """Mean log-reward of the samples within 5 standard errors of dynamic programming."""
    environment = words()
    torch.manual_seed(1)
    policy = categorical.build(environment, width=16)
    torch.nn.init.normal_(policy.network.last.weight)
    graph = exact.state_graph(environment)
    law = exact.log_visits(graph, exact.tabulate(graph, policy.forward_log_probs)).exp()
    law, reward = law[graph.terminal], graph.log_reward[graph.terminal]
    mean = float(law @ reward)
    error = float((law @ (reward - mean) ** 2 / n) ** 0.5)
    found = algorithm.sample(environment, policy, n, torch.Generator().manual_seed(0), chunk=1500)
    assert len(found) == n
    assert abs(float(found.log_reward.mean()) - mean) < 5 * error


@pytest.mark.parametrize(
    ("options_given", "words_of_it"),
    [
        ({"exploration": options.Exploration(epsilon=0.1)}, "reverse-kl"),
        ({"replay": options.ReplayConfig(kind="uniform")}, "reverse-kl"),
    ],
)
def test_reverse_kl_refuses_foreign_trajectories(options_given, words_of_it):
    with pytest.raises(InputError, match=words_of_it):
        GFlowNetConfig(objective="reverse-kl", **options_given)


def test_what_cannot_be_is_refused():
    environment = words()
    config = replace(SMALL, objective="forward-kl")
    with pytest.raises(InputError, match="none were given"):
        algorithm.step(config, environment, start(config, environment))
    config = replace(SMALL, objective="fl-db")
    with pytest.raises(InputError, match="partial reward"):
        algorithm.step(config, environment, start(config, environment))
    config = replace(SMALL, objective="modified-db")
    with pytest.raises(InputError, match="cannot stop"):
        algorithm.step(config, environment, start(config, environment))
    with pytest.raises(InputError, match="epsilon"):
        options.Exploration(epsilon=1.5)
