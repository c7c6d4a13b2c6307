"""The figures of a run (`metrics.json`) and of the speed comparisons (`benchmarks.json`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workbench.runs.files import read_json, write_json

_NUMBERS = ("value", "stderr", "floor", "baseline", "reference")


@dataclass(frozen=True)
class Figure:
    """One number of a run with what is needed to judge it.

    stderr      standard error; None = not estimated
    n           number of samples behind it
    floor       what the metric gives for two sets of true samples at the same n
    baseline    the same figure for the classical method at the same cost
    reference   the known answer
    why         why `value` is None (not finite counts as None)
    interval    (low, high) of 95 %, where one was estimated beside the standard error
    """

    value: float | int | None
    stderr: float | None = None
    n: int | None = None
    floor: float | None = None
    baseline: float | None = None
    reference: float | None = None
    unit: str | None = None
    why: str | None = None
    interval: tuple[float, float] | None = None

    def finite(self) -> Figure:
        """Itself with every number that is not finite replaced by None, and `why` saying so."""
        bad = {
            name: number
            for name in _NUMBERS
            if (number := getattr(self, name)) is not None and not math.isfinite(number)
        }
        notes = [f"{name} was {number}" for name, number in bad.items()]
        why = "; ".join([self.why, *notes] if self.why else notes) or None
        if self.value is None and why is None:
            why = "not computed"
        return replace(self, why=why, **{name: None for name in bad})


def write_metrics(path: Path, figures: Mapping[str, Figure]) -> None:
    """Flat JSON: `{"schema_version": 1, "name": {"value": ..., "stderr": ..., ...}, ...}`."""
    content: dict[str, Any] = {}
    for name, figure in figures.items():
        record = {key: _plain(value) for key, value in asdict(figure.finite()).items()}
        for optional in ("why", "interval"):
            if record[optional] is None:
                del record[optional]
        content[name] = record
    write_json(path, content)


def read_metrics(path: Path) -> dict[str, Figure]:
    """Raises InputError where the file is missing or damaged."""
    record = read_json(path)
    return {name: Figure(**fields) for name, fields in record.items() if name != "schema_version"}


def write_benchmarks(path: Path, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """`{"name": {"ratio": x, "spread": [low, high], "ours": a, "theirs": b, "unit": s}}`, or `rate`
    in place of `ratio`, `ours` and `theirs`. Raises ValueError for a figure of another form."""
    forms = ({"ratio", "spread", "ours", "theirs", "unit"}, {"rate", "spread", "unit"})
    for name, figure in figures.items():
        if set(figure) not in forms:
            raise ValueError(f"benchmark {name} has the keys {sorted(figure)}")
    write_json(path, figures)


def _plain(value: Any) -> Any:
    """Numbers of NumPy and torch as Python's own."""
    return value.item() if hasattr(value, "item") else value
