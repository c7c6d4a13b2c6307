"""The defaults of every preset: the only place where sizes are chosen.

smoke   within a minute on 2 cores: everything runs, nothing is converged
laptop  the default, a few minutes on 2 cores for small files
paper   five seeds and longer trainings on more components, meant for many cells or a GPU
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.cells.options import Config, FateOptions, NetworkOptions, SimulatorOptions
from pipelines.options import Preset
from workbench.bridge.options import AdversarialConfig


def preset(name: Preset) -> Config:
    """Every option at its value for this preset."""
    config = Config(preset=name)
    if name == "laptop":
        return config
    if name == "smoke":
        return replace(
            config,
            method=("otcfm",),
            candidates=("midpoint", "otcfm"),
            seeds=1,
            steps=200,
            eval_cells=100,
            repeats=4,
            bootstrap=20,
            ensemble=2,
            trajectories=50,
            imputed_cells=60,
            simulator=SimulatorOptions(cells=100),
            fates=FateOptions(paths=5, cells=40),
            network=NetworkOptions(seeds=2, steps=100, most_genes=10),
            adversarial=AdversarialConfig(pretrain_steps=100, steps=100),
        )
    return replace(
        config,
        seeds=5,
        steps=10_000,
        batch=256,
        learning_rate=1e-3,
        ema_decay=0.999,
        eval_cells=2000,
        n_components=50,
        adversarial=AdversarialConfig(pretrain_steps=1000, steps=70_000),
        network=NetworkOptions(seeds=20, steps=2000),
    )
