"""Worker processes for calls that can be divided.

Workers are started as `python -m workbench.training.worker`, so they never import the caller's
`__main__`: notebooks, standard input and scripts without a guard work. They import what their
function's module imports and no more.
"""

from __future__ import annotations

import importlib
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any

from workbench.errors import InputError

_LENGTH = struct.Struct("<Q")


def run_in_processes(
    function: str, arguments: Sequence[tuple[Any, ...]], n_processes: int
) -> list[Any]:
    """`[f(*a) for a in arguments]` with `f` named as "package.module:function", in that order.

    With one process or one call all is done in this process. Failures as in `WorkerPool.map`.
    """
    n_processes = min(n_processes, len(arguments))
    if n_processes <= 1:
        call = import_function(function)
        return [call(*argument) for argument in arguments]
    with WorkerPool(function, n_processes) as pool:
        return pool.map(arguments)


def divided(function: str, items: Sequence[Any], n_processes: int, *more: Any) -> list[Any]:
    """`f(items, *more)` for an `f` that gives a list of an answer for each item, every n-th item in a process
    of its own; the answers in the order of `items`."""
    n = max(1, n_processes)
    parts = [(items[i::n], *more) for i in range(n)]
    found: list[Any] = [None] * len(items)
    for i, answers in enumerate(run_in_processes(function, parts, n)):
        found[i::n] = answers
    return found


class WorkerPool:
    """Processes that stay, for one function called again and again: `with WorkerPool(...) as pool`.

    function     "package.module:function"; what its module keeps between calls lives as long as the
                 worker
    n_processes  each has one thread
    """

    def __init__(self, function: str, n_processes: int) -> None:
        self._workers = [_Worker(function) for _ in range(n_processes)]

    def map(self, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The results in the order of `arguments`; each worker takes the next call when free.

        The first failure ends the pool: an InputError comes back as itself, any other exception as
        RuntimeError with its message. An interruption ends the pool too.
        """
        try:
            return _share_out(self._workers, arguments)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for worker in self._workers:
            worker.end()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def import_function(path: str) -> Any:
    """The function named as "package.module:function"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def send(stream: IO[bytes], message: Any) -> None:
    """Write one message: its length, then its pickle (both ends are our own processes)."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message. Raises EOFError when the other end is gone."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError("the other process has ended")
    (length,) = _LENGTH.unpack(header)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError("the other process has ended")
    return pickle.loads(content)


def _share_out(workers: Sequence[_Worker], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """One thread per worker takes calls from a common queue; this thread stays free for signals."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    for index in range(len(arguments)):
        waiting.put(index)

    def feed(worker: _Worker) -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            done.put((index, worker.call(arguments[index])))

    for worker in workers:
        threading.Thread(target=feed, args=(worker,), daemon=True).start()
    results: dict[int, Any] = {}
    while len(results) < len(arguments):
        index, answer = done.get()
        if isinstance(answer, Exception):
            raise answer
        results[index] = answer
    return [results[index] for index in range(len(arguments))]


class _Worker:
    """One worker process and the two pipes to it."""

    def __init__(self, function: str) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workbench.training.worker", function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **one_thread, "PYTHONPATH": path},
        )

    def call(self, arguments: tuple[Any, ...]) -> Any:
        """What the function returned, or the exception to raise in its place."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            send(self.process.stdin, arguments)
            kind, value = receive(self.process.stdout)
        except (OSError, EOFError):
            return RuntimeError(
                f"worker process {self.process.pid} ended with code {self.process.wait()}"
            )
        except Exception as error:  # arguments that cannot be pickled
            return error
        if kind == "result":
            return value
        return InputError(value) if kind == "input error" else RuntimeError(value)

    def end(self) -> None:
        """Kill and reap: its processor time counts among this process's children then."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was still in the buffer has nowhere to go
                    continue
