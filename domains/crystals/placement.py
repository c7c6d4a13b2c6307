"""Atoms for objects of the three stages, which have none: orbits drawn at random that hold the composition, and
coordinates drawn at random where that need not bring atoms too close.

This is what the published system leaves to other programs. The law of the sites is not learned: it is the
order in which a search finds the first way to place all atoms, positions in random order at each step.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from domains.crystals.environment import CrystalEnvironment, CrystalState
from domains.crystals.orbits import OrbitState
from domains.crystals.random_search import UniformBehaviour
from domains.crystals.reward import allowed
from domains.crystals.three_stages import StagesState, ThreeStages
from domains.crystals.wyckoff import wyckoff
from workbench.gflownet import rollout, states
from workbench.seeds import seed_from

_TRIES = 20


def placed(
    stages: ThreeStages,
    state: StagesState,
    environment: CrystalEnvironment,
    generator: torch.Generator,
) -> CrystalState:
    """A crystal of `environment` for each finished object; of twenty tries the first that keeps its atoms
    apart, or the last."""
    found = _once(stages, state, environment, generator)
    for _ in range(_TRIES - 1):
        close = ~allowed(environment.crystals(found))
        rows = torch.from_numpy(close).nonzero().squeeze(1)
        if not len(rows):
            break
        again = _once(stages, states.select(state, rows), environment, generator)
        found = states.put(found, rows, again)
    return found


def _once(
    stages: ThreeStages,
    state: StagesState,
    environment: CrystalEnvironment,
    generator: torch.Generator,
) -> CrystalState:
    n, width = len(state.group), environment.orbits.limits.most_atoms
    rng = np.random.default_rng(seed_from(generator))
    groups = [stages.groups[i] for i in state.group.tolist()]
    position, element = torch.full((n, width), -1), torch.full((n, width), -1)
    for row, group in enumerate(groups):
        for slot, (kind, place) in enumerate(orbits_of(group, state.count[row].numpy(), rng)):
            element[row, slot], position[row, slot] = kind, place
    numbers = torch.tensor([environment.orbits.groups.index(group) for group in groups])
    orbits = OrbitState(numbers, position, element, torch.ones(n, dtype=torch.bool))
    values, n_set = _lattice(stages, state, environment, orbits, generator)
    start = CrystalState(orbits, values, n_set)
    behaviour, blank = UniformBehaviour(environment), torch.zeros(n)
    return rollout.forward(environment, behaviour, start, generator, log_reward=blank).final


def _lattice(
    stages: ThreeStages,
    state: StagesState,
    environment: CrystalEnvironment,
    orbits: OrbitState,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Shape and volume, anywhere in the bins of the object, in the order of `Parameters`."""
    inside = torch.rand(state.lattice.shape, generator=generator, dtype=torch.float64)
    numbers = (state.lattice + inside) / stages.n_bins
    n_set = stages.n_lattice[state.group]
    values = torch.zeros(len(n_set), environment.parameters.most, dtype=torch.float64)
    for row, n in enumerate(n_set.tolist()):
        values[row, :n] = numbers[row, :n].roll(-1)  # the volume comes first there, last here
    return values, n_set


def orbits_of(group: int, counts: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(element, position) of orbits that hold `counts` atoms of each element, ascending; positions are
    numbered in the group. Raises ValueError for a composition that the group cannot hold."""
    table = wyckoff()
    places = np.array(table.positions(group))
    size, fixed = table.multiplicity[places], ~table.free[places].any(1)
    found: list[tuple[int, int]] = []

    def search(kind: int, left: int) -> bool:
        while left == 0:
            kind += 1
            if kind == len(counts):
                return True
            left = int(counts[kind])
        taken = {place for _, place in found if fixed[place]}
        for place in rng.permutation((size <= left).nonzero()[0]).tolist():
            if place in taken:
                continue
            found.append((kind, place))
            if search(kind, left - int(size[place])):
                return True
            found.pop()
        return False

    if not search(-1, 0):
        raise ValueError(f"group {group} cannot hold {counts.tolist()} atoms")
    return sorted(found)
