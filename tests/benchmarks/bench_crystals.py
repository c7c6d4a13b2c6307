"""Rates of building and scoring crystals, one thread.

    python -m tests.benchmarks crystals

Discrete stages: uniform trajectories of the published 22 elements, all groups, up to 12 atoms, batch 256, from
the initial state to the stop (masks, draws, moves and their inverses). Scoring: `ChgnetEnergy` on new crystals,
fingerprints, checks and references included, over CHGNet's own `predict_structure` at the same batch size
on the same structures made ready beforehand; both alternate in one process, in processor time.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from domains.crystals.chgnet_energy import BATCH, ChgnetEnergy, model
from domains.crystals.elements import elements
from domains.crystals.environment import CrystalEnvironment
from domains.crystals.orbits import OrbitEnvironment, OrbitState
from domains.crystals.random_search import random_crystals
from domains.crystals.reachable import Limits
from domains.crystals.structures import structures
from workbench.gflownet import rollout
from workbench.gflownet.moves import draw, uniform

TRAJECTORIES, REPEATS = 256, 9
SCORED, SCORING_REPEATS = 64, 5


class _Uniform:
    def __init__(self, environment: OrbitEnvironment) -> None:
        self._environment = environment

    def sample(
        self, state: OrbitState, row: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return draw(uniform(self._environment.forward_mask(state), torch.float32), generator)


def _discrete() -> dict[str, Any]:
    environment = OrbitEnvironment(elements(["published"]), range(1, 231), Limits(12))
    generator = torch.Generator().manual_seed(0)
    rates = []
    for _ in range(REPEATS + 1):  # the first one compiles
        start = environment.initial_state(TRAJECTORIES)
        began = time.process_time()
        rollout.forward(environment, _Uniform(environment), start, generator)
        rates.append(TRAJECTORIES / (time.process_time() - began))
    unit = "trajectories per CPU second, discrete stages, batch 256"
    spread = [min(rates[1:]), max(rates[1:])]
    return {"rate": statistics.median(rates[1:]), "spread": spread, "unit": unit}


def _scoring() -> dict[str, Any]:
    orbits = OrbitEnvironment(
        elements(["Na", "Cl", "Mg", "O"]), range(1, 231), Limits(8, fewest_kinds=2)
    )
    environment = CrystalEnvironment(orbits, lambda crystals, state: torch.zeros(len(crystals)))
    generator = torch.Generator().manual_seed(0)
    ours, theirs = [], []
    for repeat in range(SCORING_REPEATS + 1):  # the first one warms up
        crystals, _ = random_crystals(environment, SCORED, generator)
        cells, energy = structures(crystals), ChgnetEnergy()
        began = time.process_time()
        model().predict_structure(cells, task="e", batch_size=BATCH)
        between = time.process_time()
        energy.formation_energy_ev_per_atom(crystals)
        ended = time.process_time()
        if repeat:
            ours.append(SCORED / (ended - between))
            theirs.append(SCORED / (between - began))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "unit": "formation energies per CPU second",
    }


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    return {
        "crystal_discrete_trajectories_per_cpu_second": _discrete(),
        "chgnet_batch_efficiency": _scoring(),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
