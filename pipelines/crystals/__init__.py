"""Crystals sampled in proportion to a stated reward: prepare -> train -> sample -> judge -> report.

    workbench crystals run --elements Na Cl Mg O --max-atoms 8
    workbench crystals run --elements published --max-atoms 12 --relax 100

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

from pipelines.crystals.options import Config, FitOptions
from pipelines.crystals.presets import preset
from pipelines.lifecycle import lifecycle

__all__ = ["DEMO", "Config", "FitOptions", "preset", "resume", "run", "sample"]

DEMO = [("--elements", "Na", "Cl", "Mg", "O")]

run, resume, sample = lifecycle("crystals", Config)
