"""Local search leaves R / Z as it is, whatever the policy; a perfect policy accepts everything."""

from __future__ import annotations

import pytest
import torch

from tests.workbench.gflownet.spaces import grid, solved, words
from workbench.gflownet import categorical, exact, local_search, rollout, scoring, states
from workbench.gflownet.options import LocalSearchConfig


def true_objects(environment, graph, n, generator):
    """Trajectories that end in exact draws of the reward's law."""
    number = torch.multinomial(graph.log_target.exp(), n, replacement=True, generator=generator)
    policy = categorical.build(environment, tabular=True)
    objects = states.select(graph.states, number)
    behaviour = policy.backward_behaviour(n, generator)
    return rollout.backward(environment, behaviour, objects, generator)


def random_policy(environment, generator):
    policy = categorical.build(environment, tabular=True)
    with torch.no_grad():
        table = policy.network.table
        table.copy_(torch.randn(table.shape, generator=generator, dtype=table.dtype))
    return policy


@pytest.mark.parametrize("space", [grid, words])
@pytest.mark.parametrize("accept", ["metropolis", "barker"])
def test_the_reward_law_is_invariant_under_a_wrong_policy(space, accept, generator):
    """20,000 exact draws, two rounds, then every frequency within 5 standard errors."""
    environment = space()
    graph = exact.state_graph(environment)
    policy = random_policy(environment, generator)
    n = 20_000
    trajectories = true_objects(environment, graph, n, generator)
    config = LocalSearchConfig(rounds=1, depth=2, accept=accept)
    before = environment.index(trajectories.final)
    for _ in range(2):
        trajectories, _, taken = local_search.change(
            config, environment, policy, trajectories, generator
        )
        assert 0.02 < float(taken.double().mean()) < 0.98
    after = environment.index(trajectories.final)
    assert float((after != before).double().mean()) > 0.1
    p = graph.log_target.exp()
    frequency = torch.bincount(after, minlength=graph.n_states) / n
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1e-12).all()


def test_a_perfect_policy_of_fixed_length_has_ratio_one(generator):
    policy, graph = solved(words())
    trajectories = true_objects(policy.environment, graph, 200, generator)
    old, new, cut = local_search.propose(policy.environment, policy, trajectories, 3, generator)
    rho = local_search.log_acceptance_ratio(policy, old, new, cut, 3)
    torch.testing.assert_close(rho, torch.zeros_like(rho), rtol=0, atol=1e-10)


def test_proposals_are_whole_trajectories_that_share_their_beginning(generator):
    environment = grid()
    policy = random_policy(environment, generator)
    graph = exact.state_graph(environment)
    trajectories = true_objects(environment, graph, 200, generator)
    old, new, cut = local_search.propose(environment, policy, trajectories, 3, generator)
    after = environment.step(new.visited, new.actions)
    assert torch.equal(states.row_keys(after), states.row_keys(scoring.after(new)))
    assert environment.is_initial(new.start).all()
    assert torch.equal(old.log_reward, environment.log_reward(old.final))
    length = max(int(old.step.max()), int(new.step.max())) + 1
    before = torch.arange(length) < cut.unsqueeze(1)
    moves = [part.padded(part.actions, length) * before for part in (old, new)]
    assert torch.equal(*moves)
    assert ((old.n_steps - cut) >= 1).all() and ((old.n_steps - cut) <= 3).all()
