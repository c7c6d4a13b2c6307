"""Transition matrices for the compiled kernels: a model's eigen decomposition, made once.

    Q = right diag(eigenvalues) left,   real because the model is reversible

by way of the symmetric matrix diag(pi)^1/2 Q diag(pi)^-1/2.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from domains.phylogeny import _transition_kernels
from domains.phylogeny.models import SubstitutionModel


class Transitions:
    """P(t) of one model, without graph.

    equal_rates  True: JC69, closed form
    rates        [category]
    """

    def __init__(self, model: SubstitutionModel) -> None:
        self.equal_rates = model.has_equal_rates()
        self.rates = model.category_rates.detach().cpu().numpy()
        rate_matrix = model.rate_matrix().detach().cpu().numpy()
        root = np.sqrt(model.frequencies.detach().cpu().numpy())
        symmetric = root[:, None] * rate_matrix / root
        eigenvalues, vectors = np.linalg.eigh(0.5 * (symmetric + symmetric.T))
        self.eigenvalues = np.minimum(eigenvalues, 0.0)  # the stationary one is zero up to rounding
        self.right = np.ascontiguousarray(vectors / root[:, None])
        self.left = np.ascontiguousarray(vectors.T * root)

    def matrices(
        self, lengths: Float[np.ndarray, "tree edge"]
    ) -> Float[np.ndarray, "tree category edge entry"]:
        """Entry 4 from + to, of 16. Under `equal_rates` two: staying, and any other state."""
        n_trees, n_edges = lengths.shape
        n_entries = 2 if self.equal_rates else 16
        matrices = np.empty((n_trees, len(self.rates), n_edges, n_entries))
        if self.equal_rates:
            _transition_kernels.equal_matrices(lengths, self.rates, matrices)
        else:
            _transition_kernels.transition_matrices(
                lengths, self.rates, self.right, self.eigenvalues, self.left, matrices
            )
        return matrices


@lru_cache(maxsize=16)
def transitions(model: SubstitutionModel) -> Transitions:
    """The `Transitions` of a model, kept for the next call with the same model."""
    return Transitions(model)
