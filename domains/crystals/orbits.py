"""The discrete stages of a crystal: its space group, then Wyckoff orbits with elements one by one, then stop.

Elements come in ascending order (cations first), the orbits of one element in any order; so a crystal has as
many ways to be built as its elements' orbits have orders, and the backward policy that takes back one of the
last element's orbits, uniformly, is part of the environment. Composition and compatibility with the group
follow from the orbits. Masks come from reachable-charge tables (`reachable.py`): there is no dead end, and
what stops is neutral and within the limits. Orbits that have more symmetry than their group (`own_symmetry.py`)
do not stop as long as they can grow; those that cannot are left to the reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.crystals import _orbit_kernels as kernels
from domains.crystals.elements import Elements
from domains.crystals.own_symmetry import OwnSymmetry
from domains.crystals.reachable import Limits, Reachable, reachable
from domains.crystals.wyckoff import wyckoff
from workbench.errors import InputError
from workbench.gflownet.states import select


@dataclass(frozen=True)
class OrbitState:
    """group      place in the run's list of groups, -1 before it is chosen
    position   [batch, slot] place of an orbit's position in its group, letter a = 0; -1 = empty
    element    [batch, slot] its element; slots ascend in (element, position)
    stopped    whether the crystal has stopped growing
    """

    group: Int[Tensor, "batch"]
    position: Int[Tensor, "batch slot"]
    element: Int[Tensor, "batch slot"]
    stopped: Bool[Tensor, "batch"]


class OrbitEnvironment:
    """A `DiscreteEnvironment` whose objects are space groups with occupied Wyckoff positions.

    groups       numbers 1 to 230; those that allow no neutral crystal within the limits are left out
    log_weight   log-reward of finished objects; default 0 for all
    Raises InputError where no group allows a neutral crystal within the limits.
    """

    def __init__(
        self,
        elements: Elements,
        groups: Sequence[int],
        limits: Limits,
        log_weight: Callable[[OrbitState], Tensor] | None = None,
    ) -> None:
        self.name = "crystal orbits"
        self.elements, self.limits = elements, limits
        self._log_weight = log_weight
        tables = reachable(elements, tuple(groups), limits)
        able = _able(tables)
        if not able.any():
            raise InputError(_nothing_left(elements, groups, limits))
        kept = able.nonzero()[0]
        self.groups = tuple(int(list(groups)[i]) for i in kept)
        self.n_groups = len(self.groups)
        tables = replace(
            tables,
            classes=tuple(tables.classes[i] for i in kept),
            inside_start=tables.inside_start[kept],
        )
        self._set_positions(tables)
        self._own_symmetry = OwnSymmetry(self.groups, self.first, self.place)
        self.n_actions = self.n_groups + self.width * len(elements) + 1
        self.n_backward_actions = self.width + 2
        self.stop = self.n_actions - 1
        self.max_steps = limits.most_atoms + 2
        self.n_features = self.n_actions

    def _set_positions(self, tables: Reachable) -> None:
        """Per group and position what the masks need, flat."""
        table = wyckoff()
        places = [np.array(table.positions(group)) for group in self.groups]
        flat = np.concatenate(places)
        class_of = np.concatenate([one.of_position for one in tables.classes])
        counts = np.array([len(place) for place in places])
        self.first = np.cumsum([0, *counts])[:-1]
        self.place = flat
        fits = [int((one.of_position >= 0).nonzero()[0].max(initial=0)) for one in tables.classes]
        self.width = max(fits) + 1
        n_positions = np.minimum(counts, self.width)
        stride_of = np.concatenate(
            [np.where(c.of_position >= 0, c.stride[c.of_position], 0) for c in tables.classes]
        )
        class_first = np.cumsum([0, *[len(one.size) for one in tables.classes]])
        required = np.zeros(len(self.elements), dtype=np.bool_)
        required[list(self.limits.required)] = True
        limits = self.limits
        self._mask_arguments = (
            *(self.n_groups, self.width, self.first, n_positions),
            *(table.multiplicity[flat].astype(np.int64), stride_of, class_of, class_first),
            np.concatenate([one.size for one in tables.classes]),
            np.concatenate([one.stride for one in tables.classes]),
            np.concatenate([one.count for one in tables.classes]),
            np.array([one.n_used for one in tables.classes]),
            *(tables.inside, tables.inside_start),
            *(self.elements.first_state, self.elements.state, required),
            np.array([limits.fewest_kinds, limits.most_kinds, limits.most_atoms, tables.zero]),
            tables.n_words,
        )

    def __deepcopy__(self, memo: dict) -> OrbitEnvironment:
        """Itself: it never changes, and copies of a policy share its tables."""
        return self

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> OrbitState:
        empty = torch.full((batch, self.limits.most_atoms), -1, dtype=torch.int64)
        return OrbitState(
            torch.full((batch,), -1, dtype=torch.int64),
            empty,
            empty.clone(),
            torch.zeros(batch, dtype=torch.bool),
        )

    def is_initial(self, state: OrbitState) -> Bool[Tensor, "batch"]:
        return state.group < 0

    def is_terminal(self, state: OrbitState) -> Bool[Tensor, "batch"]:
        return state.stopped

    def forward_mask(self, state: OrbitState) -> Bool[Tensor, "batch action"]:
        mask = torch.empty((len(state.group), self.n_actions), dtype=torch.bool)
        arguments: Any = (*_arrays(state), *self._mask_arguments, mask.numpy())
        kernels.forward_masks(*arguments)
        rows = (mask[:, -1] & mask[:, :-1].any(1)).nonzero().squeeze(1)
        mask[rows, -1] = self.has_own_symmetry(select(state, rows))
        return mask

    def has_own_symmetry(self, state: OrbitState) -> Bool[Tensor, "batch"]:
        """Whether crystals of these orbits have the symmetry of their group and no more."""
        return self._own_symmetry(state.group, state.position, state.element)

    def backward_mask(self, state: OrbitState) -> Bool[Tensor, "batch action"]:
        mask = torch.empty((len(state.group), self.n_backward_actions), dtype=torch.bool)
        arguments: Any = (*_arrays(state), mask.numpy())
        kernels.backward_masks(*arguments)
        return mask

    def split(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Position and element of a placing action; position -1 for any other."""
        number = action - self.n_groups
        placing = (number >= 0) & (action < self.stop)
        position = torch.where(placing, number // len(self.elements), -1)
        return position, torch.where(placing, number % len(self.elements), -1)

    def step(self, state: OrbitState, action: Tensor) -> OrbitState:
        going = ~state.stopped
        position, element = self.split(action)
        position = torch.where(going, position, -1)
        chooses = going & (state.group < 0) & (action < self.n_groups)
        placed, of = torch.empty_like(state.position), torch.empty_like(state.element)
        kernels.insert(
            *(state.position.numpy(), state.element.numpy(), position.numpy(), element.numpy()),
            *(placed.numpy(), of.numpy()),
        )
        group = torch.where(chooses, action, state.group)
        return OrbitState(group, placed, of, state.stopped | (going & (action == self.stop)))

    def backward_step(self, state: OrbitState, action: Tensor) -> OrbitState:
        grown = state.group >= 0
        inner = grown & ~state.stopped
        taking = inner & (action > 0) & (action <= self.width)
        position, element = torch.empty_like(state.position), torch.empty_like(state.element)
        kernels.remove(
            *(state.position.numpy(), state.element.numpy()),
            *(torch.where(taking, action - 1, -1).numpy(), position.numpy(), element.numpy()),
        )
        group = torch.where(inner & (action == 0), -1, state.group)
        going = grown & state.stopped & (action == self.width + 1)
        return OrbitState(group, position, element, state.stopped & ~going)

    def undoing(self, state: OrbitState, action: Tensor) -> Tensor:
        position, _ = self.split(action)
        undo = torch.where(position >= 0, position + 1, 0)
        return torch.where(action == self.stop, self.width + 1, undo)

    def redoing(self, state: OrbitState, action: Tensor) -> Tensor:
        n_placed = (state.position >= 0).sum(1)
        last = state.element.gather(1, (n_placed - 1).clamp_min(0).unsqueeze(1)).squeeze(1)
        placing = self.n_groups + (action - 1) * len(self.elements) + last
        redo = torch.where(action == 0, state.group, placing)
        return torch.where(action == self.width + 1, self.stop, redo)

    def features(self, state: OrbitState) -> Float[Tensor, "batch feature"]:
        """One-hot group, how often each position holds each element, and whether it has stopped."""
        found = torch.zeros(len(state.group), self.n_features)
        rows = (state.group >= 0).nonzero().squeeze(1)
        found[rows, state.group[rows]] = 1.0
        row, slot = (state.position >= 0).nonzero(as_tuple=True)
        number = state.position[row, slot] * len(self.elements) + state.element[row, slot]
        found.index_put_((row, self.n_groups + number), torch.ones(len(row)), accumulate=True)
        found[:, -1] = state.stopped.float()
        return found

    def log_reward(self, state: OrbitState) -> Float[Tensor, "batch"]:
        if self._log_weight is None:
            return torch.zeros(len(state.group))
        return self._log_weight(state)


def _arrays(state: OrbitState) -> tuple[np.ndarray, ...]:
    return (
        state.group.numpy(),
        state.position.numpy(),
        state.element.numpy(),
        state.stopped.numpy(),
    )


def _able(tables: Reachable) -> np.ndarray:
    """Which groups allow a neutral crystal at all."""
    word, bit = divmod(tables.zero, 64)
    starts = tables.before_start  # no element, no kind, no atom, no position: the first row
    return (tables.before[starts + word] >> np.uint64(bit) & np.uint64(1)).astype(np.bool_)


def _nothing_left(elements: Elements, groups: Sequence[int], limits: Limits) -> str:
    """Why nothing is left: elements that are never neutral together, or limits that are too tight."""
    wide = replace(limits, most_atoms=max(24, limits.most_atoms))
    everywhere = reachable(elements, (1,), wide)
    names = " ".join(elements.symbols)
    if not _able(everywhere).any():
        positive = any(state > 0 for state in elements.state)
        negative = any(state < 0 for state in elements.state)
        lacking = "no positive" if not positive else "no negative"
        if positive and negative:
            return (
                f"elements {names} have no neutral combination with the kinds asked for: allow other "
                "elements or fewer required ones"
            )
        return (
            f"elements {names} cannot be neutral together because they have {lacking} oxidation states: "
            "add an element that has some"
        )
    tight = reachable(elements, (1,), limits)
    if not _able(tight).any():
        return f"no neutral crystal of {names} has {limits.most_atoms} atoms or fewer: raise --max-atoms"
    listed = " ".join(map(str, groups[:8])) + (" ..." if len(groups) > 8 else "")
    return (
        f"no neutral crystal of {names} with up to {limits.most_atoms} atoms fits the space groups "
        f"{listed}: allow others, or raise --max-atoms"
    )
