"""What is preferred, as a reward: log R of crystals from an energy or a property.

    formation-energy   log R = -beta E                 E the formation energy in eV/atom, beta in atom/eV
    window             log R = -beta d                 d the distance of E from a window, in eV/atom
    density            log R =  beta rho               rho in g/cm^3

It is a preference, not thermodynamics: beta is no 1/kT and E no free energy. E counts at most as
`worst_ev_per_atom`, above which energy models mean nothing. Crystals in which two atoms are closer than 0.7
times the sum of their covalent radii are not given to the energy: they count as worse than the worst, the
more the closer. So do orbits that have more symmetry than the group they were placed in, which are crystals
of another group. Where an anion, a group or a formula may have no more than a share of the crystals, log R is
lowered for those that would have more (`balance.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domains.crystals.balance import Balance
from domains.crystals.crystals import Crystals
from domains.crystals.elements import G_PER_CM3
from domains.crystals.equivalents import Equivalents
from domains.crystals.orbits import OrbitEnvironment, OrbitState
from domains.crystals.parameters import CLOSEST
from workbench.errors import InputError
from workbench.gflownet.states import select

Target = Literal["formation-energy", "window", "density"]

_CLOSENESS = 1.5  # eV/atom for atoms on top of each other
_WRONG_SYMMETRY = 0.5  # eV/atom


class CrystalEnergy(Protocol):
    """Anything that gives formation energies and counts what it is asked."""

    name: str
    n_evaluations: int

    def formation_energy_ev_per_atom(self, crystals: Crystals) -> Float[np.ndarray, "crystal"]: ...


@dataclass(frozen=True)
class RewardConfig:
    """target              what is preferred
    beta                in atom/eV (formation-energy, window) or cm^3/g (density)
    window              lowest and highest formation energy of the window, eV/atom
    worst_ev_per_atom   energies above count as this
    """

    target: Target = "formation-energy"
    beta: float = 8.0
    window: tuple[float, float] = (-1.5, -1.0)
    worst_ev_per_atom: float = 2.0

    def __post_init__(self) -> None:
        if not self.beta > 0.0:
            raise InputError(f"--beta is {self.beta:g}: give a number above 0")
        if not self.window[0] <= self.window[1]:
            low, high = self.window
            raise InputError(f"--window is {low:g} to {high:g}: give the lower end first")


def density_g_per_cm3(crystals: Crystals) -> Float[np.ndarray, "crystal"]:
    """Mass over volume."""
    mass = np.where(crystals.kind >= 0, crystals.elements.mass_amu[crystals.kind], 0.0).sum(1)
    return mass / (crystals.volume_per_atom_a3 * crystals.n_atoms) * G_PER_CM3


def score_of(
    config: RewardConfig, energy_ev_per_atom: Float[np.ndarray, "crystal"]
) -> Float[np.ndarray, "crystal"]:
    """log R / beta of formation energies, for the targets that are about them."""
    energy = np.minimum(energy_ev_per_atom, config.worst_ev_per_atom)
    if config.target == "formation-energy":
        return -energy
    low, high = config.window
    return -np.maximum(np.maximum(low - energy, energy - high), 0.0)


def allowed(crystals: Crystals) -> Bool[np.ndarray, "crystal"]:
    """Which crystals have no two atoms too close."""
    return crystals.closest_ratio() >= CLOSEST


def in_law(
    environment: OrbitEnvironment, crystals: Crystals, orbits: OrbitState
) -> Bool[Tensor, "crystal"]:
    """Which crystals the law is over: atoms apart, and the symmetry of their group and no more."""
    return torch.from_numpy(allowed(crystals)) & environment.has_own_symmetry(orbits)


class Reward:
    """log R - log m of crystals, as `CrystalEnvironment` wants it."""

    def __init__(
        self,
        config: RewardConfig,
        energy: CrystalEnergy,
        equivalents: Equivalents,
        balance: Balance | None = None,
    ) -> None:
        self.config, self.energy, self.equivalents = config, energy, equivalents
        self.balance = balance or Balance({})

    def __call__(self, crystals: Crystals, orbits: OrbitState) -> Float[Tensor, "batch"]:
        """Crystals that are too close are not looked at further: theirs is not divided by m."""
        closest = crystals.closest_ratio()
        score = np.full(len(crystals), self._worst())
        score -= _CLOSENESS * np.maximum(CLOSEST - closest, 0.0) / CLOSEST
        log_m = np.zeros(len(crystals))
        rows = (closest >= CLOSEST).nonzero()[0]
        if len(rows):
            found = self.equivalents.log_multiplicity_and_claim(
                select(orbits, torch.from_numpy(rows))
            )
            log_m[rows], claims = found[0].numpy(), found[1].numpy()
            score[rows[~claims]] -= _WRONG_SYMMETRY
            rows = rows[claims]
        if len(rows):
            score[rows] = self._score(crystals.select(rows))
        return torch.from_numpy(self.config.beta * score - log_m - self.balance.nats(crystals))

    def _worst(self) -> float:
        low = self.config.window[0]
        worst = self.config.worst_ev_per_atom
        return {"formation-energy": -worst, "window": -abs(worst - low), "density": 0.0}[
            self.config.target
        ]

    def _score(self, crystals: Crystals) -> Float[np.ndarray, "crystal"]:
        if self.config.target == "density":
            return density_g_per_cm3(crystals)
        return score_of(self.config, self.energy.formation_energy_ev_per_atom(crystals))
