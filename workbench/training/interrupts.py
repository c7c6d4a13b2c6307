"""SIGINT and SIGTERM as a request to stop at the next safe point.

A loop that can be resumed runs inside `StopRequest`, finishes its step when asked to stop, writes a
checkpoint and raises `Interrupted`. A second signal does not wait for the step.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The user or the system asked to stop; the run was saved and can be resumed."""


class StopRequest:
    """`with StopRequest() as stop: ... if stop.requested: ...`; handlers are restored on leaving.

    Outside the main thread, where Python takes no handlers, it is never requested.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
