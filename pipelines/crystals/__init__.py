"""Crystals sampled in proportion to a stated reward: prepare -> train -> sample -> judge -> report.

    workbench crystals run --elements Na Cl Mg O --max-atoms 8
    workbench crystals run --elements published --max-atoms 12 --relax 100

Only options are imported here, so that help is fast; the steps are the modules beside this one.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.crystals.options import Config, FitOptions
from pipelines.crystals.presets import preset
from pipelines.lifecycle import lifecycle
from workbench.errors import InputError

__all__ = ["DEMO", "Config", "FitOptions", "preset", "resume", "run", "sample"]

DEMO = [("--elements", "Na", "Cl", "Mg", "O")]

_PACKAGES = ("pymatgen", "spglib")  # CHGNet is asked for where it is used


def _checked(call: Callable[..., Path]) -> Callable[..., Path]:
    """`call` after the packages of the extra have been found. Raises InputError where one is missing."""

    @functools.wraps(call)
    def checked(*arguments: Any, **options: Any) -> Path:
        for name in _PACKAGES:
            if importlib.util.find_spec(name) is None:
                raise InputError(
                    f"{name} is not installed: pip install 'sampling-workbench[crystals]'"
                )
        return call(*arguments, **options)

    return checked


run, resume, sample = (_checked(call) for call in lifecycle("crystals", Config))
