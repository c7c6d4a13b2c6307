"""Alanine dipeptide, energy and force: compiled kernels against OpenMM's Reference platform.

CPU time per conformation, one thread. Ours: float32, batch 1024. Theirs: one context, positions as
a NumPy array, energy and forces read back as NumPy. With solvent the force field is ff99SB-ILDN
with OBC2 as OpenMM's built-in `GBSAOBCForce`: OBC1 as expressions (`CustomGBForce`) is some 25
times slower there and would flatter the comparison.

    python -m tests.benchmarks.bench_alanine
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import openmm
import torch

from domains.molecules.named_molecules import named_molecule
from domains.molecules.openmm_reference import ReferenceContext

SYSTEMS = {
    "adp_vacuum_vs_openmm_reference": "alanine-dipeptide-vacuum",
    "adp_obc_vs_openmm_reference": "alanine-dipeptide-ff99sbildn-obc",
}
BATCH, BATCH_THEIRS, REPEATS = 1024, 256, 15


def cpu_seconds(call: Callable[[], Any], n_calls: int) -> float:
    start = time.process_time()
    for _ in range(n_calls):
        call()
    return (time.process_time() - start) / n_calls


def compare(name: str) -> dict[str, Any]:
    energy = named_molecule(name)
    x = energy.initial(BATCH, torch.Generator().manual_seed(0))
    system = openmm.XmlSerializer.deserialize(energy.system_xml)
    reference = ReferenceContext(system)
    positions = x[:BATCH_THEIRS].double().numpy()
    energy.energy_and_force(x)
    reference.evaluate(positions, want_force=True)
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(cpu_seconds(lambda: energy.energy_and_force(x), 10) / BATCH)
        theirs.append(
            cpu_seconds(lambda: reference.evaluate(positions, want_force=True), 1) / BATCH_THEIRS
        )
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    return {
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "ours": 1e6 * statistics.median(ours),
        "theirs": 1e6 * statistics.median(theirs),
        "unit": "microseconds of CPU per conformation",
    }


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    return {figure: compare(name) for figure, name in SYSTEMS.items()}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
