"""What tests of every pipeline ask of a finished run, and what spares them its pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIMINGS = ("seconds", "cpu_seconds", "seconds_total")


def metrics(out: Path) -> dict[str, Any]:
    figures = json.loads((out / "metrics.json").read_text())
    assert figures.pop("schema_version") == 1
    return figures


def untimed(out: Path) -> dict[str, Any]:
    """The figures without those that measure time: what a resumed run must reproduce."""
    return {name: figure for name, figure in metrics(out).items() if name not in TIMINGS}


def blank_picture(_: object, folder: Path, name: str) -> Path:
    """In place of `plotting.save`, which takes most of a small run's time."""
    folder.mkdir(exist_ok=True)
    for suffix in ("svg", "png"):
        (folder / f"{name}.{suffix}").write_bytes(b"")
    return folder / f"{name}.png"
