"""Trajectories are walks of the environment in both directions, scored the same however they came."""

from __future__ import annotations

import pytest
import torch

from tests.workbench.gflownet.spaces import grid, solved, trees, words
from workbench.gflownet import categorical, exact, rollout, scoring, states
from workbench.gflownet.options import Exploration
from workbench.gflownet.trajectories import Needs, Scores, join

SPACES = [grid, words, trees]


def equal(a, b) -> bool:
    return bool(torch.equal(states.row_keys(a), states.row_keys(b)))


def drawn(policy, n, generator, exploration=None):
    start = policy.environment.initial_state(n)
    behaviour = policy.behaviour(n, generator, exploration)
    return rollout.forward(policy.environment, behaviour, start, generator)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_transitions_are_moves_and_their_inverses(space, direction, generator):
    policy, _ = solved(space())
    environment = policy.environment
    found = drawn(policy, 50, generator, Exploration(epsilon=0.5))
    if direction == "backward":
        behaviour = policy.backward_behaviour(50, generator)
        found = rollout.backward(environment, behaviour, found.final, generator)
    after = environment.step(found.visited, found.actions)
    assert equal(after, scoring.after(found))
    assert equal(environment.backward_step(after, found.undo), found.visited)
    assert environment.is_initial(found.start).all()
    assert environment.is_terminal(found.final).all()
    assert torch.equal(found.log_reward, environment.log_reward(found.final))
    order = (found.row * 100 + found.step).sort().values
    counts = found.n_steps
    assert torch.equal(order % 100, torch.cat([torch.arange(n) for n in counts.tolist()]))


@pytest.mark.parametrize("space", SPACES)
def test_the_score_of_a_drawn_trajectory_is_what_it_was_drawn_with(space, generator):
    policy, _ = solved(space())
    found = drawn(policy, 50, generator)
    scores = policy.score(found, Needs())[0]
    torch.testing.assert_close(scores.log_pf, found.padded(found.log_behaviour))
    behaviour = policy.backward_behaviour(50, generator)
    back = rollout.backward(policy.environment, behaviour, found.final, generator)
    scores = policy.score(back, Needs())[0]
    torch.testing.assert_close(scores.log_pb, back.padded(back.log_behaviour))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("backward", ["learned", "uniform"])
def test_one_pass_scores_like_single_states(space, backward, generator):
    policy, _ = solved(space(), backward=backward)
    found = drawn(policy, 60, generator, Exploration(epsilon=1.0))
    one = policy.score(found, Needs(flow=True))[0]
    other = scoring.score_by_state(policy.environment, policy, found, Needs(flow=True))
    for name in ("log_pf", "log_pb", "valid", "log_reward", "log_partition", "log_flow"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-12)


def test_padding_holds_zero(generator):
    policy, _ = solved(grid())
    found = drawn(policy, 60, generator, Exploration(epsilon=1.0))
    needs = Needs(flow=True, partial=True, stop=True, potential=True, prior_exponent=0.5)
    scores = policy.score(found, needs)[0]
    assert len(found.n_steps.unique()) > 1
    for name in ("log_pf", "log_pb", "log_prior", "log_stop", "log_stopped_reward", "potential"):
        values = getattr(scores, name)
        assert values.isfinite().all() and not values[~scores.valid].any()
    for values in (scores.log_flow, scores.log_partial):
        n = found.n_steps.unsqueeze(1)
        torch.testing.assert_close(values.gather(1, n).squeeze(1), found.log_reward)
        assert not values[torch.arange(values.shape[1]) > n].any()


def test_stored_moves_bring_the_same_trajectories_back(generator):
    policy, _ = solved(grid())
    found = drawn(policy, 40, generator, Exploration(epsilon=0.5))
    again = rollout.forward(
        policy.environment, rollout.Retraced(found.padded(found.actions)), found.start, generator
    )
    assert equal(again.final, found.final) and torch.equal(again.actions, found.actions)


def test_chosen_and_joined_trajectories_keep_their_scores(generator):
    policy, _ = solved(grid())
    a, b = drawn(policy, 30, generator), drawn(policy, 20, generator, Exploration(epsilon=1.0))
    rows = torch.tensor([44, 3, 17, 31])
    whole = policy.score(join([a, b]), Needs(flow=True))[0]
    part = policy.score(join([a, b]).select(rows), Needs(flow=True))[0]
    width = part.log_pf.shape[1]
    torch.testing.assert_close(part.log_pf, whole.log_pf[rows, :width])
    torch.testing.assert_close(part.log_flow, whole.log_flow[rows, : width + 1])
    torch.testing.assert_close(whole.log_reward, torch.cat([a.log_reward, b.log_reward]))
    chosen: Scores = states.select(whole, rows)
    torch.testing.assert_close(chosen.log_reward, part.log_reward)


def test_a_solved_policy_draws_the_reward_law(generator):
    """20,000 draws over the 64 objects of a grid, each frequency within 5 standard errors."""
    policy, graph = solved(grid())
    n = 20_000
    found = drawn(policy, n, generator)
    counts = torch.bincount(policy.environment.index(found.final), minlength=graph.n_states)
    p = graph.log_target.exp()
    error = (p * (1 - p) / n).sqrt()
    assert ((counts / n - p).abs() <= 5 * error + 1e-12).all()


def test_backward_draws_follow_the_backward_policy(generator):
    """Passing frequencies of 20,000 backward walks from one object against dynamic programming."""
    policy, graph = solved(words())
    n = 20_000
    number = int(graph.terminal.nonzero()[0])
    one = states.select(graph.states, torch.full((n,), number))
    behaviour = policy.backward_behaviour(n, generator)
    found = rollout.backward(policy.environment, behaviour, one, generator)
    mass = torch.full_like(graph.log_reward, -torch.inf)
    mass[number] = 0.0
    log_pb = exact.tabulate(graph, policy.backward_log_probs)
    p = exact.log_flows(graph, log_pb, mass).exp()
    p[number] = 0.0
    numbers = policy.environment.index(found.visited)
    frequency = torch.bincount(numbers, minlength=graph.n_states) / n
    error = (p * (1 - p).clamp_min(0) / n).sqrt()
    assert ((frequency - p).abs() <= 5 * error + 1e-9).all()


def test_equal_states_are_evaluated_once_and_give_the_same(generator):
    environment = grid()
    torch.manual_seed(0)
    policy = categorical.build(environment).double()
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    found = drawn(policy, 100, generator, Exploration(epsilon=1.0))
    together = policy.forward_log_probs(found.visited)
    assert len(policy.outputs(found.visited).raw) < len(found.row)
    for row in range(0, len(found.row), 37):
        alone = policy.forward_log_probs(states.select(found.visited, torch.tensor([row])))
        torch.testing.assert_close(together[row : row + 1], alone)
