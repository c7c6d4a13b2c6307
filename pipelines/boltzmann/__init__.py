"""Samples of exp(-u) / Z for a physical energy: prepare -> train -> sample -> evaluate -> report.

    workbench boltzmann run --pdb protein.pdb --forcefield amber14-all.xml implicit/obc1.xml
    workbench boltzmann run --system lj13

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

from pipelines.boltzmann.options import (
    ChainOptions,
    Config,
    MdOptions,
    SmcOptions,
)
from pipelines.boltzmann.presets import preset
from pipelines.lifecycle import lifecycle

__all__ = [
    "DEMO",
    "ChainOptions",
    "Config",
    "MdOptions",
    "SmcOptions",
    "preset",
    "resume",
    "run",
    "sample",
]

DEMO = [
    ("--system", "alanine-dipeptide", "--preset", "smoke"),
    ("--system", "lj13", "--preset", "smoke"),
    ("--system", "gmm40", "--preset", "smoke"),
]


run, resume, sample = lifecycle("boltzmann", Config)
