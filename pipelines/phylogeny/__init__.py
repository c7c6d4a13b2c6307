"""Trees of an alignment: prepare -> train or sample -> compare -> evaluate -> report.

    workbench phylogeny run --alignment FILE --target posterior
    workbench phylogeny run --alignment FILE --target parsimony --gaps fifth-state
    workbench phylogeny run --method mcmc --model GTR+G4

Only options are imported here, so that help is fast; the steps are the modules beside this one.
`score`, a command of its own, scores given trees.
"""

from __future__ import annotations

from pipelines.lifecycle import lifecycle
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.presets import preset

__all__ = ["DEMO", "Config", "preset", "resume", "run", "sample"]

DEMO = [("--target", "posterior"), ("--target", "parsimony")]

run, resume, sample = lifecycle("phylogeny", Config)
