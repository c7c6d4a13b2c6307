"""Dynamic programmes against brute force over trajectories, identities, and sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from domains.synthetic import BitSequences, Hypergrid, TreeBuilding
from workbench.gflownet import exact
from workbench.gflownet.evaluation import total_variation
from workbench.gflownet.states import select

SPACES = [Hypergrid(2, 4), Hypergrid(3, 4), BitSequences(4, 2, 3), TreeBuilding(4), TreeBuilding(5)]


@pytest.fixture(params=SPACES, ids=lambda e: e.name)
def environment(request):
    return request.param


def random_policy(mask: Tensor, generator: torch.Generator) -> Tensor:
    logits = torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    return torch.where(mask, logits, -torch.inf).log_softmax(1).nan_to_num(nan=-torch.inf)


def all_trajectories(environment, log_pf: Tensor, log_pb: Tensor) -> list[tuple[int, float, float]]:
    """(object, log P_F, log P_B) of every trajectory, by recursion."""
    found = []

    def walk(state, forward: float, backward: float) -> None:
        number = int(environment.index(state))
        if bool(environment.is_terminal(state)):
            found.append((number, forward, backward))
            return
        for action in environment.forward_mask(state)[0].nonzero().squeeze(1):
            step = action.unsqueeze(0)
            after = environment.step(state, step)
            undo = int(environment.undoing(state, step))
            head = int(environment.index(after))
            walk(
                after,
                forward + float(log_pf[number, action]),
                backward + float(log_pb[head, undo]),
            )

    walk(environment.initial_state(1), 0.0, 0.0)
    return found


@pytest.mark.parametrize(
    "small", [Hypergrid(2, 3), BitSequences(4, 2, 3), TreeBuilding(4)], ids=lambda e: e.name
)
def test_against_all_trajectories(small, generator):
    graph = exact.state_graph(small)
    log_pf = random_policy(graph.forward_mask, generator)
    log_pb = random_policy(graph.backward_mask, generator)
    trajectories = all_trajectories(small, log_pf, log_pb)
    law = torch.zeros(graph.n_states, dtype=torch.float64)
    lower = upper = 0.0
    for number, forward, backward in trajectories:
        law[number] += math.exp(forward)
        log_weight = float(graph.log_reward[number]) + backward - forward
        lower += math.exp(forward) * log_weight
        upper += math.exp(float(graph.log_target[number]) + backward) * log_weight
    terminal = graph.terminal
    torch.testing.assert_close(exact.log_visits(graph, log_pf).exp()[terminal], law[terminal])
    assert exact.elbo(graph, log_pf, log_pb) == pytest.approx(lower, abs=1e-10)
    assert exact.eubo(graph, log_pf, log_pb) == pytest.approx(upper, abs=1e-10)
    assert lower < graph.log_partition < upper


def test_the_optimal_policy_has_the_law_of_the_reward(environment, generator):
    graph = exact.state_graph(environment)
    log_pb = random_policy(graph.backward_mask, generator)
    log_pf = exact.optimal_policy(graph, log_pb)
    going = ~graph.terminal
    torch.testing.assert_close(log_pf[going].logsumexp(1).abs().max(), torch.zeros(()).double())
    law = exact.log_visits(graph, log_pf)[graph.terminal].exp()
    assert total_variation(law, graph.log_target[graph.terminal].exp()) < 1e-12
    assert float(exact.log_flows(graph, log_pb)[0]) == pytest.approx(graph.log_partition, abs=1e-12)
    for bound in (exact.elbo, exact.eubo):
        assert bound(graph, log_pf, log_pb) == pytest.approx(graph.log_partition, abs=1e-10)
    assert graph.log_partition == pytest.approx(environment.log_partition, abs=1e-12)


def test_all_mass_arrives_whatever_the_policy(environment, generator):
    """A random P_F ends somewhere; a random P_B from each object comes back to the start."""
    graph = exact.state_graph(environment)
    visits = exact.log_visits(graph, random_policy(graph.forward_mask, generator))
    assert abs(float(visits[graph.terminal].logsumexp(0))) < 1e-12
    log_pb = random_policy(graph.backward_mask, generator)
    for number in graph.terminal.nonzero().squeeze(1)[:20]:
        alone = torch.full((graph.n_states,), -torch.inf, dtype=torch.float64)
        alone[number] = 0.0
        assert abs(float(exact.log_flows(graph, log_pb, alone)[0])) < 1e-12


def test_the_posterior_of_the_optimum_is_the_p_b_it_was_made_for(environment, generator):
    graph = exact.state_graph(environment)
    log_pb = random_policy(graph.backward_mask, generator)
    log_pf = exact.optimal_policy(graph, log_pb)
    torch.testing.assert_close(exact.posterior_backward(graph, log_pf).exp(), log_pb.exp())


def test_visits_against_sampling(environment, generator):
    graph = exact.state_graph(environment)
    log_pf = random_policy(graph.forward_mask, generator)
    n = 40_000
    state = environment.initial_state(n)
    for _ in range(environment.max_steps):
        going = (~environment.is_terminal(state)).nonzero().squeeze(1)
        rows = log_pf[environment.index(select(state, going))].exp()
        action = torch.zeros(n, dtype=torch.int64)
        if len(going):
            action[going] = torch.multinomial(rows, 1, generator=generator).squeeze(1)
        state = environment.step(state, action)
    counts = torch.bincount(environment.index(state), minlength=graph.n_states).double()
    law = exact.log_visits(graph, log_pf).exp()[graph.terminal]
    deviation = (counts[graph.terminal] - n * law) / (n * law * (1 - law)).sqrt().clamp_min(1.0)
    assert float(deviation.abs().max()) < 5


def test_rewards_of_any_range_are_kept(generator):
    """log R down to -5000: nothing underflows."""
    bits = BitSequences(8, 2, 2, exponent=5000.0)
    graph = exact.state_graph(bits)
    log_pf = exact.optimal_policy(graph, exact.uniform_policy(graph.backward_mask))
    log_law = exact.log_visits(graph, log_pf)[graph.terminal]
    target = graph.log_target[graph.terminal]
    torch.testing.assert_close(log_law, target, rtol=1e-9, atol=1e-9)
    assert float(target.min()) < -1000


def test_a_policy_by_function_becomes_a_table():
    environment = Hypergrid(2, 4)
    graph = exact.state_graph(environment)
    table = exact.tabulate(
        graph, lambda s: exact.uniform_policy(environment.forward_mask(s)).float(), chunk=7
    )
    torch.testing.assert_close(table.exp().sum(1), (~graph.terminal).double())
    assert table.dtype == torch.float64


def test_a_circle_is_refused():
    class Circle(Hypergrid):
        def step(self, state, action):
            return super().step(state, torch.where(action == 1, 2, action))

        def index(self, state):
            return super().index(state) * ~state.stopped

    with pytest.raises(ValueError, match="circle"):
        exact.state_graph(Circle(2, 3))
