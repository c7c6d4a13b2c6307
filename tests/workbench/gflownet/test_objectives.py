"""At the exact solution every residual vanishes, and does not when one logit is moved; and the
identities between objectives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.workbench.gflownet.spaces import Word, grid, solved, trees, words
from workbench.gflownet import categorical, exact, rollout
from workbench.gflownet.objectives import (
    detailed_balance,
    flow_matching,
    forward_looking,
    learned_decomposition,
    log_variance,
    mellowmax,
    modified_detailed_balance,
    path_consistency,
    reverse_kl,
    sub_trajectory_balance,
    trajectory_balance,
    trajectory_likelihood,
)
from workbench.gflownet.options import Exploration
from workbench.gflownet.trajectories import Needs

ALL = Needs(flow=True, potential=True, inflow=True, prior_exponent=0.5)

RESIDUALS = {
    "tb": trajectory_balance.residual,
    "log-variance": log_variance.residual,
    "db": detailed_balance.residual,
    "subtb": sub_trajectory_balance.residual,
    "path-consistency": lambda scores: path_consistency.residual(scores, 2),
    "flow-matching": flow_matching.residual,
    "mellowmax q=0": lambda scores: mellowmax.residual(scores, 0.0, 1.0),
}


def walks(policy, n=64, seed=3):
    """Trajectories of a behaviour that goes everywhere."""
    generator = torch.Generator().manual_seed(seed)
    behaviour = policy.behaviour(n, generator, Exploration(epsilon=1.0))
    start = policy.environment.initial_state(n)
    return rollout.forward(policy.environment, behaviour, start, generator)


def largest(residual):
    return float(residual.detach().abs().max())


def move_a_logit(policy, visited):
    """Change one forward logit of a state that has been passed and has a choice."""
    choice = policy.environment.forward_mask(visited).sum(1) > 1
    number = policy.environment.index(visited)[choice][0]
    action = policy.environment.forward_mask(visited)[choice][0].nonzero()[0]
    with torch.no_grad():
        policy.network.table[number, action] += 0.3


@pytest.mark.parametrize("space", [grid, words, trees])
@pytest.mark.parametrize("name", RESIDUALS)
def test_the_exact_solution_has_no_residual(space, name):
    policy, _ = solved(space())
    trajectories = walks(policy)
    assert largest(RESIDUALS[name](policy.score(trajectories, ALL)[0])) < 1e-12
    move_a_logit(policy, trajectories.visited)
    assert largest(RESIDUALS[name](policy.score(trajectories, ALL)[0])) > 1e-3


@pytest.mark.parametrize("residual", [detailed_balance.residual, sub_trajectory_balance.residual])
def test_forward_looking_at_the_exact_solution(residual):
    policy, _ = solved(grid(), looking=True)
    needs = Needs(flow=True, partial=True)
    trajectories = walks(policy)
    scores = policy.score(trajectories, needs)[0]
    assert largest(residual(forward_looking.with_partial_rewards(scores))) < 1e-12
    move_a_logit(policy, trajectories.visited)
    moved = policy.score(trajectories, needs)[0]
    assert largest(residual(forward_looking.with_partial_rewards(moved))) > 1e-3


def test_modified_detailed_balance_at_the_exact_solution():
    policy, _ = solved(grid())
    trajectories = walks(policy)
    residual = modified_detailed_balance.residual
    assert largest(residual(policy.score(trajectories, Needs(stop=True))[0])) < 1e-12
    move_a_logit(policy, trajectories.visited)
    assert largest(residual(policy.score(trajectories, Needs(stop=True))[0])) > 1e-3


def random_scores(needs=ALL, seed=0, space=grid):
    """Scores of a policy with random weights."""
    policy = categorical.build(space(), tabular=True)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        table = policy.network.table
        table.copy_(torch.randn(table.shape, generator=generator, dtype=torch.float64))
    return policy, policy.score(walks(policy), needs)[0]


def test_sub_trajectory_balance_against_a_double_loop():
    _, scores = random_scores()
    decay, total = 0.8, 0.0
    for b in range(len(scores.log_reward)):
        n = int(scores.valid[b].sum())
        above = below = 0.0
        for i in range(n):
            for j in range(i + 1, n + 1):
                ratio = (scores.log_pf - scores.log_pb)[b, i:j].sum()
                a = scores.log_flow[b, i] - scores.log_flow[b, j] + ratio
                above += decay ** (j - i) * float(a.detach()) ** 2
                below += decay ** (j - i)
        total += above / below / len(scores.log_reward)
    assert float(sub_trajectory_balance.loss(scores, decay).detach()) == pytest.approx(
        total, rel=1e-12
    )


def test_sub_trajectories_of_one_step_are_detailed_balance():
    _, scores = random_scores()
    pieces = sub_trajectory_balance.residual(scores)
    local = torch.diagonal(pieces, offset=1, dim1=1, dim2=2)
    torch.testing.assert_close(local, detailed_balance.residual(scores), rtol=0, atol=1e-12)


def test_path_consistency_lies_between_detailed_and_trajectory_balance():
    _, scores = random_scores()
    one = path_consistency.residual(scores, 1)
    torch.testing.assert_close(one, detailed_balance.residual(scores), rtol=0, atol=1e-12)
    whole = path_consistency.residual(scores, 1000)[:, 0]
    as_tb = replace(scores, log_partition=scores.log_flow[:, 0])
    torch.testing.assert_close(whole, trajectory_balance.residual(as_tb), rtol=0, atol=1e-12)


def test_the_soft_q_gradient_is_that_of_the_first_half_of_detailed_balance():
    _, scores = random_scores()
    following = scores.log_flow.detach()[:, 1:]
    halved = (scores.log_flow[:, :-1] + scores.log_pf - scores.log_pb.detach() - following) ** 2
    expected = (halved * scores.valid).sum() / scores.valid.sum()
    torch.testing.assert_close(path_consistency.soft_q_loss(scores), expected)


def test_forward_looking_equals_plain_balance_for_the_whole_flow():
    _, scores = random_scores(Needs(flow=True, partial=True))
    whole = scores.log_flow + scores.log_partial
    at_end = scores.valid.sum(1, keepdim=True)
    whole = whole.scatter(1, at_end, scores.log_reward.unsqueeze(1))
    plain = detailed_balance.loss(replace(scores, log_flow=whole))
    torch.testing.assert_close(forward_looking.detailed_balance_loss(scores), plain)


def test_an_exact_decomposition_is_forward_looking():
    _, scores = random_scores(Needs(flow=True, partial=True, potential=True))
    shares = scores.log_partial.diff(dim=1) * scores.valid
    first = scores.log_partial[:, :1]
    shares[:, 0] += first.squeeze(1)  # what is there before the first move
    led = learned_decomposition.residual(replace(scores, potential=shares))
    after_first = torch.arange(scores.log_partial.shape[1]) > 0
    from_zero = replace(scores, log_partial=scores.log_partial * after_first)
    looking = detailed_balance.residual(forward_looking.with_partial_rewards(from_zero))
    torch.testing.assert_close(led, looking, rtol=0, atol=1e-12)


def test_the_full_trajectory_term_of_led_does_not_see_the_potential():
    _, scores = random_scores()
    whole = learned_decomposition.residual(scores).sum(1)
    as_tb = replace(scores, log_partition=scores.log_flow[:, 0])
    torch.testing.assert_close(whole, trajectory_balance.residual(as_tb), rtol=0, atol=1e-12)
    shares = learned_decomposition.corrected(scores).sum(1)
    torch.testing.assert_close(shares, scores.log_reward, rtol=0, atol=1e-12)


def test_the_decomposition_loss_divides_by_what_was_kept():
    _, scores = random_scores()
    kept = torch.zeros_like(scores.valid)
    kept[:, 0] = True
    n = scores.valid.sum(1)
    expected = (scores.potential[:, 0] - scores.log_reward / n).square().mean()
    torch.testing.assert_close(learned_decomposition.decomposition_loss(scores, kept), expected)
    last = scores.potential.gather(1, n.unsqueeze(1) - 1).squeeze(1)
    expected = (last - scores.log_reward / n).square().mean()
    none = learned_decomposition.decomposition_loss(scores, torch.zeros_like(kept))
    torch.testing.assert_close(none, expected)


def test_reverse_kl_is_half_of_trajectory_balance_for_the_forward_policy():
    policy, scores = random_scores()
    n = policy.environment.n_actions
    gradients = []
    for loss in (
        reverse_kl.loss(scores, "log-partition"),
        0.5 * trajectory_balance.loss(scores),
    ):
        (gradient,) = torch.autograd.grad(loss, policy.network.table, retain_graph=True)
        gradients.append(gradient[:, :n])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)


def test_log_variance_is_within_groups():
    _, scores = random_scores()
    two = torch.arange(len(scores.group)) % 2
    shifted = replace(scores, group=two, log_reward=scores.log_reward + 5.0 * two)
    together = replace(scores, group=two)
    torch.testing.assert_close(log_variance.loss(shifted), log_variance.loss(together))
    alone = replace(scores, group=torch.arange(len(two)))
    assert float(log_variance.loss(alone)) < 1e-25


def test_trajectory_likelihood_is_least_at_the_posterior_of_the_forward_policy():
    """Frozen P_F = the exact flow of P_B0: the best P_B on its trajectories is P_B0."""
    policy, graph = solved(words())
    log_pf = exact.tabulate(graph, policy.forward_log_probs)
    posterior = exact.posterior_backward(graph, log_pf)
    log_pb = exact.tabulate(graph, policy.backward_log_probs)
    seen = graph.backward_mask
    torch.testing.assert_close(posterior[seen], log_pb[seen], rtol=0, atol=1e-10)
    generator = torch.Generator().manual_seed(0)
    n = 20_000
    start = policy.environment.initial_state(n)
    behaviour = policy.behaviour(n, generator)
    drawn = rollout.forward(policy.environment, behaviour, start, generator)
    loss = trajectory_likelihood.loss(policy.score(drawn, Needs())[0])
    (gradient,) = torch.autograd.grad(loss, policy.network.table)
    assert float(gradient.abs().max()) < 5 * 0.5 / n**0.5


def test_mellowmax_at_its_own_solution():
    environment = Word(4)
    q, alpha, omega = 0.6, 0.7, 1.5
    policy, value = solved_mellowmax(environment, q, alpha, omega)
    trajectories = walks(policy)
    scores = policy.score(trajectories, mellowmax.needs(q, alpha, omega))[0]
    z = (scores.log_ratio() - q * scores.log_prior.sum(1)) / omega - scores.log_reward
    torch.testing.assert_close(z, -value.expand(len(z)), rtol=0, atol=1e-12)
    move_a_logit(policy, trajectories.visited)
    scores = policy.score(trajectories, mellowmax.needs(q, alpha, omega))[0]
    assert largest(mellowmax.residual(scores, q, omega)) > 1e-3


def solved_mellowmax(environment, q, alpha, omega):
    """The policy and v(s_0), from the bottom up over the binary tree of `Word`."""
    value = environment.log_reward(environment.all_states())
    policy = categorical.build(environment, tabular=True, backward="uniform")
    for s in range(environment.n_states // 2 - 1, -1, -1):
        below = value[[2 * s + 1, 2 * s + 2]]
        prior = (alpha * below).log_softmax(0)
        value[s] = torch.logsumexp(q * prior + omega * below, 0) / omega
        with torch.no_grad():
            policy.network.table[s, :2] = (alpha * q + omega) * below
    return policy, value[0]
