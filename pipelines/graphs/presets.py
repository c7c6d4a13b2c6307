"""The defaults of every (preset, task): the only place where sizes are chosen.

smoke   within a minute on 2 cores: tiny graphs and a few steps, everything runs
laptop  the default: a few minutes of training on 2 cores, as measured in the README
paper   the sizes of Zhang et al. (2023, arXiv 2305.17010), meant for many cores
"""

from __future__ import annotations

import typing
from dataclasses import replace

from pipelines.graphs.options import Config, TaskName
from pipelines.options import Preset
from workbench.errors import InputError, nearest
from workbench.gflownet.options import NetworkConfig, TemperatureConfig

# As published (RB graphs for sets without edges and cliques, BA graphs for the others).
_FAMILY = {"mis": "rb-small", "clique": "rb-small", "mds": "ba-small", "cut": "ba-small"}
# Steps and learning rate. Longer trainings make the sets of a graph alike, so that the best of 20 falls again;
# those of cuts explode after some 35 steps.
_TRAINING = {"mis": (300, 2e-3), "clique": (48, 4e-3), "mds": (120, 4e-3), "cut": (28, 4e-3)}


def preset(name: Preset, task: str = "mis") -> Config:
    """Every option at its value for this preset and task. Raises InputError for an unknown task."""
    known = typing.get_args(TaskName)
    if task not in known:
        raise InputError(f'unknown task "{task}"{nearest(task, known)}: one of {known}')
    family = _FAMILY[task]
    steps, learning_rate = _TRAINING[task]
    config = Config(
        preset=name,
        task=task,  # type: ignore[arg-type]
        train=family,
        test=family,
        objective="log-variance",
        backward="learned",
        learning_rate=learning_rate,
        temperature=TemperatureConfig(final=16.0 if task == "clique" else 40.0),
        network=NetworkConfig(width=32, layers=2),
        gradient_norm=5.0,
        steps=steps,
        batch=16 if task == "cut" else 64,
        per_graph=8 if task == "cut" else 16,
        n_validation=8 if task == "cut" else 32,
    )
    if name == "laptop":
        return config
    if name == "smoke":
        return replace(
            config,
            train="er-tiny",
            test="petersen",
            objective="tb",
            temperature=TemperatureConfig(final=4.0),
            n_train=20,
            n_test=5,
            steps=60,
            batch=32,
            per_graph=4,
            learning_rate=5e-3,
            time_limit=1.0,
            search_seconds=0.02,
            n_evaluations=3,
        )
    return replace(
        config,
        objective="fl-db",
        temperature=TemperatureConfig("annealed", 1.0, 500.0),
        network=NetworkConfig(width=256, layers=5),
        n_train=4000,
        n_test=500,
        steps=10_000,
        learning_rate=1e-3,
        batch=64 if task != "cut" else 16,
        per_graph=8,
        time_limit=60.0,
    )
