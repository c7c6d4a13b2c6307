"""Edge flows into states, summed over all parents: what flow matching compares with the flow out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float

from workbench.gflownet import states

if TYPE_CHECKING:
    from workbench.gflownet.categorical import CategoricalPolicy


def log_inflow(
    policy: CategoricalPolicy, state: Any, head: int = 0
) -> Float[torch.Tensor, "batch"]:
    """log sum over the parents s of each state of F(s) P_F(state | s). No state may be initial."""
    environment = policy.environment
    state, rows = policy.distinct(state)
    mask = environment.backward_mask(state)
    row, undo = mask.nonzero().unbind(1)
    here = states.select(state, row)
    parents = policy.outputs(environment.backward_step(here, undo))
    edge = parents.picked(parents.forward(head), environment.redoing(here, undo))
    edge = edge + parents.log_flow(spread=True)
    table = edge.new_full(mask.shape, -torch.inf).index_put((row, undo), edge)
    total = table.logsumexp(1)
    return total if rows is None else total.index_select(0, rows)
