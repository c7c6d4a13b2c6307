"""Standard output as compiled libraries see it: a file descriptor, not `sys.stdout`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_sent_to(descriptor: int) -> Iterator[None]:
    """What is written to standard output inside, by Python or by C, goes to `descriptor`."""
    _flush()
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def stdout_silenced() -> Iterator[None]:
    """For libraries that announce themselves."""
    with open(os.devnull, "wb") as nowhere, stdout_sent_to(nowhere.fileno()):  # noqa: PTH123
        yield


def _flush() -> None:
    """Python's and C's buffers, which would otherwise be emptied after the descriptor changed."""
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
