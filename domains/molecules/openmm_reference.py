"""Energies and forces of a System on OpenMM's Reference platform: double precision, one thread."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import openmm
from openmm import unit


class ReferenceContext:
    """One context of a System."""

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


def evaluate(system_file: str, x_nm: np.ndarray, want_force: bool) -> tuple[np.ndarray, np.ndarray]:
    """The same for the System in a file, whose context is kept between calls: what a worker runs."""
    return _context_of(system_file).evaluate(x_nm, want_force)


@lru_cache(maxsize=4)
def _context_of(system_file: str) -> ReferenceContext:
    text = Path(system_file).read_text(encoding="utf-8")
    return ReferenceContext(openmm.XmlSerializer.deserialize(text))
