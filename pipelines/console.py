"""What the command line prints: a table of figures for people, or JSON alone for programs."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.runs.files import SCHEMA_VERSION
from workbench.runs.streams import stdout_sent_to

if TYPE_CHECKING:
    from workbench.runs.metrics import Figure


@contextlib.contextmanager
def results_only(as_json: bool) -> Iterator[None]:
    """With `--json`, whatever is printed inside goes to standard error, the messages of compiled
    libraries included: they write to the file descriptor and know nothing of `sys.stdout`."""
    if not as_json:
        yield
        return
    with stdout_sent_to(2), contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(content: Mapping[str, Any]) -> None:
    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, allow_nan=False)
    print(text, flush=True)


def run_summary(path: Path) -> dict[str, Any]:
    """The run folder, its report and its figures as JSON values; null where there is none yet."""
    metrics, report = path / "metrics.json", path / "report.html"
    figures = json.loads(metrics.read_text(encoding="utf-8")) if metrics.exists() else None
    if figures is not None:
        del figures["schema_version"]
    return {
        "run": str(path),
        "report": str(report) if report.exists() else None,
        "metrics": figures,
    }


def print_run(path: Path) -> None:
    from workbench.runs.metrics import read_metrics

    if (path / "metrics.json").exists():
        print_figures(read_metrics(path / "metrics.json"))
    if (path / "report.html").exists():
        print(f"report: {path / 'report.html'}")
    print(f"run:    {path}")


def print_figures(figures: Mapping[str, Figure]) -> None:
    """A table as wide as its names need, and below it why a value is missing."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    table.add_column("figure", no_wrap=True)
    for heading in ("value", "error", "n", "floor", "baseline", "reference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name, figure in figures.items():
        value = "-" if figure.value is None else short(figure.value, figure.stderr)
        spreads = (short(figure.stderr), short(figure.n), short(figure.floor))
        beside = (short(x, figure.stderr) for x in (figure.baseline, figure.reference))
        table.add_row(name, value, *spreads, *beside, figure.unit or "")
    console = Console(markup=False, highlight=False)
    needed = console.measure(table, options=console.options.update(max_width=1000)).maximum
    console.width = max(console.width, needed)
    console.print(table)
    for name, figure in figures.items():
        if figure.why is not None:
            print(f"  {name}: {figure.why}")


def short(number: float | None, error: float | None = None) -> str:
    """Four significant digits, or as many as reach the first one of `error`; whole numbers in full; empty
    for None."""
    if number is None or isinstance(number, int):
        return "" if number is None else f"{number:d}"
    digits = 4
    if error and number and math.isfinite(number):
        places = math.floor(math.log10(abs(number))) - math.floor(math.log10(error))
        digits = min(max(digits, 1 + places), 12)
    return f"{number:.{digits}g}"
