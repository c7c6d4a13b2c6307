"""Small spaces for the tests: at most 200 states, and what an exact solution of them scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from domains.synthetic.bit_sequences import BitSequences
from domains.synthetic.hypergrid import Hypergrid
from domains.synthetic.tree_building import TreeBuilding
from workbench.gflownet import categorical, exact
from workbench.gflownet.categorical import CategoricalPolicy


class StoppableGrid(Hypergrid):
    """A hypergrid that names its stop action, whatever the domain does."""

    def __init__(self, dimensions: int, height: int) -> None:
        super().__init__(dimensions, height)
        self.stop_action = dimensions


class Word:
    """Bits appended one by one, first to last: a tree, where every object has one trajectory.

    States are numbered 2^length - 1 + value; log R is fixed and irregular. An `EnumerableEnvironment`.
    """

    def __init__(self, length: int = 4) -> None:
        self.name, self.max_steps, self.length = f"word of {length}", length, length
        self.n_actions, self.n_backward_actions, self.n_features = 2, 1, 2 ** (length + 1)
        self.n_states = 2 ** (length + 1) - 1

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> Tensor:
        return torch.zeros(batch, dtype=torch.int64, device=device)

    def is_initial(self, state: Tensor) -> Tensor:
        return state == 0

    def is_terminal(self, state: Tensor) -> Tensor:
        return state >= 2**self.length - 1

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        return torch.where(self.is_terminal(state), state, 2 * state + 1 + action)

    def backward_step(self, state: Tensor, action: Tensor) -> Tensor:
        return torch.where(state == 0, state, (state - 1) // 2)

    def undoing(self, state: Tensor, action: Tensor) -> Tensor:
        return torch.zeros_like(action)

    def redoing(self, state: Tensor, action: Tensor) -> Tensor:
        return (state - 1) % 2

    def forward_mask(self, state: Tensor) -> Tensor:
        return ~self.is_terminal(state).unsqueeze(1).repeat(1, 2)

    def backward_mask(self, state: Tensor) -> Tensor:
        return ~self.is_initial(state).unsqueeze(1)

    def features(self, state: Tensor) -> Tensor:
        return nn.functional.one_hot(state, self.n_features).float()

    def log_reward(self, state: Tensor) -> Tensor:
        return 1.5 * torch.sin(2.3 * state.double())

    def all_states(self) -> Tensor:
        return torch.arange(self.n_states)

    def index(self, state: Tensor) -> Tensor:
        return state


def grid() -> StoppableGrid:
    """128 states, partial rewards, every state can stop."""
    return StoppableGrid(3, 4)


def words() -> BitSequences:
    """81 states, objects of one length, made in any order."""
    return BitSequences(length=4, word_bits=1, n_modes=2, exponent=6.0)


def trees() -> TreeBuilding:
    """4 leaves: merges in any order, several backward moves at objects."""
    return TreeBuilding(leaves=4, exponent=2.0)


def total_variation(policy: CategoricalPolicy, graph: exact.StateGraph, beta: float = 1.0) -> float:
    """Exact distance of the policy's law (the mean over heads) from R^beta."""
    laws = []
    for head in range(policy.n_heads):
        table = exact.tabulate(graph, lambda state, h=head: policy.forward_log_probs(state, h))
        laws.append(exact.log_visits(graph, table).exp()[graph.terminal])
    target = (beta * graph.log_reward[graph.terminal]).softmax(0)
    return float(0.5 * (torch.stack(laws).mean(0) - target).abs().sum())


def solved(environment, seed: int = 0, backward: str = "learned", looking: bool = False):
    """A tabular policy that holds the exact P_F and log F for a random P_B, and the graph."""
    policy = categorical.build(environment, tabular=True, backward=backward)
    graph = exact.state_graph(environment)
    generator = torch.Generator().manual_seed(seed)
    n = environment.n_actions
    n_back = environment.n_backward_actions
    with torch.no_grad():
        table = policy.network.table
        noise = torch.randn((graph.n_states, n_back), generator=generator, dtype=torch.float64)
        table[:, n : n + n_back] = noise
        log_pb = policy.backward_log_probs(graph.states)
        flows = exact.log_flows(graph, log_pb)
        table[:, :n] = exact.optimal_policy(graph, log_pb).clamp_min(-1e6)
        table[:, n + n_back] = flows
        if looking:
            partial = environment.log_partial_reward(graph.states)
            table[:, n + n_back] = flows - partial
        policy.log_z.fill_(graph.log_partition)
    return policy, graph
