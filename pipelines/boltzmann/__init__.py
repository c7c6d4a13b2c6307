"""Samples of exp(-u) / Z for a physical energy: prepare -> train -> sample -> evaluate -> report.

    workbench boltzmann run --pdb protein.pdb --forcefield amber14-all.xml implicit/obc1.xml
    workbench boltzmann run --system lj13

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.boltzmann.options import (
    ChainOptions,
    Config,
    MdOptions,
    SmcOptions,
)
from pipelines.boltzmann.presets import preset

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


def run(config: Config, out: Path | None = None) -> Path:
    """Make the run folder `out` (default: under runs/), do everything, return the folder.

    Raises InputError for input that cannot be used, before a folder is made."""
    from pipelines.boltzmann import prepare, steps
    from pipelines.options import default_out, to_plain
    from workbench.runs.folder import RunFolder

    problem = prepare.problem(config)
    out = out or default_out("boltzmann", config)
    with RunFolder.create(out, to_plain(config), "boltzmann") as folder:
        steps.work(config, problem, folder)
    return out


def resume(path: Path) -> Path:
    """Go on with a run from its last good checkpoints; a finished run is evaluated again."""
    from pipelines.boltzmann import prepare, steps
    from workbench.runs.folder import RunFolder

    with RunFolder.open(path) as folder:
        config = _config_of(folder.config)
        steps.work(config, prepare.problem(config), folder)
    return path


def sample(path: Path, n: int) -> Path:
    """Draw `n` more samples of a run into its folder and return the file that holds them."""
    from pipelines.boltzmann import prepare, steps
    from workbench.runs.folder import RunFolder

    with RunFolder.open(path) as folder:
        config = _config_of(folder.config)
        return steps.more_samples(config, prepare.problem(config), folder, n)


def _config_of(plain: dict) -> Config:
    from pipelines.options import overlay

    return overlay(Config(), plain)
