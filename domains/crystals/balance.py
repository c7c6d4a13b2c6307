"""Bounds on the share of the crystals that one anion, space group or formula may have, as weights of the law.

Formation energy alone fills a sample with fluorides of a few groups. Of all laws in which no label of a kind
has more than a share s of the crystals, the one closest to the stated law R (Kullback-Leibler divergence) is

    R(x) exp(-sum over kinds of lambda[label(x)]),    lambda >= 0, and 0 where a label has less than s

The lambdas are multipliers, found from crystals that come by, in steps

    lambda <- max(0, lambda + rate log(share / s))

on the crystals' reweighted shares: many, until those keep s, or one where the crystals follow slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from domains.crystals.crystals import Crystals

_RATE, _STEPS = 0.5, 60
_PART = 0.5  # of what many steps would change, as shares of few crystals are noisy
_SLOW_RATE = 0.2
_UNSEEN = 0.1  # crystals of a label that none of them has
_MOST_CHANGE = 3.0  # nats at once: a few crystals can break bounds that more would keep


def leading_anions(crystals: Crystals) -> Int[np.ndarray, "crystal"]:
    """The element with most negative ions in each crystal, the least electronegative of equals; -1 where
    none is negative."""
    counts = crystals.counts((crystals.kind >= 0) & (crystals.charge < 0))
    return np.where(counts.any(1), counts.argmax(1), -1)


def shares(kind: str, crystals: Crystals) -> dict[str, float]:
    """Share of the crystals that has each label of a kind ("anion", "group", "formula"), the largest first."""
    names, of = _labels(kind, crystals)
    found = np.bincount(of) / len(of)
    return {names[i]: float(found[i]) for i in np.argsort(-found, kind="stable")}


def largest_share(kind: str, crystals: Crystals) -> tuple[str, float]:
    """The most frequent label of a kind, and its share."""
    return next(iter(shares(kind, crystals).items()))


class Balance:
    """The multipliers, learned on the way.

    shares    s of each kind that is bounded ("anion": the one that leads, "group", "formula": reduced)
    penalty   kind -> label -> lambda in nats, of those above 0
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = dict(shares)
        self.penalty: dict[str, dict[str, float]] = {kind: {} for kind in self.shares}

    def nats(self, crystals: Crystals) -> Float[np.ndarray, "crystal"]:
        """By how much the log-reward of each crystal is lowered."""
        total = np.zeros(len(crystals))
        for kind, penalty in self.penalty.items():
            names, of = _labels(kind, crystals)
            total += np.array([penalty.get(name, 0.0) for name in names])[of]
        return total

    def learn(self, crystals: Crystals, power: float = 1.0, slowly: bool = False) -> None:
        """New multipliers from crystals of the law with the present ones, to the given power; in one small
        step where `slowly`."""
        rate, n_steps, part = (_SLOW_RATE, 1, 1.0) if slowly else (_RATE, _STEPS, _PART)
        n = len(crystals)
        labels = {kind: _labels(kind, crystals) for kind in self.shares}
        before = {kind: self._of(kind, names) for kind, (names, _) in labels.items()}
        now = {kind: values.copy() for kind, values in before.items()}
        for _ in range(n_steps):
            gained = np.zeros(n)
            for kind, (_, of) in labels.items():
                gained += (before[kind] - now[kind])[of]
            weight = np.exp(power * (gained - gained.max()))
            weight /= weight.sum()
            for kind, (names, of) in labels.items():
                share = np.bincount(of, weight, minlength=len(names))
                step = rate / power * np.log(np.maximum(share, 1e-30) / self.shares[kind])
                now[kind] = np.maximum(now[kind] + step, 0.0)
        for kind, (names, _) in labels.items():
            fall = min(rate / power * np.log(_UNSEEN / n / self.shares[kind]), 0.0)
            self._move(kind, dict(zip(names, now[kind].tolist(), strict=True)), fall, part)

    def _of(self, kind: str, names: list[str]) -> Float[np.ndarray, "label"]:
        return np.array([self.penalty[kind].get(name, 0.0) for name in names])

    def _move(self, kind: str, target: dict[str, float], fall: float, part: float) -> None:
        """Part of the way to the target; labels that no crystal has fall as if a tenth of one had."""
        old, kept = self.penalty[kind], {}
        for name in {**old, **target}:
            before = old.get(name, 0.0)
            change = part * (target[name] - before if name in target else fall)
            after = before + min(max(change, -_MOST_CHANGE), _MOST_CHANGE)
            if after > 1e-6:
                kept[name] = after
        self.penalty[kind] = kept

    def state_dict(self) -> dict[str, Any]:
        return {"penalty": {kind: dict(found) for kind, found in self.penalty.items()}}

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        self.penalty = {kind: dict(found) for kind, found in stored["penalty"].items()}


def _labels(kind: str, crystals: Crystals) -> tuple[list[str], Int[np.ndarray, "crystal"]]:
    """The different labels, and which of them each crystal has."""
    symbols = np.array([*crystals.elements.symbols, "none"])
    if kind == "formula":
        counts = crystals.counts()
        counts //= np.gcd.reduce(counts, axis=1)[:, None]
        rows, of = np.unique(counts, axis=0, return_inverse=True)
        return [_written(symbols, row) for row in rows], of.reshape(-1)
    raw = symbols[leading_anions(crystals)] if kind == "anion" else crystals.group.astype(str)
    names, of = np.unique(raw, return_inverse=True)
    return names.tolist(), of


def _written(symbols: np.ndarray, counts: Int[np.ndarray, "element"]) -> str:
    return "".join(f"{symbols[i]}{counts[i] if counts[i] > 1 else ''}" for i in counts.nonzero()[0])
