"""Near-optimal sets of vertices: prepare -> train -> solve the test graphs -> compare -> report.

    workbench graphs run --task mis --train rb-small --test rb-small
    workbench graphs run --task cut --train petersen --test petersen --preset smoke
    workbench graphs solve --input g.dimacs --run RUN

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

from pipelines.graphs.options import Config
from pipelines.graphs.presets import preset
from pipelines.lifecycle import lifecycle

__all__ = ["DEMO", "Config", "preset", "resume", "run", "sample"]

DEMO = [("--task", "mis")]


run, resume, sample = lifecycle("graphs", Config)
