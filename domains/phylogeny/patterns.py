"""Site patterns: the distinct columns of an alignment and how often each occurs.

Likelihood and parsimony are sums over sites that depend on the column alone, so every distinct column
is computed once and weighted by its count (J. Felsenstein, "Evolutionary trees from DNA sequences: a
maximum likelihood approach", J. Mol. Evol. 17, 368 (1981)). Columns are compared as they were
written: a gap and an unknown base differ here, since the fifth-state convention of parsimony tells
them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from workbench.errors import InputError, nearest

if TYPE_CHECKING:
    from domains.phylogeny.alignment import Alignment


@dataclass(frozen=True)
class Patterns:
    """The distinct columns of an alignment.

    names      the taxa, in the order of the rows; tips of `Trees` are numbered by it
    states     [taxon, pattern] bit masks of `domains.phylogeny.characters`
    weights    [pattern] how many sites show the pattern
    n_sites    sum of the weights
    """

    names: tuple[str, ...]
    states: UInt8[Tensor, "taxon pattern"]
    weights: Float[Tensor, "pattern"]
    n_sites: int

    @property
    def n_taxa(self) -> int:
        return len(self.names)

    @classmethod
    def from_alignment(cls, alignment: Alignment) -> Patterns:
        """The patterns of all sites of `alignment`, in the order of their first appearance."""
        states, counts = _distinct(alignment.states.numpy(), np.ones(alignment.states.shape[1]))
        return cls(alignment.names, states, counts, alignment.states.shape[1])

    def take(self, names: Sequence[str]) -> Patterns:
        """The patterns of these taxa, in this order.

        Raises InputError for a name that is not there or is given twice.
        """
        rows = {name: row for row, name in enumerate(self.names)}
        for name in names:
            if name not in rows:
                hint = nearest(name, self.names)
                raise InputError(f'taxon "{name}" is not in the alignment{hint}: check its name')
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            raise InputError(f"taxa given twice ({', '.join(twice)}): name each taxon once")
        chosen = self.states[[rows[name] for name in names]].numpy()
        states, counts = _distinct(chosen, self.weights.numpy())
        return Patterns(tuple(names), states, counts, self.n_sites)


def _distinct(columns: np.ndarray, weights: np.ndarray) -> tuple[Tensor, Tensor]:
    """The distinct columns of a [taxon, column] array and the sum of the weights of each."""
    as_rows = np.ascontiguousarray(columns.T)
    keys = as_rows.view(np.dtype((np.void, as_rows.shape[1]))).ravel()
    _, first, member = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    counts = np.bincount(member.ravel(), weights=weights)[order]
    states = np.ascontiguousarray(as_rows[first[order]].T)
    return torch.from_numpy(states), torch.from_numpy(counts)
