"""Random-walk Metropolis moves of the free parameters of substitution models along Markov chains of trees.

One move per chain changes all parameters of one kind (kappa, frequencies, ...) by normal steps in the
vector z of `model_parameters`, and needs the likelihood of the whole tree. Exchangeabilities and
frequencies move one number at a time or all together, with equal probability.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from domains.phylogeny.tree_moves import Hanging
from domains.phylogeny.tree_target import TreeTarget

if TYPE_CHECKING:
    from domains.phylogeny.tree_mcmc import ChainState


def move_parameters(
    target: TreeTarget, state: ChainState, generator: torch.Generator
) -> ChainState:
    """One move of the parameters of every chain; the state itself where nothing is free."""
    n_parameters = state.parameters.shape[-1]
    if n_parameters == 0:
        return state
    old = state.parameters.flatten(0, 1)
    rung = torch.argsort(state.rung_to_chain, dim=1)
    widths = state.windows[..., 3].gather(1, rung).flatten()
    new = old + widths[:, None] * _steps(len(old), n_parameters, generator)
    log_prior_new, log_prior_old = (target.log_parameter_prior(z) for z in (new, old))
    possible = log_prior_new > -torch.inf
    hung = Hanging(*(getattr(state, name).flatten(0, 1) for name in ("parent", "child", "lengths")))
    likelihood_old = target.log_likelihood(hung, old)
    likelihood_new = target.log_likelihood(hung, torch.where(possible[:, None], new, old))
    betas = state.betas[rung.flatten()]
    log_ratio = betas[:, 0] * (likelihood_new - likelihood_old)
    log_ratio = log_ratio + betas[:, 1] * (log_prior_new - log_prior_old)
    draws = torch.rand(len(old), generator=generator, dtype=torch.float64)
    accepted = possible & (torch.log1p(-draws) < log_ratio)
    parameters = torch.where(accepted[:, None], new, old).view_as(state.parameters)
    return replace(
        state, parameters=parameters, counts=_counted(state, rung, accepted.view_as(rung))
    )


def _steps(n_chains: int, n_parameters: int, generator: torch.Generator) -> Tensor:
    """Normal steps [chain, parameter]: of one parameter, or of all by a smaller amount."""
    normal = torch.randn(n_chains, n_parameters, generator=generator, dtype=torch.float64)
    one = torch.randint(n_parameters, (n_chains, 1), generator=generator)
    alone = torch.zeros_like(normal).scatter_(1, one, 1.0)
    together = torch.full_like(normal, n_parameters**-0.5)
    pick = torch.rand(n_chains, 1, generator=generator) < 0.5
    return normal * torch.where(pick, alone, together)


def _counted(state: ChainState, rung: Tensor, accepted: Tensor) -> Tensor:
    """Two whole likelihoods per chain are added to the last row of the counts."""
    n_inner = state.parent.shape[-1] // 2 - 1
    counts = state.counts.clone()
    last = counts[:, :, -1]
    last[..., 0] += 1
    last[..., 1].scatter_add_(1, rung, accepted.long())
    last[..., 2] += 2
    last[..., 3] += 2 * n_inner
    return counts
