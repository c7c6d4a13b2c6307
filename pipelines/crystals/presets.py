"""The defaults of every preset: the only place where sizes are chosen.

smoke   within a minute on 2 cores, with the ionic energy: everything runs, nothing is converged
laptop  the default: CHGNet, half an hour or less on 2 cores
paper   Crystal-GFN's 22 elements and more steps; larger cells are a matter of patience
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.crystals.options import Config, FitOptions
from pipelines.options import Preset


def preset(name: Preset) -> Config:
    """Every option at its value for this preset."""
    config = Config(preset=name)
    if name == "laptop":
        return config
    if name == "smoke":
        return replace(
            config,
            energy="ionic",
            max_atoms=4,
            steps=60,
            batch=32,
            width=64,
            seeds=300,
            chains=48,
            sweeps=8,
            imitation=10,
            n_samples=60,
            relax=2,
            playground_steps=60,
        )
    return replace(
        config,
        elements=("published",),
        max_atoms=16,
        steps=20_000,
        batch=128,
        width=512,
        fit=FitOptions(labels=20_000, rounds=40),
        n_samples=10_000,
        relax=100,
    )
