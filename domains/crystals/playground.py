"""A crystal space small enough for its exact law: two elements, two cubic groups, two to four atoms.

With fixed sites and a cubic cell a crystal is a set of orbits and a volume. All sets of orbits are listed, the
reward is integrated over the volume by the midpoint rule, and sets that describe the same crystals are added
up, so the exact law over crystals is known:

    p(crystal) = sum over its sets of orbits o of  (1 / m(o)) integral of R du,   divided by the sum of all

and a trained policy's own law over sets of orbits follows by dynamic programming without any sampling.
After the "gull" playground of the Crystal-GFN code (Pt and Pd in the groups 225 and 229).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from domains.crystals.elements import elements
from domains.crystals.environment import CrystalEnvironment, CrystalState
from domains.crystals.equivalents import Equivalents
from domains.crystals.orbits import OrbitEnvironment, OrbitState
from domains.crystals.policy import CrystalPolicy
from domains.crystals.reachable import Limits
from domains.crystals.reward import CrystalEnergy, Reward, RewardConfig
from workbench.gflownet import exact, states

ELEMENTS = ("Cu", "O")
GROUPS = (221, 225)
MOST_ATOMS = 4
_POINTS = 512


class ListedOrbits(OrbitEnvironment):
    """An orbit environment whose states are all listed: an `EnumerableEnvironment`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        found = [self.initial_state(1)]
        while bool(self.forward_mask(found[-1]).any()):
            found.append(self._children(found[-1]))
        self._states = states.concatenate(found)
        keys = states.row_keys(self._states)
        self._keys, self._rows = keys.sort()
        self.n_states = len(keys)

    def _children(self, level: OrbitState) -> OrbitState:
        """The different states one step further."""
        row, action = self.forward_mask(level).nonzero(as_tuple=True)
        after = self.step(states.select(level, row), action)
        _, place = torch.unique(states.row_keys(after), return_inverse=True)
        first = torch.zeros(int(place.max()) + 1, dtype=torch.int64)
        first[place.flip(0)] = torch.arange(len(place)).flip(0)
        return states.select(after, first)

    def all_states(self) -> OrbitState:
        return self._states

    def index(self, state: OrbitState) -> Int[Tensor, "batch"]:
        return self._rows[torch.searchsorted(self._keys, states.row_keys(state))]


class Playground:
    """The environment with atoms, and its exact answers.

    environment      what a policy is trained on
    objects          the listed sets of orbits that are finished
    crystal          [object] number of the crystal that each describes
    law              [crystal] exact probabilities
    log_partition    exact log Z
    """

    def __init__(self, config: RewardConfig, energy: CrystalEnergy) -> None:
        self.orbits = ListedOrbits(elements(ELEMENTS), GROUPS, Limits(MOST_ATOMS, fewest_kinds=2))
        self.environment = CrystalEnvironment(self.orbits, _no_weight)
        equivalents = Equivalents(self.environment.parameters)
        self.reward = Reward(config, energy, equivalents)
        self.environment.log_weight = self.reward
        every = self.orbits.all_states()
        self._rows = every.stopped.nonzero().squeeze(1)
        self.objects = states.select(every, self._rows)
        self.crystal = _numbers(self.objects, equivalents)
        log_weight = self._integrated()
        self.log_partition = float(log_weight.logsumexp(0))
        self.law = self._over_crystals((log_weight - self.log_partition).exp())

    def _integrated(self) -> Float[Tensor, "object"]:
        """log of the integral of R / m over the volume, for every set of orbits."""
        n = len(self.crystal)
        assert bool((self.environment.parameters.count(self.objects) == 1).all())
        middle = (torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS
        rows = torch.arange(n).repeat_interleave(_POINTS)
        values = torch.zeros(n * _POINTS, self.environment.parameters.most, dtype=torch.float64)
        values[:, 0] = middle.repeat(n)
        orbits = states.select(self.objects, rows)
        log_weight = self.reward(self.environment.parameters.crystals(orbits, values), orbits)
        return self._kept(log_weight.view(n, _POINTS)).logsumexp(1) - np.log(_POINTS)

    def _kept(self, log_weight: Float[Tensor, "object point"]) -> Float[Tensor, "object point"]:
        """Without the points in bins that are not allowed."""
        start = self.environment.initial_state(len(log_weight))
        unset = CrystalState(self.objects, start.values, start.n_set)
        allowed = self.environment.allowed_bins(unset)
        return log_weight.masked_fill(
            ~allowed.repeat_interleave(_POINTS // allowed.shape[1], 1), -torch.inf
        )

    def _over_crystals(self, mass: Float[Tensor, "object"]) -> Float[Tensor, "crystal"]:
        total = torch.zeros(int(self.crystal.max()) + 1, dtype=torch.float64)
        return total.index_add_(0, self.crystal, mass.double())

    @torch.no_grad()
    def learned_law(self, policy: CrystalPolicy) -> Float[Tensor, "crystal"]:
        """The law over crystals that a policy has, exactly."""
        graph = exact.state_graph(self.orbits)
        log_visits = exact.log_visits(graph, policy.orbit_log_probs(graph.states))
        return self._over_crystals(log_visits[self._rows].exp())


def _no_weight(crystals: Any, orbits: OrbitState) -> Tensor:
    return torch.zeros(len(orbits.group))


def _numbers(objects: OrbitState, equivalents: Equivalents) -> Int[Tensor, "object"]:
    """Equal numbers for sets of orbits that describe the same crystals in the same group."""
    codes: dict[tuple, int] = {}
    found = []
    for row in range(len(objects.group)):
        images = equivalents.images(objects, row)
        least = min(tuple(image.ravel().tolist()) for image in images)
        found.append(codes.setdefault((int(objects.group[row]), least), len(codes)))
    return torch.tensor(found)
