"""Trajectories of cells from snapshots: prepare -> validate -> fit -> simulate -> write -> report.

    workbench cells run                                             the embedded myoblasts
    workbench cells run --input FILE.h5ad --time-key day --method otcfm sf2m
    workbench cells run --simulate cycle --method spline otcfm

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

from pipelines.cells.options import Config, FateOptions, NetworkOptions, SimulatorOptions
from pipelines.cells.presets import preset
from pipelines.lifecycle import lifecycle

__all__ = [
    "DEMO",
    "Config",
    "FateOptions",
    "NetworkOptions",
    "SimulatorOptions",
    "preset",
    "resume",
    "run",
    "sample",
]

DEMO = [("--preset", "smoke")]


run, resume, sample = lifecycle("cells", Config)
