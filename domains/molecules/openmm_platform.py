"""Which OpenMM platform runs one trajectory or one minimisation fastest, on one thread.

For a few dozen atoms the Reference platform has the least overhead, except for forces given as
algebraic expressions, which it interprets and the CPU platform compiles. Measured on alanine
dipeptide, ms of CPU time per step: without solvent 0.02 (Reference) and 0.4 (CPU); with OBC1 as
expressions 2.3 and 0.6. The CPU platform computes in single precision; it is never used for
energies that are compared.
"""

from __future__ import annotations

import openmm

REFERENCE_MOST_ATOMS = 100


def one_thread_context(system: openmm.System, integrator: openmm.Integrator) -> openmm.Context:
    """A context on the platform that suits `system`, reproducible from the integrator's seed."""
    custom = any(type(force).__name__.startswith("Custom") for force in system.getForces())
    if system.getNumParticles() <= REFERENCE_MOST_ATOMS and not custom:
        return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    properties = {"Threads": "1", "DeterministicForces": "true"}
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), properties)
