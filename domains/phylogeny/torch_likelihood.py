"""Felsenstein pruning in tensor operations: any device, differentiable in lengths and in the model.

    merge:  L(s) = [sum_x P(t_left)(s, x) L_left(x)] [sum_x P(t_right)(s, x) L_right(x)]

The pieces serve a sampler that merges subtrees of a forest: partials of a subtree do not depend on the
rest. A subtree's partials are [4 * category, pattern] (category-major; just [4, pattern] for one category) and
come with `log_scales` [pattern]: the true partials are partials * exp(log_scales). After each merge the
largest entry of every pattern is scaled into [1/2, 1) by a power of two, which is exact, so that nothing
underflows, in float32 neither.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from domains.phylogeny import _forest_kernels
from domains.phylogeny.models import SubstitutionModel
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.transitions import transitions
from domains.phylogeny.trees import Trees

MISSING = 15


def known_states(states: UInt8[Tensor, "taxon pattern"]) -> UInt8[Tensor, "taxon pattern"]:
    """The four base bits, gap and unknown read as missing: the likelihood's view of a character."""
    return torch.where(states >= 16, torch.full_like(states, MISSING), states)


def tip_partials(
    patterns: Patterns,
    n_categories: int = 1,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "taxon channel pattern"]:
    """1 where the taxon may have the state, else 0; the same for each rate category."""
    states = known_states(patterns.states.to(device))
    shifts = torch.arange(4, dtype=torch.uint8, device=states.device)
    bits = (states[:, None, :] >> shifts[:, None]) & 1
    return bits.to(dtype).repeat(1, n_categories, 1)


def merge_partials(
    model: SubstitutionModel,
    left: Float[Tensor, "batch channel pattern"],
    right: Float[Tensor, "batch channel pattern"],
    t_left: Float[Tensor, "batch"],
    t_right: Float[Tensor, "batch"],
) -> tuple[Float[Tensor, "batch channel pattern"], Float[Tensor, "batch pattern"]]:
    """Partials of the joint subtrees and the log of the factor that was taken out of each pattern
    (to be added to the log-scales of both parts). Scales carry no gradient; none is lost by that.

    Compiled on the CPU where nothing needs a gradient."""
    parts = (left, right, t_left, t_right)
    if left.device.type == "cpu" and not _needs_graph(model, parts):
        return _merge_compiled(model, left, right, t_left, t_right)
    merged = _carried(model, left, t_left) * _carried(model, right, t_right)
    top = merged.detach().amax(-2)
    exponent = torch.where(top > 0, torch.frexp(top).exponent, 0).to(merged.dtype)
    return merged * torch.exp2(-exponent)[..., None, :], exponent * math.log(2.0)


def root_log_likelihood(
    model: SubstitutionModel,
    partials: Float[Tensor, "batch channel pattern"],
    log_scales: Float[Tensor, "batch pattern"],
    weights: Float[Tensor, "pattern"],
    invariant_likelihood: Float[Tensor, "pattern"] | None = None,
) -> Float[Tensor, "batch"]:
    """log L of whole trees. `invariant_likelihood` from `invariant_sites`: needed for a model with +I."""
    log_sites = site_log_likelihood(model, partials, log_scales, invariant_likelihood)
    return (log_sites * weights.to(log_sites.dtype)).sum(-1)


def site_log_likelihood(
    model: SubstitutionModel,
    partials: Float[Tensor, "batch channel pattern"],
    log_scales: Float[Tensor, "batch pattern"],
    invariant_likelihood: Float[Tensor, "pattern"] | None = None,
) -> Float[Tensor, "batch pattern"]:
    """The same for each pattern, unweighted."""
    by_state = partials.unflatten(-2, (model.n_categories, 4))
    category_weights = model.category_weights.to(partials.dtype)
    frequencies = model.frequencies.to(partials.dtype)
    sites = torch.einsum("bcsp,c,s->bp", by_state, category_weights, frequencies)
    log_sites = sites.log() + log_scales
    if invariant_likelihood is None:
        return log_sites
    share = (model.invariant * invariant_likelihood).to(log_sites.dtype)
    # The inner choice keeps the infinite slope of log 0 out of gradients.
    log_share = torch.where(share > 0, torch.where(share > 0, share, 1.0).log(), -torch.inf)
    return torch.logaddexp(log_sites, log_share)


def invariant_sites(
    patterns: Patterns, model: SubstitutionModel
) -> Float[Tensor, "pattern"] | None:
    """Likelihood of each pattern for a site that never changes: the frequencies of the states that
    all taxa may have. None for a model without such sites."""
    share = model.invariant
    if share.device.type != "meta" and not share.requires_grad and float(share) == 0.0:
        return None
    shared = tip_partials(patterns, device=model.frequencies.device).prod(0)
    return model.frequencies @ shared


def tree_log_likelihood(
    patterns: Patterns, model: SubstitutionModel, trees: Trees
) -> Float[Tensor, "tree"]:
    """log L of trees of different topologies, on the device of `trees.lengths` (the model's too).

    Differentiable in lengths and in the model's parameters; memory is that of all partials."""
    children, lengths = trees.children, trees.lengths
    device, n = lengths.device, len(patterns.names)
    tips = tip_partials(patterns, model.n_categories, dtype=lengths.dtype, device=device)
    weights = patterns.weights.to(device)
    log_scales = lengths.new_zeros(len(children), len(weights))
    partials = lengths.new_zeros(2 * n - 1, len(children), *tips.shape[1:])
    partials[:n] = tips[:, None]
    rows = torch.arange(len(children), device=device)
    for k in range(n - 1):
        i, j = children[:, k, 0], children[:, k, 1]
        merged, log_scale = merge_partials(
            model, partials[i, rows], partials[j, rows], lengths[rows, i], lengths[rows, j]
        )
        # In place under autograd: reading by index keeps the indices only, never the values.
        partials[n + k] = merged
        log_scales = log_scales + log_scale
    invariant = invariant_sites(patterns, model)
    return root_log_likelihood(model, partials[-1], log_scales, weights, invariant)


def _carried(
    model: SubstitutionModel,
    partials: Float[Tensor, "batch channel pattern"],
    lengths: Float[Tensor, "batch"],
) -> Float[Tensor, "batch channel pattern"]:
    """P(t) applied to the partials below an edge."""
    matrices = model.transition(lengths.double()).to(partials.dtype)
    by_state = partials.unflatten(-2, (model.n_categories, 4))
    return (matrices @ by_state).flatten(-3, -2)


def _needs_graph(model: SubstitutionModel, parts: tuple[Tensor, ...]) -> bool:
    parameters = (value for value in vars(model).values() if isinstance(value, Tensor))
    return torch.is_grad_enabled() and any(t.requires_grad for t in (*parts, *parameters))


def _merge_compiled(
    model: SubstitutionModel, left: Tensor, right: Tensor, t_left: Tensor, t_right: Tensor
) -> tuple[Tensor, Tensor]:
    left, right = left.detach().contiguous(), right.detach().contiguous()
    merged, log_scales = torch.empty_like(left), left.new_empty(len(left), left.shape[-1])
    known = transitions(model)
    left_matrices, right_matrices = (
        known.matrices(lengths.detach().double().numpy()[:, None])[:, :, 0]
        for lengths in (t_left, t_right)
    )
    _forest_kernels.merge(
        left.numpy(),
        right.numpy(),
        left_matrices,
        right_matrices,
        known.equal_rates,
        merged.numpy(),
        log_scales.numpy(),
    )
    return merged, log_scales
