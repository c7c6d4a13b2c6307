"""Descriptions of one crystal, against crystals built from each of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from domains.crystals.elements import elements
from domains.crystals.equivalents import Equivalents
from domains.crystals.fingerprint import fingerprints
from domains.crystals.orbits import OrbitEnvironment, OrbitState
from domains.crystals.parameters import Parameters
from domains.crystals.prototypes import type_name
from domains.crystals.reachable import Limits
from domains.crystals.wyckoff import wyckoff


def described(group, sites, groups=None, most_atoms=8):
    """An equivalents object and the state of one crystal of Na (0) and Cl (1); `sites` are (element,
    letter)."""
    env = OrbitEnvironment(elements(["Na", "Cl"]), groups or (group,), Limits(most_atoms))
    position = torch.full((1, most_atoms), -1)
    element = torch.full((1, most_atoms), -1)
    for slot, (kind, letter) in enumerate(sorted(sites)):
        position[0, slot], element[0, slot] = ord(letter) - ord("a"), kind
    number = torch.tensor([env.groups.index(group)])
    state = OrbitState(number, position, element, torch.tensor([True]))
    return Equivalents(Parameters(env)), state


@pytest.mark.parametrize(
    "group, sites, multiplicity, claims",
    [
        (225, [(0, "a"), (1, "b")], 2, True),  # rock salt: either site first
        (221, [(0, "a"), (1, "b")], 2, True),
        (216, [(0, "a"), (1, "c")], 8, True),  # zincblende: one of four sites, a neighbour of two
        (225, [(0, "a"), (0, "b"), (1, "c")], 1, False),  # caesium chloride in twice its cell
        (47, [(0, "a"), (1, "h")], 8, True),
        (47, [(0, "a"), (1, "b")], 24, True),  # half an axis apart, whichever axis
    ],
)
def test_multiplicity_and_symmetry_of_known_cases(group, sites, multiplicity, claims):
    equivalents, state = described(group, sites)
    log_m, found = equivalents.log_multiplicity_and_claim(state)
    assert float(log_m[0]) == pytest.approx(math.log(multiplicity))
    assert bool(found[0]) == claims


@pytest.mark.parametrize("group", [47, 123, 131, 139, 191, 215, 221, 224, 225, 227])
def test_every_image_is_the_same_crystal(group):
    """On fixed sites of a cell with equal axes the images differ by a motion alone."""
    table = wyckoff()
    places = list(table.positions(group))
    fixed = [
        i for i, p in enumerate(places) if not table.free[p].any() and table.multiplicity[p] <= 4
    ]
    env = OrbitEnvironment(elements(["Na", "Cl"]), range(1, 231), Limits(8))
    parameters = Parameters(env)
    equivalents = Equivalents(parameters)
    position = torch.full((1, 8), -1)
    element = torch.full((1, 8), -1)
    sizes = [int(table.multiplicity[places[i]]) for i in fixed]
    # Na and Cl are neutral on two sites of one size: the first such neighbours.
    first = next(k for k in range(len(fixed) - 1) if sizes[k] == sizes[k + 1])
    position[0, :2], element[0, :2] = torch.tensor(fixed[first : first + 2]), torch.tensor([0, 1])
    state = OrbitState(
        torch.tensor([env.groups.index(group)]), position, element, torch.tensor([True])
    )
    images = equivalents.images(state, 0)
    keys = set()
    values = torch.full((1, parameters.most), 0.5, dtype=torch.float64)
    for image in images:
        moved = torch.full((1, 8), -1)
        moved[0, :2] = torch.tensor(image[:, 1])
        other = OrbitState(state.group, moved, state.element, state.stopped)
        keys.add(fingerprints(parameters.crystals(other, values))[0])
    assert len(keys) == 1
    assert len({type_name(equivalents, state, 0)}) == 1


def test_a_mirror_image_in_the_run_halves_the_reward():
    sites = [(0, "a"), (1, "b")]
    alone, state = described(152, sites, most_atoms=6)
    both, other = described(152, sites, groups=(152, 154), most_atoms=6)
    log_alone, _ = alone.log_multiplicity_and_claim(state)
    log_both, _ = both.log_multiplicity_and_claim(other)
    assert float(log_both[0] - log_alone[0]) == pytest.approx(math.log(2))


def test_images_do_not_depend_on_where_one_starts():
    equivalents, state = described(225, [(0, "a"), (1, "b")])
    _, other = described(225, [(0, "b"), (1, "a")])
    first, second = equivalents.images(state, 0), equivalents.images(other, 0)
    np.testing.assert_array_equal(first, second)
    assert type_name(equivalents, state, 0) == type_name(equivalents, other, 0) == "A1B1-225-a-b"
