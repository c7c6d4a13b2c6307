"""Drawing moves from tables of log-probabilities, with epsilon, temperature and ensemble heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.gflownet.options import Exploration
from workbench.problem import EnumerableEnvironment

if TYPE_CHECKING:
    from workbench.gflownet.categorical import CategoricalPolicy

_NOT_ALLOWED = -1e30  # finite, so that rows without any allowed action give no NaN


class ForwardMoves:
    """Forward moves of one rollout. `heads` [batch]: the ensemble member that draws each trajectory."""

    def __init__(
        self, policy: CategoricalPolicy, exploration: Exploration, heads: Tensor | None
    ) -> None:
        self._policy, self._exploration, self._heads = policy, exploration, heads

    @torch.no_grad()
    def sample(
        self, state: Any, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        outputs = self._policy.outputs(state)
        if self._heads is None:
            return draw(outputs.spread(self._explored(outputs.forward())), generator)
        tables = [outputs.forward(head) for head in range(self._policy.n_heads)]
        every = torch.stack([outputs.spread(table) for table in tables])
        table = every[self._heads[row], torch.arange(len(row), device=row.device)]
        return draw(self._explored(table), generator)

    def _explored(self, table: Tensor) -> Tensor:
        return explored(table, self._exploration)


class BackwardMoves:
    """Backward moves from P_B."""

    def __init__(self, policy: CategoricalPolicy) -> None:
        self._policy = policy

    @torch.no_grad()
    def sample(
        self, state: Any, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return draw(self._policy.backward_log_probs(state), generator)


class TabulatedMoves:
    """Forward moves from a table [head, state, action] of log P_F: nothing is evaluated any more."""

    def __init__(
        self, environment: EnumerableEnvironment, tables: Tensor, heads: Tensor | None
    ) -> None:
        self._environment, self._tables, self._heads = environment, tables, heads

    @torch.no_grad()
    def sample(
        self, state: Any, row: Int[Tensor, "alive"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        number = self._environment.index(state)
        if self._heads is None:
            return draw(self._tables[0].index_select(0, number), generator)
        return draw(self._tables[self._heads[row], number], generator)


def explored(
    table: Float[Tensor, "batch action"], exploration: Exploration
) -> Float[Tensor, "batch action"]:
    """Log-probabilities of the behaviour: (1 - epsilon) P_F^(1/temperature) / norm + epsilon uniform."""
    epsilon, temperature = exploration.epsilon, exploration.temperature
    if temperature != 1.0:
        table = (table / temperature).log_softmax(1)
    if epsilon > 0.0:
        allowed = table > -torch.inf
        share = uniform(allowed, table.dtype).exp()
        table = ((1.0 - epsilon) * table.exp() + epsilon * share).log()
    return table


def draw(
    table: Float[Tensor, "batch action"], generator: torch.Generator
) -> tuple[Int[Tensor, "batch"], Float[Tensor, "batch"]]:
    """One action per row of log-probabilities, by a race of exponential clocks, and its entry."""
    clocks = torch.empty_like(table).exponential_(generator=generator)
    action = (table.exp() / clocks).argmax(1, keepdim=True)
    return action.squeeze(1), table.gather(1, action).squeeze(1)


def masked(
    logits: Float[Tensor, "batch action"], mask: Bool[Tensor, "batch action"]
) -> Float[Tensor, "batch action"]:
    """Log-softmax over the allowed entries; -inf elsewhere, without NaN in values or gradients."""
    table = logits.masked_fill(~mask, _NOT_ALLOWED).log_softmax(1)
    return table.masked_fill(~mask, -torch.inf)


def uniform(mask: Bool[Tensor, "batch action"], dtype: torch.dtype) -> Tensor:
    """Log-probabilities of the uniform law over the allowed entries."""
    allowed = mask.to(dtype)
    return (allowed / allowed.sum(1, keepdim=True).clamp_min(1)).log()
