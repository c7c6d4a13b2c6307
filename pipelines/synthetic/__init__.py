"""A GFlowNet on a space with known answers: prepare -> train -> sample -> evaluate -> report.

    workbench synthetic run --environment hypergrid --objective tb
    workbench synthetic run --environment tree-building --objective subtb --backward uniform

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

from pathlib import Path

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


def run(config: Config, out: Path | None = None) -> Path:
    """Make the run folder `out` (default: under runs/), do everything, return the folder.

    Raises InputError for input that cannot be used, before a folder is made."""
    from pipelines.options import default_out, to_plain
    from pipelines.synthetic import prepare, steps
    from workbench.runs.folder import RunFolder

    problem = prepare.problem(config)
    out = out or default_out("synthetic", config)
    with RunFolder.create(out, to_plain(config), "synthetic") as folder:
        steps.work(config, problem, folder)
    return out


def resume(path: Path) -> Path:
    """Go on with a run from its last good checkpoint; a finished run is evaluated again."""
    from pipelines.synthetic import prepare, steps
    from workbench.runs.folder import RunFolder

    with RunFolder.open(path) as folder:
        config = _config_of(folder.config)
        steps.work(config, prepare.problem(config), folder)
    return path


def sample(path: Path, n: int) -> Path:
    """Draw `n` more objects of a run into its folder and return the file that holds them."""
    from pipelines.synthetic import prepare, steps
    from workbench.runs.folder import RunFolder

    with RunFolder.open(path) as folder:
        config = _config_of(folder.config)
        return steps.more_samples(config, prepare.problem(config), folder, n)


def _config_of(plain: dict) -> Config:
    from pipelines.options import overlay

    return overlay(Config(), plain)
