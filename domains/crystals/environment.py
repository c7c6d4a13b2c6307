"""Crystals with atoms: the discrete stages of `orbits.py`, then every free parameter, one after the other.

After the stop, parameters are set in order: shape of the cell, volume per atom, coordinates of the orbits.
Each is a number in [0, 1] (`parameters.py`), in a bin that need not bring atoms too close; a move is (action
number, value), the value 0 in the discrete stages, the number `n_actions` of the discrete environment in the
continuous one. The law is over crystals:

    p(crystal) ~ R(crystal) / m(orbits) x base measure

with R the stated reward and m the number of sets of orbits that describe the same crystals
(`equivalents.py`), so that a crystal is not preferred for having several descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.crystals.crystals import Crystals
from domains.crystals.orbits import OrbitEnvironment, OrbitState
from domains.crystals.parameters import Parameters


@dataclass(frozen=True)
class CrystalState:
    """orbits    the discrete part
    values    [batch, parameter] set parameters, 0 beyond `n_set`
    """

    orbits: OrbitState
    values: Float[Tensor, "batch parameter"]
    n_set: Int[Tensor, "batch"]


class CrystalEnvironment:
    """An `Environment` of crystals.

    log_weight   (crystals, orbits) -> log R - log m of finished crystals, see `reward.py`
    n_bins       bins of every number, of which a mask says which are allowed
    """

    def __init__(
        self,
        orbits: OrbitEnvironment,
        log_weight: Callable[[Crystals, OrbitState], Float[Tensor, "batch"]],
        n_bins: int = 32,
    ) -> None:
        self.name = "crystals"
        self.orbits, self.n_bins = orbits, n_bins
        self.parameters = Parameters(orbits)
        self.log_weight = log_weight
        self.max_steps = orbits.max_steps + self.parameters.most

    def __deepcopy__(self, memo: dict) -> CrystalEnvironment:
        """Itself: it never changes."""
        return self

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> CrystalState:
        return CrystalState(
            self.orbits.initial_state(batch, device),
            torch.zeros(batch, self.parameters.most, dtype=torch.float64),
            torch.zeros(batch, dtype=torch.int64),
        )

    def is_initial(self, state: CrystalState) -> Bool[Tensor, "batch"]:
        return self.orbits.is_initial(state.orbits)

    def is_terminal(self, state: CrystalState) -> Bool[Tensor, "batch"]:
        return state.orbits.stopped & (state.n_set == self.parameters.count(state.orbits))

    def step(self, state: CrystalState, action: Float[Tensor, "batch 2"]) -> CrystalState:
        number, value = action[:, 0].long(), action[:, 1]
        setting = state.orbits.stopped & ~self.is_terminal(state)
        at = state.n_set.clamp_max(self.parameters.most - 1).unsqueeze(1)
        kept = state.values.gather(1, at).squeeze(1)
        values = state.values.scatter(1, at, torch.where(setting, value, kept).unsqueeze(1))
        return CrystalState(self.orbits.step(state.orbits, number), values, state.n_set + setting)

    def backward_step(self, state: CrystalState, action: Float[Tensor, "batch 2"]) -> CrystalState:
        forgetting = state.n_set > 0
        at = (state.n_set - 1).clamp_min(0).unsqueeze(1)
        kept = state.values.gather(1, at).squeeze(1)
        values = state.values.scatter(1, at, kept.masked_fill(forgetting, 0.0).unsqueeze(1))
        number = torch.where(forgetting, -1, action[:, 0].long())
        before = self.orbits.backward_step(state.orbits, number)
        return CrystalState(before, values, state.n_set - forgetting.long())

    def undoing(self, state: CrystalState, action: Float[Tensor, "batch 2"]) -> Tensor:
        undo = self.orbits.undoing(state.orbits, action[:, 0].long())
        undo = torch.where(state.orbits.stopped, self.orbits.n_backward_actions, undo)
        return torch.stack([undo.double(), torch.zeros(len(undo), dtype=torch.float64)], 1)

    def redoing(self, state: CrystalState, action: Float[Tensor, "batch 2"]) -> Tensor:
        setting = state.n_set > 0
        redo = self.orbits.redoing(state.orbits, action[:, 0].long())
        redo = torch.where(setting, self.orbits.n_actions, redo)
        at = (state.n_set - 1).clamp_min(0).unsqueeze(1)
        value = state.values.gather(1, at).squeeze(1).masked_fill(~setting, 0.0)
        return torch.stack([redo.double(), value], 1)

    def allowed_bins(self, state: CrystalState) -> Bool[Tensor, "batch bin"]:
        """Bins that the next number may lie in, of states that have stopped; at least one of each."""
        return self.parameters.allowed_bins(state.orbits, state.values, state.n_set, self.n_bins)

    def crystals(self, state: CrystalState) -> Crystals:
        """The atoms of finished states."""
        return self.parameters.crystals(state.orbits, state.values)

    def log_reward(self, state: CrystalState) -> Float[Tensor, "batch"]:
        return self.log_weight(self.crystals(state), state.orbits)
