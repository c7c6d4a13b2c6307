"""R^beta in scores, and beta as part of the state."""

from __future__ import annotations

import pytest
import torch

from tests.workbench.gflownet.spaces import grid, solved
from workbench.errors import InputError
from workbench.gflownet import categorical, exact, rollout
from workbench.gflownet.checks import check_on_rollouts
from workbench.gflownet.objectives import detailed_balance, modified_detailed_balance
from workbench.gflownet.options import TemperatureConfig
from workbench.gflownet.temperature import Tempered, tempered_scores
from workbench.gflownet.trajectories import Needs
from workbench.problem import DiscreteEnvironment, EnumerableEnvironment, PartialReward, Stoppable


class Heated(type(grid())):
    """The grid with R^1.7."""

    def log_partial_reward(self, state):
        return 1.7 * super().log_partial_reward(state)


@pytest.mark.parametrize("balance", [detailed_balance, modified_detailed_balance])
def test_tempered_scores_are_those_of_a_tempered_reward(balance, generator):
    policy, _ = solved(Heated(3, 4))
    plain = categorical.CategoricalPolicy(grid(), policy.network)
    found = rollout.forward(
        plain.environment,
        plain.behaviour(30, generator),
        plain.environment.initial_state(30),
        generator,
    )
    scores = plain.score(found, Needs(flow=True, stop=True, partial=True))[0]
    residual = balance.residual(tempered_scores(scores, 1.7))
    assert float(residual.detach().abs().max()) < 1e-12
    assert float(balance.residual(scores).detach().abs().max()) > 1e-2


def test_a_tempered_environment_keeps_the_protocol(generator):
    environment = Tempered(grid(), 0.5, 2.0)
    assert isinstance(environment, DiscreteEnvironment) and isinstance(environment, PartialReward)
    assert isinstance(environment, Stoppable)
    assert not isinstance(environment, EnumerableEnvironment)
    check_on_rollouts(environment, 20, generator)
    beta, group = environment.draw(40, 8, generator)
    assert len(beta.unique()) == 8 and ((beta >= 0.5) & (beta <= 2.0)).all()
    for one in range(8):
        assert len(beta[group == one].unique()) == 1
    start = environment.start(beta)
    assert environment.features(start).shape == (40, environment.n_features)
    at = environment.at(exact.state_graph(grid()).states, 1.5)
    torch.testing.assert_close(
        environment.log_reward(at), 1.5 * grid().log_reward(exact.state_graph(grid()).states)
    )


def test_annealing_goes_from_one_end_to_the_other():
    config = TemperatureConfig(kind="annealed", initial=0.2, final=1.0, annealed=0.5)
    assert [config.at(t) for t in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.2, 0.6, 1.0, 1.0])


def test_an_empty_range_is_refused():
    with pytest.raises(InputError, match="range"):
        Tempered(grid(), 2.0, 2.0)
