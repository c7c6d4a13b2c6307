"""A GFlowNet on a space with known answers: prepare -> train -> sample -> evaluate -> report.

    workbench synthetic run --environment hypergrid --objective tb
    workbench synthetic run --environment tree-building --objective subtb --backward uniform

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

from pipelines.lifecycle import lifecycle
from pipelines.synthetic.options import BitOptions, Config, GridOptions, TreeOptions
from pipelines.synthetic.presets import preset

__all__ = [
    "DEMO",
    "BitOptions",
    "Config",
    "GridOptions",
    "TreeOptions",
    "preset",
    "resume",
    "run",
    "sample",
]

DEMO = [("--environment", "hypergrid", "--preset", "smoke")]


run, resume, sample = lifecycle("synthetic", Config)
