"""An interpreter with a peer's packages, in an environment of its own: their pins may conflict with ours."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import torch


def peer_python(requirement: str) -> Path:
    """The interpreter of `.venv-bench/NAME` for the requirement NAME==VERSION, made where it is not there
    with the same PyTorch as ours. PIP_ARGS in the environment is passed to pip."""
    place = Path(".venv-bench") / requirement.split("==")[0]
    python = place / "bin" / "python"
    if not (place / "installed").exists():
        venv.create(place, with_pip=True, clear=True)
        pytorch = f"torch=={torch.__version__.split('+')[0]}"
        extra = shlex.split(os.environ.get("PIP_ARGS", ""))
        command = [str(python), "-m", "pip", "install", "-q", *extra, pytorch, requirement]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (place / "installed").touch()
    return python
