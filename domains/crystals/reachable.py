"""Which charges can still be brought to zero: the tables behind masks without dead ends.

For every space group, every element in ascending order and every count of what has been placed, a table
holds the charges from which a neutral crystal within the limits can still be completed, by dynamic
programming from the end. An action is allowed iff the charge it leads to is in the table, so every unfinished
crystal has an allowed action and every finished one is neutral. Only the multiplicities of a group's
positions matter, so groups that agree in them share a table.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from domains.crystals import _reachable_kernels as kernels
from domains.crystals.elements import Elements
from domains.crystals.wyckoff import wyckoff


@dataclass(frozen=True)
class Limits:
    """What a crystal may be made of.

    most_atoms               in the primitive cell
    fewest_kinds, most_kinds different elements
    required                 elements that must be there, by their number in `Elements`
    """

    most_atoms: int
    fewest_kinds: int = 1
    most_kinds: int = 5
    required: tuple[int, ...] = ()


@dataclass(frozen=True)
class Classes:
    """The positions of a group by multiplicity: sizes, strides in `used` (0 = never used up), counts, and
    the class of each position (-1: too large)."""

    size: np.ndarray
    stride: np.ndarray
    count: np.ndarray
    n_used: int
    of_position: np.ndarray


@dataclass(frozen=True)
class Reachable:
    """Tables of all groups of a run, flat; group i begins at `before_start[i]`, `inside_start[i]`.

    zero     bit of charge 0 in a row of `n_words` words
    """

    before: np.ndarray
    inside: np.ndarray
    before_start: np.ndarray
    inside_start: np.ndarray
    classes: tuple[Classes, ...]
    zero: int
    n_words: int


def classes_of(group: int, most_atoms: int) -> Classes:
    """The classes of a space group, 1 to 230."""
    table, places = wyckoff(), np.array(wyckoff().positions(group))
    size, free = table.multiplicity[places], table.free[places].any(1)
    fixed = sorted(Counter(size[~free & (size <= most_atoms)].tolist()).items())
    loose = sorted(set(size[free & (size <= most_atoms)].tolist()))
    strides, n_used = [], 1
    for _, count in fixed:
        strides.append(n_used)
        n_used *= count + 1
    of_position = np.full(len(places), -1)
    for i, (mu, is_free) in enumerate(zip(size.tolist(), free, strict=True)):
        if mu <= most_atoms:
            sizes = [m for m, _ in fixed]
            of_position[i] = len(fixed) + loose.index(mu) if is_free else sizes.index(mu)
    return Classes(
        size=np.array([m for m, _ in fixed] + loose, dtype=np.int64),
        stride=np.array(strides + [0] * len(loose), dtype=np.int64),
        count=np.array([c for _, c in fixed] + [0] * len(loose), dtype=np.int64),
        n_used=n_used,
        of_position=of_position,
    )


def reachable(elements: Elements, groups: tuple[int, ...], limits: Limits) -> Reachable:
    """The tables for these groups."""
    most_charge = int(np.abs(elements.state).max()) * limits.most_atoms
    n_words = -(-(2 * most_charge + 1) // 64)
    required = np.zeros(len(elements), dtype=np.bool_)
    required[list(limits.required)] = True
    numbers = np.array([limits.fewest_kinds, limits.most_kinds, limits.most_atoms, most_charge])

    every = tuple(classes_of(group, limits.most_atoms) for group in groups)
    starts: list[tuple[int, int]] = []
    known: dict[tuple, tuple[int, int]] = {}
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    begin = (0, 0)
    for one in every:
        key = (one.size.tobytes(), one.stride.tobytes(), one.count.tobytes())
        if key not in known:
            shape = (limits.most_kinds + 1, limits.most_atoms + 1, one.n_used, n_words)
            before = np.zeros((len(elements) + 1, *shape), dtype=np.uint64)
            inside = np.zeros((len(elements.state), *shape), dtype=np.uint64)
            kernels.fill_tables(
                *(elements.first_state, elements.state, required, numbers),
                *(one.size, one.stride, one.count, before, inside),
            )
            parts.append((before.ravel(), inside.ravel()))
            known[key] = begin
            begin = (begin[0] + before.size, begin[1] + inside.size)
        starts.append(known[key])
    return Reachable(
        before=np.concatenate([before for before, _ in parts]),
        inside=np.concatenate([inside for _, inside in parts]),
        before_start=np.array([start for start, _ in starts], dtype=np.int64),
        inside_start=np.array([start for _, start in starts], dtype=np.int64),
        classes=every,
        zero=most_charge,
        n_words=n_words,
    )
