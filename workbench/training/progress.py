"""Progress of a long loop on standard error: a bar with rate and time left on a terminal, else one
plain line per interval. Standard output is left to results."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")

PLAIN_INTERVAL_SECONDS = 30.0


class Progress:
    """`with Progress("training", n_steps) as progress: progress.update(step, {"loss": 1.0})`.

    total   number of steps of the whole loop
    start   steps done before, in an earlier session: they count for the bar, not for the rate
    """

    def __init__(self, name: str, total: int, start: int = 0) -> None:
        self.name, self.total, self.start = name, total, start
        self._began = self._spoke = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and self.start < self.total:
            self._bar, self._task = _open_bar(self.name, self.total, self.start)
        return self

    def update(self, step: int, values: Mapping[str, float] | None = None) -> None:
        """`step` steps are done; `values` are shown beside them."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in (values or {}).items())
        now = time.monotonic()
        if self._bar is not None:
            rate = f"{(step - self.start) / (now - self._began):.3g}/s"
            self._bar.update(self._task, completed=step, shown=shown, rate=rate)
        elif now - self._spoke >= PLAIN_INTERVAL_SECONDS:
            self._spoke = now
            print(self._line(step, now, shown), file=sys.stderr, flush=True)

    def _line(self, step: int, now: float, shown: str) -> str:
        rate = (step - self.start) / (now - self._began)
        left = format_seconds((self.total - step) / rate) if rate > 0 else "unknown"
        line = f"{self.name}: {step}/{self.total}, {rate:.3g}/s, {left} left"
        return f"{line}, {shown}" if shown else line

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def track(items: Iterable[Item], name: str, total: int) -> Iterator[Item]:
    """The items one by one, with progress shown: for loops that are not a fit."""
    with Progress(name, total) as progress:
        for i, item in enumerate(items):
            yield item
            progress.update(i + 1)


def format_seconds(seconds: float) -> str:
    """`75` -> `1:15`, `4000` -> `1:06:40`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _open_bar(name: str, total: int, start: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}"),
        console=Console(stderr=True),
        refresh_per_second=4,
    )
    task = bar.add_task(name, total=total, completed=start, shown="", rate="")
    bar.start()
    return bar, task
