"""The defaults of every (preset, environment): the only place where sizes are chosen.

smoke   within a minute on 2 cores: everything runs, nothing is converged
laptop  the default, a minute or two on 2 cores
paper   the sizes and settings of published runs, meant for a GPU
"""

from __future__ import annotations

import typing
from dataclasses import replace

from pipelines.options import Preset
from pipelines.synthetic.options import (
    BitOptions,
    Config,
    EnvironmentName,
    GridOptions,
    TreeOptions,
)
from workbench.errors import InputError, nearest
from workbench.gflownet.options import Exploration


def preset(name: Preset, environment: str = "hypergrid") -> Config:
    """Every option at its value for this preset and environment. Raises InputError for an unknown
    environment, naming the nearest."""
    known = typing.get_args(EnvironmentName)
    if environment not in known:
        raise InputError(
            f'unknown environment "{environment}"{nearest(environment, known)}: one of {known}'
        )
    config = Config(preset=name, environment=environment)  # type: ignore[arg-type]
    if name == "laptop":
        return replace(config, steps=1000)
    if name == "smoke":
        small = replace(config, steps=150, batch=128, n_samples=2000, n_evaluations=5)
        smaller = BitOptions(length=8, word_bits=2, n_modes=4)
        return replace(small, grid=GridOptions(height=6), bits=smaller, tree=TreeOptions(leaves=4))
    return replace(config, learning_rate=1e-3, **_PAPER[environment])


_PAPER: dict[str, dict] = {
    # 4 x 20 of the gfnx baselines (R0 not stated there)
    "hypergrid": {
        "grid": GridOptions(height=20),
        "steps": 62_500,
        "batch": 16,
        "log_partition_rate": 0.1,
        "exploration": Exploration(epsilon=0.1, annealed=0.48),
    },
    # 120 bits in words of 8, 60 modes, exponent 3; their network is a transformer
    "bit-sequences": {
        "bits": BitOptions(120, 8, 60, exponent=3.0, mode_distance=28),
        "steps": 50_000,
        "batch": 16,
        "log_partition_rate": 0.05,
        "exploration": Exploration(epsilon=1e-3),
    },
    # our own space, so nothing is published: the largest of it
    "tree-building": {"tree": TreeOptions(leaves=6), "steps": 5000},
}
