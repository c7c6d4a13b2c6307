"""The anion that leads a crystal, and weights that keep one anion from filling a sample.

Formation energy alone prefers fluorides. Of all laws in which no anion leads more than a share s of the
crystals, the one closest to the stated law R (in Kullback-Leibler divergence) is

    R(x) exp(-lambda[a(x)]),    lambda[a] >= 0, and 0 where a leads less than s

with a(x) the most abundant negative ion of x. The lambdas are multipliers, found from crystals that come by:
steps lambda[a] <- max(0, lambda[a] + rate log(share[a] / s)) on their reweighted shares, until those keep s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from domains.crystals.crystals import Crystals

_RATE, _STEPS = 0.5, 50
_UNSEEN = 0.01  # crystals of an anion that none of them leads


def leading_anions(crystals: Crystals) -> Int[np.ndarray, "crystal"]:
    """The element with most negative ions in each crystal, the least electronegative of equals; -1 where
    none is negative."""
    n, width = len(crystals), len(crystals.elements)
    row, slot = ((crystals.kind >= 0) & (crystals.charge < 0)).nonzero()
    cell = row * width + crystals.kind[row, slot]
    counts = np.bincount(cell, minlength=n * width).reshape(n, width)
    return np.where(counts.any(1), counts.argmax(1), -1)


class AnionBalance:
    """The multipliers, learned on the way.

    most_share   s; 1 leaves the law as it is
    penalty      [element] lambda, nats
    """

    def __init__(self, n_elements: int, most_share: float) -> None:
        self.most_share = most_share
        self.penalty: Float[np.ndarray, "element"] = np.zeros(n_elements)

    @property
    def binds(self) -> bool:
        return self.most_share < 1.0

    def nats(self, crystals: Crystals) -> Float[np.ndarray, "crystal"]:
        """lambda of each crystal's leading anion; 0 where it has none."""
        if not self.binds:
            return np.zeros(len(crystals))
        leading = leading_anions(crystals)
        return np.where(leading >= 0, self.penalty[leading], 0.0)

    def learn(self, crystals: Crystals, power: float = 1.0) -> None:
        """New multipliers from crystals of the law with the present ones, to the given power."""
        leading = leading_anions(crystals)
        counts = np.bincount(leading[leading >= 0], minlength=len(self.penalty)) + _UNSEEN
        before = self.penalty
        for _ in range(_STEPS):
            weight = counts * np.exp(power * (before - self.penalty))
            step = _RATE / power * np.log(weight / weight.sum() / self.most_share)
            self.penalty = np.maximum(self.penalty + step, 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"penalty": self.penalty.copy()}

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        self.penalty = stored["penalty"]
