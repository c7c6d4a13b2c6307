"""Every objective reaches the reward's law with tabular policies: exact total variation and log Z error
at most 0.02. Every objective, and trajectory balance with every exploration, by default; the full product of
objectives, backward policies and explorations as a slow test."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch

from tests.workbench.gflownet.spaces import StoppableGrid, Word, total_variation, trees
from tests.workbench.gflownet.test_objectives import solved_mellowmax
from workbench.errors import InputError
from workbench.gflownet import algorithm, exact, options, states
from workbench.gflownet.options import GFlowNetConfig

OBJECTIVES = [name for name in get_args(options.Objective) if name != "mellowmax"]
ONLY_GRID = ("fl-db", "fl-subtb", "modified-db")  # they need partial rewards or stops

EXPLORATIONS = {
    "none": {},
    "epsilon": {"exploration": options.Exploration(epsilon=0.2)},
    "tempering": {"exploration": options.Exploration(temperature=2.0)},
    "thompson": {"ensemble": options.EnsembleConfig(heads=2, keep=0.8, prior_scale=0.3)},
    "local search": {"local_search": options.LocalSearchConfig(rounds=1, depth=2)},
    "uniform replay": {"replay": options.ReplayConfig(kind="uniform", capacity=500)},
    "prioritised replay": {"replay": options.ReplayConfig(kind="prioritised", capacity=500)},
    "diverse replay": {"replay": options.ReplayConfig(kind="diverse", paths="backward")},
}


def tabular(objective: str, steps: int, **more) -> GFlowNetConfig:
    # They carry a reward one transition at a time towards the start.
    slow = objective in ("db", "fl-db", "flow-matching", "soft-q")
    settings = {
        "objective": objective,
        "steps": 2 * steps if slow else steps,
        "batch": 64,
        "learning_rate": 0.1,
        "log_partition_rate": 0.1,
        "ema_decay": 0.9,
        "network": options.NetworkConfig(tabular=True),
    }
    if objective == "forward-kl":
        settings |= {"batch": 1024, "learning_rate": 0.05, "ema_decay": 0.97}
    return GFlowNetConfig(**(settings | more))


def trained(config: GFlowNetConfig, environment, seed: int = 1):
    """Errors of the averaged policy: total variation, log Z."""
    generator = torch.Generator().manual_seed(seed)
    graph = exact.state_graph(environment)
    given = None
    if config.objective == "forward-kl":
        law = graph.log_target.exp()
        numbers = torch.multinomial(law, 100_000, replacement=True, generator=generator)
        given = states.select(graph.states, numbers)
    state = algorithm.init(config, environment, generator)
    for _ in range(config.steps):
        state, _ = algorithm.step(config, environment, state, given)
    policy = state.average.module
    log_z = algorithm.log_partition(config, environment, policy, generator)
    return total_variation(policy, graph), abs(log_z - graph.log_partition)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_reaches_the_reward_law(objective):
    errors = trained(tabular(objective, 200), StoppableGrid(2, 4))
    assert errors[0] <= 0.02 and errors[1] <= 0.02


@pytest.mark.parametrize("name", [name for name in EXPLORATIONS if name != "none"])
def test_trajectory_balance_reaches_it_with_every_exploration(name):
    errors = trained(tabular("tb", 120, **EXPLORATIONS[name]), trees())
    assert errors[0] <= 0.02 and errors[1] <= 0.02


def test_mellowmax_reaches_its_own_law():
    q, alpha, omega = 0.6, 0.7, 1.5
    environment = Word(4)
    settings = options.ObjectiveConfig(q=q, alpha=alpha, omega=omega)
    config = tabular("mellowmax", 200, backward="uniform", settings=settings)
    generator = torch.Generator().manual_seed(2)
    state = algorithm.init(config, environment, generator)
    for _ in range(config.steps):
        state, _ = algorithm.step(config, environment, state)
    graph = exact.state_graph(environment)
    laws = [
        exact.log_visits(graph, exact.tabulate(graph, policy.forward_log_probs)).exp()
        for policy in (state.average.module, solved_mellowmax(environment, q, alpha, omega)[0])
    ]
    difference = (laws[0] - laws[1])[graph.terminal].abs().sum()
    assert float(0.5 * difference) <= 0.02
    reward = graph.log_target.exp()[graph.terminal]
    assert float(0.5 * (laws[1][graph.terminal] - reward).abs().sum()) > 0.05


def combinations():
    """Every objective with every backward policy and exploration; those that the options refuse (an
    on-policy objective cannot explore) are not in the product."""
    explorations = [name for name in EXPLORATIONS if "replay" not in name]
    for objective, backward, name in itertools.product(
        OBJECTIVES, ("learned", "uniform", "likelihood"), explorations
    ):
        try:
            tabular(objective, 300, backward=backward, **EXPLORATIONS[name])
        except InputError:
            continue
        yield objective, backward, name


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "backward", "name"), list(combinations()))
def test_every_objective_with_every_backward_policy_and_exploration(objective, backward, name):
    environment = StoppableGrid(3, 3) if objective in ONLY_GRID else trees()
    config = tabular(objective, 300, backward=backward, **EXPLORATIONS[name])
    errors = trained(config, environment)
    assert errors[0] <= 0.02 and errors[1] <= 0.02
