"""Forces without a kernel, evaluated by OpenMM itself: exact, and spread over worker processes.

A small batch is evaluated in this process, where starting a worker or sending to it would cost more
than it saves.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path

import numpy as np
import openmm

from domains.molecules.openmm_reference import ReferenceContext
from workbench.training.processes import WorkerPool

SMALL_BATCH = 16
MOST_WORKERS = 16


class FallbackError(RuntimeError):
    """OpenMM could not evaluate a configuration, or a worker process ended."""


class OpenMMFallback:
    """Energies and forces of a System on OpenMM's Reference platform, in kJ/mol and nm.

    `n_workers` processes share a batch; 0 and 1 keep everything in this process, `None` takes one per
    core. They start with the first batch above `SMALL_BATCH` and end with `close` or the program.
    """

    def __init__(self, system: openmm.System, n_workers: int | None = None) -> None:
        self.system_xml = openmm.XmlSerializer.serialize(system)
        self._context = ReferenceContext(system)
        self.n_workers = min(os.cpu_count() or 1, MOST_WORKERS) if n_workers is None else n_workers
        self._pool: WorkerPool | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def evaluate(self, x_nm: np.ndarray, want_force: bool) -> tuple[np.ndarray, np.ndarray]:
        """`x_nm [batch, atom, 3]` float64 to energies [batch] and forces (empty if not wanted)."""
        try:
            if self.n_workers <= 1 or len(x_nm) <= SMALL_BATCH:
                return self._context.evaluate(x_nm, want_force)
            return self._spread(x_nm, want_force)
        except (openmm.OpenMMException, RuntimeError) as problem:
            self.close()
            raise FallbackError(f"OpenMM failed: {problem}") from problem

    def _spread(self, x_nm: np.ndarray, want_force: bool) -> tuple[np.ndarray, np.ndarray]:
        if self._pool is None or self._folder is None:
            atexit.register(self.close)
            self._folder = tempfile.TemporaryDirectory(prefix="openmm-system-")
            self._system_file.write_text(self.system_xml, encoding="utf-8")
            self._pool = WorkerPool("domains.molecules.openmm_reference:evaluate", self.n_workers)
        parts = np.array_split(np.ascontiguousarray(x_nm), self.n_workers)
        answers = self._pool.map([(str(self._system_file), part, want_force) for part in parts])
        energies, forces = zip(*answers, strict=True)
        return np.concatenate(energies), np.concatenate(forces)

    @property
    def _system_file(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "system.xml"

    def close(self) -> None:
        """End the workers; the next large batch starts new ones."""
        atexit.unregister(self.close)
        if self._pool is not None:
            self._pool.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._pool = self._folder = None
