"""Known structure types, the baseline that puts new elements into them, and a name for any structure type.

A type here is a group, occupied positions and their free coordinates (textbook values: Wyckoff, "Crystal
Structures", 1963; the AFLOW prototype encyclopedia, Mehl et al. 2017), with the charge sign of each
site. `substituted` gives the neutral assignments of a run's elements to the sites, in their common oxidation
states, cations to cation sites and anions to anion sites: all of them, or a number of them drawn at random
with types in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from domains.crystals.crystals import Crystals, join
from domains.crystals.elements import Elements
from domains.crystals.equivalents import Equivalents
from domains.crystals.orbits import OrbitEnvironment, OrbitState
from domains.crystals.parameters import VOLUME_FACTORS, Parameters
from domains.crystals.reachable import Limits
from domains.crystals.wyckoff import LETTERS, PRIMITIVE, wyckoff


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    sites      per kind of atom: a sign (+1 cation, -1 anion) and its positions, each a letter with values of
               its free coordinates in order
    axial      c / a of the conventional cell (1 where the group fixes it)
    """

    name: str
    group: int
    sites: tuple[tuple[int, tuple[tuple[str, tuple[float, ...]], ...]], ...]
    axial: float = 1.0


PROTOTYPES = (
    Prototype("rock salt", 225, ((1, (("a", ()),)), (-1, (("b", ()),)))),
    Prototype("caesium chloride", 221, ((1, (("a", ()),)), (-1, (("b", ()),)))),
    Prototype("zincblende", 216, ((1, (("a", ()),)), (-1, (("c", ()),)))),
    Prototype("wurtzite", 186, ((1, (("b", (0.0,)),)), (-1, (("b", (0.375,)),))), 1.633),
    Prototype("nickel arsenide", 194, ((1, (("a", ()),)), (-1, (("c", ()),))), 1.6),
    Prototype("fluorite", 225, ((1, (("a", ()),)), (-1, (("c", ()),)))),
    Prototype("antifluorite", 225, ((-1, (("a", ()),)), (1, (("c", ()),)))),
    Prototype("rutile", 136, ((1, (("a", ()),)), (-1, (("f", (0.305,)),))), 0.65),
    Prototype("cadmium iodide", 164, ((1, (("a", ()),)), (-1, (("d", (0.25,)),))), 1.6),
    Prototype("cadmium chloride", 166, ((1, (("a", ()),)), (-1, (("c", (0.25,)),))), 4.5),
    Prototype("cuprite", 224, ((-1, (("a", ()),)), (1, (("b", ()),)))),
    Prototype("rhenium trioxide", 221, ((1, (("a", ()),)), (-1, (("d", ()),)))),
    Prototype("corundum", 167, ((1, (("c", (0.352,)),)), (-1, (("e", (0.306,)),))), 2.73),
    Prototype("perovskite", 221, ((1, (("a", ()),)), (1, (("b", ()),)), (-1, (("c", ()),)))),
    Prototype(
        "layered alpha-NaFeO2",
        166,
        ((1, (("a", ()),)), (1, (("b", ()),)), (-1, (("c", (0.26,)),))),
        5.0,
    ),
    Prototype(
        "chalcopyrite", 122, ((1, (("a", ()),)), (1, (("b", ()),)), (-1, (("d", (0.25,)),))), 1.96
    ),
    Prototype("half-Heusler", 216, ((1, (("a", ()),)), (1, (("b", ()),)), (-1, (("c", ()),)))),
    Prototype("spinel", 227, ((1, (("a", ()),)), (1, (("d", ()),)), (-1, (("e", (0.2625,)),)))),
    Prototype(
        "elpasolite",
        225,
        ((1, (("c", ()),)), (1, (("a", ()),)), (1, (("b", ()),)), (-1, (("e", (0.24,)),))),
    ),
)


@dataclass(frozen=True)
class Substituted:
    """Crystals of `prototype[i]`'s type, all of the same elements."""

    crystals: Crystals
    prototype: list[Prototype]


def substituted(
    elements: Elements, limits: Limits, groups: Sequence[int], most: int, rng: np.random.Generator
) -> Substituted | None:
    """At most `most` neutral substitutions within the limits, with the volume that the ions fill; None where
    there is none."""
    parts: list[Crystals] = []
    types: list[Prototype] = []
    able = [
        prototype
        for prototype in PROTOTYPES
        if prototype.group in groups and _n_atoms(prototype) <= limits.most_atoms
    ]
    every = [list(_assignments(elements, prototype, limits)) for prototype in able]
    for prototype, found, n in zip(
        able, every, _shares([len(e) for e in every], most), strict=True
    ):
        kinds = [found[i] for i in np.sort(rng.permutation(len(found))[:n])]
        if not kinds:
            continue
        own = OrbitEnvironment(elements, [prototype.group], Limits(_n_atoms(prototype)))
        parts.append(_crystals(own, prototype, kinds))
        types += [prototype] * len(kinds)
    return Substituted(join(parts), types) if parts else None


def _shares(counts: list[int], most: int) -> list[int]:
    """How many of each kind are taken when kinds are served in turn until `most` are given."""
    taken, left = [0] * len(counts), min(most, sum(counts))
    while left:
        for i, count in enumerate(counts):
            if left and taken[i] < count:
                taken[i], left = taken[i] + 1, left - 1
    return taken


def _places(prototype: Prototype) -> list[tuple[int, int, tuple[float, ...]]]:
    """Site, position in the group and coordinates of each orbit."""
    return [
        (i, LETTERS.index(letter), values)
        for i, (_, orbits) in enumerate(prototype.sites)
        for letter, values in orbits
    ]


def _sizes(prototype: Prototype) -> list[int]:
    """Atoms of each site in the primitive cell."""
    table, sizes = wyckoff(), [0] * len(prototype.sites)
    first = int(table.first_position[prototype.group - 1])
    for site, position, _ in _places(prototype):
        sizes[site] += int(table.multiplicity[first + position])
    return sizes


def _n_atoms(prototype: Prototype) -> int:
    return sum(_sizes(prototype))


def _assignments(
    elements: Elements, prototype: Prototype, limits: Limits
) -> Iterator[tuple[int, ...]]:
    """Different elements for the sites, neutral in common oxidation states of the sites' signs."""
    sizes, signs = _sizes(prototype), [sign for sign, _ in prototype.sites]
    if not limits.fewest_kinds <= len(sizes) <= limits.most_kinds:
        return
    common: list[set[int]] = []
    for kind in range(len(elements)):
        own = slice(elements.first_state[kind], elements.first_state[kind + 1])
        common.append({int(s) for s in elements.state[own][elements.state_cost[own] == 0]})
    for kinds in itertools.permutations(range(len(elements)), len(sizes)):
        if not set(limits.required) <= set(kinds):
            continue
        choices = [
            [s for s in common[k] if s * sign > 0] for k, sign in zip(kinds, signs, strict=True)
        ]
        charges = (
            sum(n * s for n, s in zip(sizes, states, strict=True))
            for states in itertools.product(*choices)
        )
        if any(charge == 0 for charge in charges):
            yield kinds


def _crystals(
    environment: OrbitEnvironment, prototype: Prototype, kinds: list[tuple[int, ...]]
) -> Crystals:
    """The prototype's orbits with the elements `kinds[i]` on its sites, as crystal i."""
    parameters = Parameters(environment)
    n, width = len(kinds), environment.limits.most_atoms
    position = torch.full((n, width), -1)
    element = torch.full((n, width), -1)
    values = torch.zeros(n, parameters.most, dtype=torch.float64)
    for row, chosen in enumerate(kinds):
        orbits = sorted((chosen[site], place, xyz) for site, place, xyz in _places(prototype))
        numbers = [*_shape_values(prototype), _volume_value()]
        for slot, (kind, place, xyz) in enumerate(orbits):
            position[row, slot], element[row, slot] = place, kind
            numbers += [x % 1.0 for x in xyz]
        values[row, : len(numbers)] = torch.tensor(numbers)
    group = torch.zeros(n, dtype=torch.int64)
    state = OrbitState(group, position, element, torch.ones(n, dtype=torch.bool))
    return parameters.crystals(state, values)


def _volume_value() -> float:
    """The number that stands for the volume of the ions themselves."""
    low, high = np.log(VOLUME_FACTORS)
    return float(-low / (high - low))


def _shape_values(prototype: Prototype) -> list[float]:
    table = wyckoff()
    system = int(table.system[prototype.group - 1])
    if system == 6:
        return []
    centre = {3: 1.0, 4: 1.2, 5: 1.2}[system]
    if len(PRIMITIVE) - 1 == table.centring[prototype.group - 1]:
        centre = 6.0**0.5
    return [0.5 * (1.0 + float(np.log(prototype.axial / centre) / np.log(3.0)))]


def type_name(equivalents: Equivalents, state: OrbitState, row: int) -> str:
    """Anonymous formula, group and Wyckoff sequence, the same for all settings of one structure type: as
    "A1B1-225-a-b"."""
    group = equivalents.environment.groups[int(state.group[row])]
    first = int(wyckoff().first_position[group - 1])
    names = []
    for image in equivalents.images(state, row):
        sites: dict[int, list[int]] = {}
        for element, position in image.tolist():
            sites.setdefault(element, []).append(position)
        sized = [
            (sum(int(wyckoff().multiplicity[first + p]) for p in sorted(places)), sorted(places))
            for places in sites.values()
        ]
        names.append(sorted(sized))
    best = min(names)
    divisor = int(np.gcd.reduce([n for n, _ in best]))
    formula = "".join(f"{LETTERS[i].upper()}{n // divisor}" for i, (n, _) in enumerate(best))
    sequence = "-".join("".join(LETTERS[p] for p in places) for _, places in best)
    return f"{formula}-{group}-{sequence}"
