"""What the sampler is compared with: the Markov chains that it learned from, and at as many energy evaluations
random search and substitution of the run's elements into known structure types."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from domains.crystals.crystals import Crystals
from domains.crystals.hull import Hull, fractions
from domains.crystals.prototypes import Substituted, substituted
from domains.crystals.random_search import random_crystals
from domains.crystals.walks import Walks
from domains.crystals.wyckoff import N_GROUPS
from pipelines.crystals.options import Config
from pipelines.crystals.prepare import Problem

LONGEST_SECONDS = 300.0
_CHUNK = 250
_VOLUMES = (0.85, 1.0, 1.15)


@dataclass(frozen=True)
class Search:
    """Random search.

    energies_ev_per_atom   of its crystals, in the order made
    n_evaluations          spent, and `line` says so
    """

    energies_ev_per_atom: Float[np.ndarray, "crystal"]
    n_evaluations: int
    line: str

    def best(self, n: int) -> Float[np.ndarray, "crystal"]:
        """The lowest n energies."""
        return np.sort(self.energies_ev_per_atom)[:n]


def chain_energies(problem: Problem, walks: Walks, most: int) -> Float[np.ndarray, "crystal"]:
    """Energies of the first `most` chains where they ended, by what crystals are finally judged by."""
    crystals = problem.environment.crystals(walks.state)
    rows = np.arange(min(most, len(crystals)))
    return problem.energy.formation_energy_ev_per_atom(crystals.select(rows))


def random_search(config: Config, problem: Problem, n_evaluations: int) -> Search:
    """Random crystals up to that many evaluations, or five minutes of them."""
    random = problem.generator(config.seed, "random search")
    before, began = problem.energy.n_evaluations, time.perf_counter()
    crystals, _ = random_crystals(problem.environment, n_evaluations, random)
    found: list[np.ndarray] = []
    for start in range(0, len(crystals), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(crystals)))
        found.append(problem.energy.formation_energy_ev_per_atom(crystals.select(rows)))
        if time.perf_counter() - began > LONGEST_SECONDS:
            break
    energies = np.concatenate(found)
    spent = problem.energy.n_evaluations - before
    stopped = "" if len(energies) == len(crystals) else ", stopped after five minutes"
    line = (
        f"Random search: {len(energies):,} crystals drawn uniformly under the same masks, bounds and volume "
        f"prior, {spent:,} energy evaluations{stopped}; draws with atoms too close cost nothing and are not "
        "counted."
    )
    return Search(energies, spent, line)


@dataclass(frozen=True)
class Substitution:
    """Known structure types with the run's elements, each at its best of three volumes.

    hull   spanned by the elements and these crystals
    """

    found: Substituted | None
    crystals: Crystals | None
    energies_ev_per_atom: Float[np.ndarray, "crystal"]
    n_evaluations: int
    hull: Hull
    line: str


def substitution(config: Config, problem: Problem, n_evaluations: int) -> Substitution:
    """Neutral substitutions of the embedded structure types within the limits, in any group: all, or what
    that many evaluations allow."""
    everything = tuple(range(1, N_GROUPS + 1))
    rng = np.random.default_rng(config.seed)
    most = max(1, n_evaluations // len(_VOLUMES))
    found = substituted(problem.elements, problem.limits, everything, most, rng)
    n_elements = len(problem.elements)
    if found is None:
        hull = Hull(n_elements, np.zeros((0, n_elements)), np.zeros(0))
        line = "Substitution: no known structure type of the embedded list fits these elements."
        return Substitution(None, None, np.zeros(0), 0, hull, line)
    before = problem.energy.n_evaluations
    factors = [np.full(len(found.crystals), volume ** (1 / 3)) for volume in _VOLUMES]
    tried = [found.crystals.scaled(factor) for factor in factors]
    energies = np.stack([problem.energy.formation_energy_ev_per_atom(one) for one in tried])
    best = energies.argmin(0)
    crystals = found.crystals.scaled(np.cbrt(np.array(_VOLUMES))[best])
    lowest = energies.min(0)
    spent = problem.energy.n_evaluations - before
    names = sorted({prototype.name for prototype in found.prototype})
    some = (
        " (types in turn, as many as the sampler's evaluations allow)"
        if len(crystals) == most
        else ""
    )
    line = (
        f"Substitution: {len(crystals):,} crystals of {len(names)} known structure types "
        f"({', '.join(names)}) at three volumes each, {spent:,} energy evaluations{some}."
    )
    hull = Hull(n_elements, fractions(crystals), lowest)
    return Substitution(found, crystals, lowest, spent, hull, line)
