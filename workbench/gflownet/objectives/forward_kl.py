"""Forward KL: maximum likelihood of trajectories that end in given objects.

    L = - mean sum_t log P_F(s_{t+1} | s_t),    trajectories drawn from the objects by P_B

The optimum draws objects with the frequencies of the given ones, so they have to be a sample of the
target law. P_B is taken as it is: the loss does not train it.

Malkin et al., "GFlowNets and variational inference" (2022, arXiv 2210.00580).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from workbench.gflownet.trajectories import Needs, Scores

NEEDS = Needs()


def loss(scores: Scores) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of the trajectories."""
    return -scores.log_pf.sum(1).mean()
