"""Where a run comes from: code, libraries, machine. Nothing is imported to find its version."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGE = "sampling-workbench"


def environment() -> dict[str, Any]:
    """The facts that hold for the whole process, as JSON values; unknown ones are None."""
    return {
        "workbench_version": version(PACKAGE),
        "python_version": platform.python_version(),
        "library_versions": library_versions(),
        "git_commit": git_commit(Path(__file__).parent),
        "platform": platform.platform(),
        "cpu_model": cpu_model(),
        "command": sys.argv,
    }


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def library_versions() -> dict[str, str]:
    """The installed versions of what the package runs on, optional parts included, tools not."""
    try:
        requirements = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    used = [line for line in requirements if not re.search(r"extra == .dev.", line)]
    names = sorted({re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in used})
    found = {name: version(name) for name in names if name != PACKAGE}
    return {name: number for name, number in found.items() if number is not None}


def git_commit(folder: Path) -> str | None:
    """The commit checked out in `folder`, with `+changes` where tracked files differ from it.

    None outside a checkout, also when an installed package lies inside somebody else's repository.
    """
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or None


def peak_memory_bytes() -> int:
    """The largest resident memory of this process so far, its finished workers included."""
    scale = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return scale * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


def now() -> str:
    """The present time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
