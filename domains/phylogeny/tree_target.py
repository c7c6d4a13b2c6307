"""The posterior of trees in the form that compiled Markov chains take: tips as partial likelihoods, models
as arrays.

    log posterior = log P(data | tree, lengths, model) + sum_e (log rate - rate length_e) - log (2n-5)!!
                    (+ log prior of the model's free parameters)

with independent exponential lengths on the 2n-3 edges and uniform unrooted topologies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny._partial_kernels import LANES
from domains.phylogeny._tree_chain_kernels import Models, log_likelihoods_of
from domains.phylogeny.likelihood import counted_frequencies
from domains.phylogeny.model_parameters import log_prior, to_values, to_vector
from domains.phylogeny.model_strings import ModelSpecification, Values, parse_model
from domains.phylogeny.models import SubstitutionModel
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.transitions import Transitions
from domains.phylogeny.tree_moves import Hanging
from workbench.errors import InputError

_ANY_BASE = 15


@dataclass(frozen=True)
class SiteArrays:
    """Patterns sorted by weight, in blocks: see `_partial_kernels.Sites`."""

    tips: np.ndarray
    weights: np.ndarray
    uniform: np.ndarray
    shared_states: np.ndarray


@dataclass(frozen=True)
class TreeTarget:
    """The posterior of trees, lengths and whatever parameters the model leaves free.

    specification  JC69, or what `parse_model` makes of a model string
    rate           of the exponential prior of edge lengths, in sites per expected substitution

    Raises `InputError` for fewer than 4 taxa (one topology: nothing to sample) or a rate that is not
    positive.
    """

    patterns: Patterns
    specification: ModelSpecification = field(default_factory=lambda: parse_model("JC69"))
    rate: float = 10.0

    def __post_init__(self) -> None:
        if self.patterns.n_taxa < 4:
            raise InputError(
                f"{self.patterns.n_taxa} taxa have one unrooted tree: give at least 4 to sample trees"
            )
        TreePrior(self.rate)  # refuses a bad rate

    @property
    def n_taxa(self) -> int:
        return self.patterns.n_taxa

    @cached_property
    def sites(self) -> SiteArrays:
        return site_arrays(self.patterns)

    @cached_property
    def start(self) -> Float[Tensor, "parameter"]:
        """Where the free parameters start (see `model_parameters`)."""
        return to_vector(self.specification, self.specification.starts(self.counted))

    @cached_property
    def counted(self) -> Values:
        """Frequencies of the bases in the alignment, where the model asks for them."""
        return counted_frequencies(self.patterns) if self._counts() else (0.25,) * 4

    def _counts(self) -> bool:
        return "frequencies" in self.specification.parameters

    def model(self, z: Float[Tensor, "parameter"]) -> SubstitutionModel:
        """The model with these free parameters."""
        return self._model(tuple(z.tolist()))

    @cached_property
    def _model(self) -> Callable[[tuple[float, ...]], SubstitutionModel]:
        """Built once for each vector: gamma rates take milliseconds, and most proposals are refused."""

        def built(z: tuple[float, ...]) -> SubstitutionModel:
            values = to_values(self.specification, torch.tensor(z, dtype=torch.float64))
            if self.specification.counted:
                values["frequencies"] = self.counted
            return self.specification.build(values)

        return lru_cache(maxsize=512)(built)

    def models(self, z: Float[Tensor, "chain parameter"]) -> Models:
        """The models of all chains, as arrays."""
        if z.shape[1] > 0:
            return model_arrays([self.model(row) for row in z], self.sites)
        return Models(*(np.repeat(array, len(z), axis=0) for array in self._fixed))

    @cached_property
    def _fixed(self) -> Models:
        return model_arrays([self.model(self.start)], self.sites)

    @cached_property
    def equal_input(self) -> bool:
        """True for JC69 and F81, whose transition probabilities have a closed form."""
        return self.specification.family in ("JC69", "F81")

    def log_tree_prior(self, length_sum: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Log prior density of topology and lengths, from the sum of the 2n-3 lengths."""
        return TreePrior(self.rate).log_density_of(self.n_taxa, length_sum)

    def log_parameter_prior(self, z: Float[Tensor, "*batch parameter"]) -> Float[Tensor, "*batch"]:
        """Log prior density of the free parameters."""
        if z.shape[-1] == 0:
            return torch.zeros(z.shape[:-1], dtype=torch.float64)
        rows = [log_prior(self.specification, row) for row in z.reshape(-1, z.shape[-1])]
        return torch.tensor(rows, dtype=torch.float64).view(z.shape[:-1])

    def log_likelihood(
        self, trees: Hanging, z: Float[Tensor, "tree parameter"]
    ) -> Float[Tensor, "tree"]:
        """Log-likelihood of each tree under its own model."""
        sites = self.sites
        values = log_likelihoods_of(
            sites.tips,
            sites.weights,
            sites.uniform,
            self.equal_input,
            self.models(z),
            trees.parent.numpy(),
            trees.child.numpy(),
            trees.lengths.numpy(),
        )
        return torch.from_numpy(values)


def site_arrays(patterns: Patterns) -> SiteArrays:
    """Gaps and unknowns are missing data; the last block is filled up with patterns of weight zero."""
    order = torch.argsort(patterns.weights, descending=True, stable=True)
    masks = patterns.states.numpy()[:, order.numpy()].astype(np.int64)
    masks = np.where(masks & _ANY_BASE > 0, masks & _ANY_BASE, _ANY_BASE)
    n_taxa, n_patterns = masks.shape
    n_blocks = -(-n_patterns // LANES)
    filled = np.full((n_taxa, n_blocks * LANES), _ANY_BASE)
    filled[:, :n_patterns] = masks
    weights = np.zeros(n_blocks * LANES)
    weights[:n_patterns] = patterns.weights.numpy()[order.numpy()]
    by_block = weights.reshape(n_blocks, LANES)
    uniform = np.where((by_block == by_block[:, :1]).all(1), by_block[:, 0], 0.0)
    state = np.arange(4)[None, :, None]
    dense = ((filled[:, None] >> state) & 1).astype(np.float64)
    dense = dense.reshape(n_taxa, 4, n_blocks, LANES).transpose(0, 2, 1, 3)
    tips = np.ascontiguousarray(dense).reshape(n_taxa, n_blocks, 4 * LANES)
    shared = np.bitwise_and.reduce(filled, axis=0)
    shared_states = ((shared[:, None] >> np.arange(4)) & 1).astype(np.float64)
    return SiteArrays(tips, weights, uniform, shared_states)


def model_arrays(models: Sequence[SubstitutionModel], sites: SiteArrays) -> Models:
    """The models [chain] as one table; all have the same number of rate categories."""
    parts = [Transitions(model) for model in models]
    frequencies = np.stack([model.frequencies.numpy() for model in models])
    return Models(
        invariant=np.ascontiguousarray(frequencies @ sites.shared_states.T),
        eigenvalues=np.stack([part.eigenvalues for part in parts]),
        left=np.stack([part.left for part in parts]),
        right=np.stack([part.right for part in parts]),
        frequencies=frequencies,
        rates=np.stack([model.category_rates.numpy() for model in models]),
        shares=np.stack([model.category_weights.numpy() for model in models]),
        p_invariant=np.array([float(model.invariant) for model in models]),
    )
