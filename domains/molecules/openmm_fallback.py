"""Forces without a kernel, evaluated by OpenMM itself: exact, and spread over worker processes.

Workers are separate interpreters that run `openmm_worker.py` alone, so they work from notebooks and
from scripts without a guard. A small batch is evaluated in this process, where starting a worker or
sending to it would cost more than it saves.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import openmm

from domains.molecules import openmm_worker

SMALL_BATCH = 16
MOST_WORKERS = 16


class FallbackError(RuntimeError):
    """OpenMM could not evaluate a configuration, or a worker process ended."""


class _Worker:
    def __init__(self, system_xml: str) -> None:
        script = str(Path(openmm_worker.__file__).resolve())
        # -P keeps this package's folder out of the worker's import path.
        self._process = subprocess.Popen(
            [sys.executable, "-P", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        data = system_xml.encode()
        self._send(np.int64(len(data)).tobytes() + data)

    def _send(self, data: bytes) -> None:
        stream = cast(BinaryIO, self._process.stdin)
        try:
            stream.write(data)
            stream.flush()
        except OSError as problem:
            raise FallbackError(self._ended()) from problem

    def _read(self, size: int) -> bytes:
        data = cast(BinaryIO, self._process.stdout).read(size)
        if len(data) != size:
            raise FallbackError(self._ended())
        return data

    def _ended(self) -> str:
        return (
            f"an OpenMM worker process ended with code {self._process.poll()}; "
            "n_workers=0 evaluates in this process instead"
        )

    def ask(self, x_nm: np.ndarray, want_force: bool) -> None:
        self._send(np.array([want_force, len(x_nm)], dtype="<i8").tobytes() + x_nm.tobytes())

    def answer(self, shape: tuple[int, ...], want_force: bool) -> tuple[np.ndarray, np.ndarray]:
        length = int(np.frombuffer(self._read(8), dtype="<i8")[0])
        if length:
            raise FallbackError(f"OpenMM failed in a worker process: {self._read(length).decode()}")
        energy = np.frombuffer(self._read(8 * shape[0]), dtype="<f8")
        size = int(np.prod(shape)) if want_force else 0
        force = np.frombuffer(self._read(8 * size), dtype="<f8")
        return energy, force.reshape(shape if want_force else (0, 0, 3))

    def close(self) -> None:
        """Closing its input ends the worker."""
        with contextlib.suppress(OSError):
            cast(BinaryIO, self._process.stdin).close()
        self._process.wait()
        cast(BinaryIO, self._process.stdout).close()


class OpenMMFallback:
    """Energies and forces of a System on OpenMM's Reference platform, in kJ/mol and nm.

    `n_workers` processes share a batch; 0 keeps everything in this process, `None` takes one per
    core. They start with the first batch above `SMALL_BATCH` and end with `close` or the program.
    """

    def __init__(self, system: openmm.System, n_workers: int | None = None) -> None:
        self.system_xml = openmm.XmlSerializer.serialize(system)
        self._context = openmm_worker.ReferenceContext(system)
        self.n_workers = min(os.cpu_count() or 1, MOST_WORKERS) if n_workers is None else n_workers
        self._workers: list[_Worker] = []

    def evaluate(self, x_nm: np.ndarray, want_force: bool) -> tuple[np.ndarray, np.ndarray]:
        """`x_nm [batch, atom, 3]` float64 to energies [batch] and forces (empty if not wanted)."""
        if self.n_workers == 0 or len(x_nm) <= SMALL_BATCH:
            try:
                return self._context.evaluate(x_nm, want_force)
            except openmm.OpenMMException as problem:
                raise FallbackError(f"OpenMM failed: {problem}") from problem
        try:
            return self._spread(x_nm, want_force)
        except BaseException:
            self.close()  # An answer left unread would be taken for the next one.
            raise

    def _spread(self, x_nm: np.ndarray, want_force: bool) -> tuple[np.ndarray, np.ndarray]:
        if not self._workers:
            atexit.register(self.close)
            for _ in range(self.n_workers):
                self._workers.append(_Worker(self.system_xml))
        parts = np.array_split(np.ascontiguousarray(x_nm), len(self._workers))
        for worker, part in zip(self._workers, parts, strict=True):
            worker.ask(part, want_force)
        answers = [
            worker.answer(part.shape, want_force)
            for worker, part in zip(self._workers, parts, strict=True)
        ]
        energies, forces = zip(*answers, strict=True)
        return np.concatenate(energies), np.concatenate(forces)

    def close(self) -> None:
        """End the workers; the next large batch starts new ones."""
        atexit.unregister(self.close)
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.close()
