"""Log-likelihood of trees under a substitution model, many topologies at a time, with gradients.

    log L(tree) = sum over patterns of weight * log( sum_c w_c sum_s pi_s L_c(s) + w_0 pi(invariant) )

Felsenstein, Evolutionary trees from DNA sequences: a maximum likelihood approach, 1981. Gaps and unknown
characters count as missing; other IUPAC codes as the set of their bases. The work is done by compiled
kernels on the CPU, in float64, and by `torch_likelihood` on other devices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from domains.phylogeny import _gradient_kernels, _likelihood_kernels
from domains.phylogeny.models import SubstitutionModel
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.torch_likelihood import (
    known_states,
    tree_log_likelihood,
)
from domains.phylogeny.transitions import transitions
from domains.phylogeny.trees import Trees
from workbench.errors import InputError

LANES = _likelihood_kernels.LANES
# Trees that are taken through one block of patterns while its tips are in the cache.
TREES_AT_A_TIME = 16
ENOUGH_FREQUENCY_STEPS = 1000


@dataclass
class EvaluationCount:
    """How often likelihoods were computed: the cost in every report. `n_gradient` is a subset."""

    n_likelihood: int = 0
    n_gradient: int = 0


@dataclass(frozen=True)
class _Blocks:
    """Patterns in blocks of `LANES`, the last one filled up with missing characters of weight zero."""

    tips: NDArray[np.float64]  # [block, taxon, 4 LANES]
    weights: NDArray[np.float64]  # [block, LANES]
    common: NDArray[np.uint8]  # [block, LANES]: states that every taxon may have


class TreeLikelihood:
    """log L of `Trees` for the taxa of `patterns`, in the order of their names.

    `count` counts evaluations; `with_model` gives the same alignment under another model with the same
    counter. Raises `InputError` for trees with another number of taxa or with negative lengths.
    """

    def __init__(self, patterns: Patterns, model: SubstitutionModel) -> None:
        self.patterns = patterns
        self.count = EvaluationCount()
        self._blocks = _blocks(patterns)
        self._set_model(model)

    def with_model(self, model: SubstitutionModel) -> TreeLikelihood:
        other = TreeLikelihood.__new__(TreeLikelihood)
        other.patterns, other.count, other._blocks = self.patterns, self.count, self._blocks
        other._set_model(model)
        return other

    def log_likelihood(self, trees: Trees) -> Float[Tensor, "tree"]:
        """float64, on the trees' device."""
        self._check(trees)
        self.count.n_likelihood += len(trees.children)
        if trees.lengths.device.type != "cpu":
            with torch.no_grad():
                return tree_log_likelihood(self.patterns, self.model, trees)
        return torch.from_numpy(self._evaluate(trees, None))

    def log_likelihood_and_gradient(
        self, trees: Trees
    ) -> tuple[Float[Tensor, "tree"], Float[Tensor, "tree edge"]]:
        """log L and its derivatives [tree, 2n-2] in `trees.lengths`.

        Where a site is impossible (differing tips at distance zero) log L is minus infinity and the
        gradient not a number."""
        self._check(trees)
        self.count.n_likelihood += len(trees.children)
        self.count.n_gradient += len(trees.children)
        if trees.lengths.device.type != "cpu":
            lengths = trees.lengths.detach().double().requires_grad_()
            value = tree_log_likelihood(self.patterns, self.model, Trees(trees.children, lengths))
            (slope,) = torch.autograd.grad(value.sum(), lengths)
            return value.detach(), slope
        gradients = np.zeros(trees.lengths.shape)
        return torch.from_numpy(self._evaluate(trees, gradients)), torch.from_numpy(gradients)

    def _set_model(self, model: SubstitutionModel) -> None:
        self.model = model
        frequencies, category_weights, rates = (
            values.detach().cpu().numpy()
            for values in (model.frequencies, model.category_weights, model.category_rates)
        )
        flux = frequencies[:, None] * model.rate_matrix().detach().cpu().numpy()
        self._model = (frequencies, category_weights)
        self._model_and_rates = (*self._model, rates, np.ascontiguousarray(flux.reshape(-1)))
        self._transitions = transitions(model)
        allowed = (self._blocks.common[..., None] >> np.arange(4)) & 1
        self._invariant = float(model.invariant.detach()) * (allowed @ frequencies)

    def _evaluate(self, trees: Trees, gradients: NDArray[np.float64] | None) -> NDArray[np.float64]:
        children = np.ascontiguousarray(trees.children.numpy(), dtype=np.int64)
        lengths = np.ascontiguousarray(trees.lengths.detach().numpy(), dtype=np.float64)
        values = np.zeros(len(children))
        blocks = self._blocks
        for start in range(0, len(children), TREES_AT_A_TIME):
            part = slice(start, start + TREES_AT_A_TIME)
            shared = (
                children[part],
                self._transitions.matrices(lengths[part]),
                self._transitions.equal_rates,
                blocks.tips,
                blocks.weights,
                self._invariant,
            )
            if gradients is None:
                _likelihood_kernels.log_likelihoods(*shared, self._model, values[part])
            else:
                _gradient_kernels.log_likelihoods_and_gradients(
                    *shared, self._model_and_rates, values[part], gradients[part]
                )
        return values

    def _check(self, trees: Trees) -> None:
        n_tips, n_taxa = trees.children.shape[1] + 1, len(self.patterns.names)
        if n_tips != n_taxa:
            raise InputError(
                f"the trees have {n_tips} tips but the alignment has {n_taxa} taxa: prune the one "
                "or select from the other"
            )
        lengths = trees.lengths
        if len(lengths) and not (float(lengths.min()) >= 0 and float(lengths.max()) < torch.inf):
            bad = ~((lengths >= 0) & (lengths < torch.inf))
            tree, edge = (int(index[0]) for index in bad.nonzero(as_tuple=True))
            raise InputError(
                f"the edge above node {edge} of tree {tree} has length {float(lengths[tree, edge])}: "
                "lengths must be finite and not negative"
            )


def counted_frequencies(patterns: Patterns) -> tuple[float, float, float, float]:
    """Frequencies of A, C, G, T in the alignment, those behind ambiguity codes shared out in
    proportion (expectation-maximisation until it stands still). Gaps and unknowns do not count.

    Raises `InputError` where a base never occurs: a model's frequencies must be positive."""
    masks = known_states(patterns.states)
    sites = (masks != 15) * patterns.weights
    n_by_mask = torch.bincount(masks.long().reshape(-1), sites.reshape(-1), minlength=16)
    allowed = ((torch.arange(16)[:, None] >> torch.arange(4)) & 1).double()
    frequencies = torch.full((4,), 0.25, dtype=torch.float64)
    for _ in range(ENOUGH_FREQUENCY_STEPS):
        share = allowed * frequencies
        share = share / share.sum(-1, keepdim=True).clamp_min(1e-300)
        counts = n_by_mask @ share
        updated = counts / counts.sum()
        done = bool((updated - frequencies).abs().max() < 1e-14)
        frequencies = updated
        if done:
            break
    if not bool((frequencies > 1e-12).all()):
        absent = [
            base for base, share in zip("ACGT", frequencies.tolist(), strict=True) if share <= 1e-12
        ]
        raise InputError(
            f"{', '.join(absent)} never occurs in the alignment, so its frequency cannot be counted: "
            "give frequencies in braces (+F{...}) or use +FQ"
        )
    a, c, g, t = frequencies.tolist()
    return a, c, g, t


def _blocks(patterns: Patterns) -> _Blocks:
    states = known_states(patterns.states).numpy()
    distinct, member = np.unique(states, axis=1, return_inverse=True)
    weights = np.bincount(member.ravel(), weights=patterns.weights.numpy())
    n_taxa, n_patterns = distinct.shape
    n_blocks = -(-n_patterns // LANES)
    masks = np.full((n_taxa, n_blocks * LANES), 15, dtype=np.uint8)
    masks[:, :n_patterns] = distinct
    padded = np.zeros(n_blocks * LANES)
    padded[:n_patterns] = weights
    bits = ((masks[:, None, :] >> np.arange(4, dtype=np.uint8)[:, None]) & 1).astype(np.float64)
    by_block = bits.reshape(n_taxa, 4, n_blocks, LANES).transpose(2, 0, 1, 3)
    return _Blocks(
        tips=np.ascontiguousarray(by_block).reshape(n_blocks, n_taxa, 4 * LANES),
        weights=padded.reshape(n_blocks, LANES),
        common=np.bitwise_and.reduce(masks, axis=0).reshape(n_blocks, LANES),
    )
