"""The three stages of Crystal-GFN (arXiv 2310.04925): space group, composition, lattice; no atoms.

The baseline of `orbits.py`. As published: the composition is set element by element, checked against the
group's Wyckoff positions and for neutrality; the lattice has the group's free parameters. Different here: both
checks are masks without dead ends, elements come in ascending order, the group is chosen in one move, and the
lattice is a volume per atom and a shape (`parameters.py`), each on a grid of bins, so that the environment is
a discrete one. An object is (group, atoms of each element in the primitive cell, bins): a reward sees
nothing else, as the published proxy. `mean_field_energy_ev_per_atom` is such a reward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.crystals import _composition_kernels as kernels
from domains.crystals._ionic_kernels import COULOMB_EV_A, EXPONENT
from domains.crystals.elements import G_PER_CM3, Elements
from domains.crystals.parameters import N_SHAPE, VOLUME_FACTORS, ions
from domains.crystals.reachable import Limits, reachable
from domains.crystals.reward import RewardConfig, score_of
from domains.crystals.wyckoff import wyckoff
from workbench.errors import InputError

_MOST_CONFIGURATIONS = 64
_MADELUNG = (
    0.542  # of rock salt, in units of k q^2 over the radius of an atom's share of the volume
)


@dataclass(frozen=True)
class StagesState:
    """group     place in the run's list of groups, -1 before it is chosen
    count     [batch, element] atoms in the primitive cell, 0 = not there
    stopped   whether the composition is complete
    lattice   [batch, 6] bin of each parameter, volume first; -1 = not set
    """

    group: Int[Tensor, "batch"]
    count: Int[Tensor, "batch element"]
    stopped: Bool[Tensor, "batch"]
    lattice: Int[Tensor, "batch parameter"]


class ThreeStages:
    """A `DiscreteEnvironment`; every object has one trajectory.

    Actions: group, element * most_atoms + (atoms - 1), stop, bin. Backward: forget the group, the last element,
    the stop, the last parameter.
    log_weight   log-reward of finished objects
    Raises InputError where no group allows a neutral composition, and for cells so large that a group's
    fixed positions can be used up in more than 64 ways.
    """

    def __init__(
        self,
        elements: Elements,
        groups: Sequence[int],
        limits: Limits,
        log_weight: Callable[[StagesState], Tensor],
        n_bins: int = 32,
    ) -> None:
        self.name = "crystals in three stages"
        self.elements, self.limits, self.n_bins = elements, limits, n_bins
        self.log_weight = log_weight
        tables = reachable(elements, tuple(groups), limits)
        word, bit = divmod(tables.zero, 64)
        able = tables.before[tables.before_start + word] >> np.uint64(bit) & np.uint64(1)
        kept = able.nonzero()[0]
        if not len(kept):
            raise InputError(
                f"no neutral composition of {' '.join(elements.symbols)} with up to {limits.most_atoms} atoms "
                "fits the groups: raise the number of atoms or allow other elements"
            )
        self.groups = tuple(int(groups[i]) for i in kept)
        classes = [tables.classes[i] for i in kept]
        n_used = np.array([one.n_used for one in classes])
        if n_used.max() > _MOST_CONFIGURATIONS:
            raise InputError(
                f"cells of {limits.most_atoms} atoms are too large for the three stages: take fewer"
            )
        ways = [
            kernels.ways_to_place(one.size, one.stride, one.count, one.n_used, limits.most_atoms)
            for one in classes
        ]
        starts = np.cumsum([0, *[way.size for way in ways]])[:-1]
        required = np.zeros(len(elements), dtype=np.bool_)
        required[list(limits.required)] = True
        numbers = (limits.fewest_kinds, limits.most_kinds, limits.most_atoms, tables.zero)
        self._arguments = (
            *(elements.first_state, elements.state, required, np.array(numbers), tables.n_words),
            *(tables.before, tables.before_start[kept], n_used),
            *(np.concatenate([way.ravel() for way in ways]), starts),
        )
        systems = wyckoff().system[np.array(self.groups) - 1]
        self.n_lattice = torch.tensor([1 + N_SHAPE[system] for system in systems])
        self.n_groups = len(self.groups)
        self.stop = self.n_groups + len(elements) * limits.most_atoms
        self.n_actions = self.stop + 1 + n_bins
        self.n_backward_actions = 4
        self.n_features = self.n_groups + len(elements) + 1 + 12
        self.max_steps = 2 + limits.most_kinds + 6

    def __deepcopy__(self, memo: dict) -> ThreeStages:
        """Itself: it never changes."""
        return self

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> StagesState:
        return StagesState(
            torch.full((batch,), -1, dtype=torch.int64),
            torch.zeros(batch, len(self.elements), dtype=torch.int64),
            torch.zeros(batch, dtype=torch.bool),
            torch.full((batch, 6), -1, dtype=torch.int64),
        )

    def is_initial(self, state: StagesState) -> Bool[Tensor, "batch"]:
        return state.group < 0

    def is_terminal(self, state: StagesState) -> Bool[Tensor, "batch"]:
        return state.stopped & (self._n_set(state) == self.n_lattice[state.group.clamp_min(0)])

    def _n_set(self, state: StagesState) -> Int[Tensor, "batch"]:
        return (state.lattice >= 0).sum(1)

    def _last(self, state: StagesState) -> Int[Tensor, "batch"]:
        """The last element that is there, -1 for none."""
        places = torch.arange(1, len(self.elements) + 1)
        return (places * (state.count > 0)).amax(1) - 1

    def forward_mask(self, state: StagesState) -> Bool[Tensor, "batch action"]:
        mask = torch.zeros(len(state.group), self.n_actions, dtype=torch.bool)
        mask[:, : self.n_groups] = (state.group < 0).unsqueeze(1)
        mask[:, self.stop + 1 :] = (state.stopped & ~self.is_terminal(state)).unsqueeze(1)
        rows = ((state.group >= 0) & ~state.stopped).nonzero().squeeze(1)
        width = len(self.elements) * self.limits.most_atoms
        allowed = np.zeros((len(rows), len(self.elements), self.limits.most_atoms), dtype=np.bool_)
        finished = np.zeros(len(rows), dtype=np.bool_)
        group, count = state.group[rows].numpy(), state.count[rows].numpy()
        kernels.composition_masks(group, count, *self._arguments, allowed, finished)
        found = torch.from_numpy(allowed).view(len(rows), width)
        both = torch.cat([found, torch.from_numpy(finished).unsqueeze(1)], 1)
        mask[rows, self.n_groups : self.stop + 1] = both
        return mask

    def backward_mask(self, state: StagesState) -> Bool[Tensor, "batch action"]:
        grown, placed = state.group >= 0, (state.count > 0).any(1)
        some = self._n_set(state) > 0
        return torch.stack(
            [grown & ~placed, placed & ~state.stopped, state.stopped & ~some, some], 1
        )

    def step(self, state: StagesState, action: Tensor) -> StagesState:
        going = ~self.is_terminal(state)
        choosing = going & (action < self.n_groups) & (state.group < 0)
        number = (action - self.n_groups).clamp_min(0)
        placing = going & (action >= self.n_groups) & (action < self.stop)
        element = (number // self.limits.most_atoms).clamp_max(len(self.elements) - 1).unsqueeze(1)
        atoms = number % self.limits.most_atoms + 1
        kept = state.count.gather(1, element).squeeze(1)
        count = state.count.scatter(1, element, torch.where(placing, atoms, kept).unsqueeze(1))
        setting = going & state.stopped & (action > self.stop)
        at = self._n_set(state).clamp_max(5).unsqueeze(1)
        value = torch.where(setting, action - self.stop - 1, state.lattice.gather(1, at).squeeze(1))
        return StagesState(
            torch.where(choosing, action, state.group),
            count,
            state.stopped | (going & (action == self.stop)),
            state.lattice.scatter(1, at, value.unsqueeze(1)),
        )

    def backward_step(self, state: StagesState, action: Tensor) -> StagesState:
        at = (self._n_set(state) - 1).clamp_min(0).unsqueeze(1)
        value = state.lattice.gather(1, at).squeeze(1).masked_fill(action == 3, -1)
        last = self._last(state).clamp_min(0).unsqueeze(1)
        atoms = state.count.gather(1, last).squeeze(1).masked_fill(action == 1, 0)
        return StagesState(
            state.group.masked_fill(action == 0, -1),
            state.count.scatter(1, last, atoms.unsqueeze(1)),
            state.stopped & (action != 2),
            state.lattice.scatter(1, at, value.unsqueeze(1)),
        )

    def undoing(self, state: StagesState, action: Tensor) -> Tensor:
        undo = torch.where(action < self.n_groups, 0, torch.where(action < self.stop, 1, 2))
        return torch.where(action > self.stop, 3, undo)

    def redoing(self, state: StagesState, action: Tensor) -> Tensor:
        last = self._last(state).clamp_min(0)
        atoms = state.count.gather(1, last.unsqueeze(1)).squeeze(1)
        placing = self.n_groups + last * self.limits.most_atoms + atoms - 1
        at = (self._n_set(state) - 1).clamp_min(0).unsqueeze(1)
        bins = self.stop + 1 + state.lattice.gather(1, at).squeeze(1)
        redo = torch.where(action == 0, state.group, placing)
        return torch.where(action == 2, self.stop, torch.where(action == 3, bins, redo))

    def features(self, state: StagesState) -> Float[Tensor, "batch feature"]:
        """One-hot group, counts, stop, and of each parameter whether it is set and its value."""
        group = torch.zeros(len(state.group), self.n_groups)
        rows = (state.group >= 0).nonzero().squeeze(1)
        group[rows, state.group[rows]] = 1.0
        there = (state.lattice >= 0).float()
        value = (state.lattice + 0.5) / self.n_bins * there
        stopped = state.stopped.float().unsqueeze(1)
        return torch.cat([group, state.count / 4.0, stopped, there, value], 1)

    def log_reward(self, state: StagesState) -> Float[Tensor, "batch"]:
        return self.log_weight(state)

    def volume_factor(self, state: StagesState) -> Float[np.ndarray, "batch"]:
        """Volume over that of the ions."""
        low, high = np.log(VOLUME_FACTORS)
        return np.exp(low + (high - low) * (state.lattice[:, 0].numpy() + 0.5) / self.n_bins)


def density_g_per_cm3(environment: ThreeStages, state: StagesState) -> Float[np.ndarray, "batch"]:
    """Mass over volume, which need no atoms."""
    elements, counts = environment.elements, state.count.numpy()
    volume_a3 = np.array([ions(elements, row)[2] for row in counts])
    mass = counts @ elements.mass_amu
    return mass / (volume_a3 * environment.volume_factor(state)) * G_PER_CM3


def mean_field_energy_ev_per_atom(
    environment: ThreeStages, state: StagesState
) -> Float[np.ndarray, "batch"]:
    """Formation energy of a composition's ions at a volume, wherever they are: the Madelung energy of rock
    salt at the mean squared charge, a power-law repulsion with its minimum at the ions' own volume, and
    what the ions cost. Group and shape do not matter to it."""
    elements = environment.elements
    factor, found = environment.volume_factor(state), np.empty(len(state.group))
    cost = dict(zip(_pairs(elements), elements.ion_cost_ev.tolist(), strict=True))
    for row, counts in enumerate(state.count.numpy()):
        charge, _, volume_a3 = ions(elements, counts)
        n = counts.sum()
        radius = (3 * volume_a3 / n / (4 * math.pi)) ** (1 / 3)
        depth = _MADELUNG * COULOMB_EV_A * float((counts * charge**2).sum()) / n / radius
        stretch = factor[row] ** (1 / 3)
        paid = sum(counts[k] * cost[k, int(charge[k])] for k in counts.nonzero()[0]) / n
        found[row] = paid - depth / stretch * (1 - stretch ** (1 - EXPONENT) / EXPONENT)
    return found


def _pairs(elements: Elements) -> list[tuple[int, int]]:
    """(element, oxidation state) of every state."""
    of = np.repeat(np.arange(len(elements)), np.diff(elements.first_state))
    return list(zip(of.tolist(), elements.state.tolist(), strict=True))


def log_weight(
    environment: ThreeStages, config: RewardConfig
) -> Callable[[StagesState], Float[Tensor, "batch"]]:
    """log R of finished objects, from their density or mean-field energy."""

    def log_reward(state: StagesState) -> Float[Tensor, "batch"]:
        if config.target == "density":
            score = density_g_per_cm3(environment, state)
        else:
            score = score_of(config, mean_field_energy_ev_per_atom(environment, state))
        return torch.from_numpy(config.beta * score)

    return log_reward
