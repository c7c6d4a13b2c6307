"""Small environments and random walks shared by the tests of crystals."""

from __future__ import annotations

import torch

from domains.crystals.crystals import Crystals
from domains.crystals.elements import elements
from domains.crystals.environment import CrystalEnvironment, CrystalState
from domains.crystals.orbits import OrbitEnvironment
from domains.crystals.random_search import UniformBehaviour
from domains.crystals.reachable import Limits
from workbench.gflownet import rollout

FEW_GROUPS = (1, 2, 5, 12, 47, 99, 129, 148, 152, 154, 166, 186, 194, 216, 221, 225, 227)


def environment(
    symbols=("Na", "Cl", "Mg", "O"), groups=FEW_GROUPS, most_atoms=6, n_bins=32, **limits
):
    """Crystals without a reward."""
    orbits = OrbitEnvironment(elements(symbols), groups, Limits(most_atoms, **limits))
    return CrystalEnvironment(orbits, lambda crystals, state: torch.zeros(len(crystals)), n_bins)


def random_walks(env: CrystalEnvironment, n: int, seed: int = 0):
    """Complete trajectories of uniform moves."""
    generator = torch.Generator().manual_seed(seed)
    start = env.initial_state(n)
    return rollout.forward(env, UniformBehaviour(env), start, generator)


def random_crystals(
    env: CrystalEnvironment, n: int, seed: int = 0
) -> tuple[Crystals, CrystalState]:
    """Crystals at the end of uniform moves."""
    final = random_walks(env, n, seed).final
    return env.crystals(final), final
