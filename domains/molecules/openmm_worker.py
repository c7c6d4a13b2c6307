"""Energies and forces of a System through one OpenMM context, here or in a worker process.

As a script this file is a worker: it reads requests on standard input and answers on standard
output. It imports OpenMM and NumPy alone, so a worker starts fast and never runs the caller's
program.

    start     int64 length, then that many bytes of System XML
    request   int64 want_force, int64 n, then n * atoms * 3 float64 positions (nm)
    answer    int64 0, then n float64 energies (kJ/mol) and, where asked, the forces (kJ/mol/nm);
              or int64 length and that many bytes of an error message
"""

from __future__ import annotations

import sys
from typing import BinaryIO

import numpy as np
import openmm
from openmm import unit


class ReferenceContext:
    """One context on OpenMM's Reference platform: double precision, one thread."""

    def __init__(self, system: openmm.System) -> None:
        self._integrator = openmm.VerletIntegrator(0.001)
        platform = openmm.Platform.getPlatformByName("Reference")
        self._context = openmm.Context(system, self._integrator, platform)

    def evaluate(self, x_nm: np.ndarray, want_force: bool) -> tuple[np.ndarray, np.ndarray]:
        """`x_nm [batch, atom, 3]` to energies [batch] in kJ/mol and forces in kJ/mol/nm (an empty
        array where they are not wanted)."""
        energy = np.empty(len(x_nm))
        force = np.empty_like(x_nm) if want_force else np.empty((0, 0, 3))
        for k, positions in enumerate(x_nm):
            self._context.setPositions(positions)
            state = self._context.getState(getEnergy=True, getForces=want_force)
            energy[k] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
            if want_force:
                per_nm = unit.kilojoule_per_mole / unit.nanometer
                force[k] = state.getForces(asNumpy=True).value_in_unit(per_nm)
        return energy, force


def _integers(stream: BinaryIO, count: int) -> list[int]:
    data = stream.read(8 * count)
    return [int(v) for v in np.frombuffer(data, dtype="<i8")] if len(data) == 8 * count else []


def _answer(
    context: ReferenceContext, n_atoms: int, source: BinaryIO, want_force: int, n: int
) -> bytes:
    data = source.read(8 * n * n_atoms * 3)
    x = np.frombuffer(data, dtype="<f8").reshape(n, n_atoms, 3)
    energy, force = context.evaluate(x, bool(want_force))
    return np.int64(0).tobytes() + energy.tobytes() + (force.tobytes() if want_force else b"")


def _error(problem: Exception) -> bytes:
    message = str(problem).encode()
    return np.int64(len(message)).tobytes() + message


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until the source closes."""
    (length,) = _integers(source, 1)
    system = openmm.XmlSerializer.deserialize(source.read(length).decode())
    context = ReferenceContext(system)
    while request := _integers(source, 2):
        try:
            answer = _answer(context, system.getNumParticles(), source, *request)
        except Exception as problem:
            answer = _error(problem)
        sink.write(answer)
        sink.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
