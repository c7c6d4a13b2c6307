"""An OpenMM System divided into what the compiled kernels evaluate and what OpenMM must.

Each force is read, evaluated from its parameters in double precision and compared with OpenMM's
Reference platform at a few perturbed structures. Only a force that agrees goes to the kernels;
every other force is kept, unchanged, in a second System. Nothing is approximated.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openmm
import torch
from openmm import app

from domains.molecules.force_field_parameters import ForceFieldParameters, merge
from domains.molecules.force_field_torch import TorchForceField
from domains.molecules.openmm_extraction import READERS
from domains.molecules.openmm_generalized_born import describe_born
from domains.molecules.openmm_reference import ReferenceContext
from workbench.errors import InputError

ENERGY_TOLERANCE_KJ_PER_MOL = 1e-4
RELATIVE_TOLERANCE = 1e-9
_N_CHECKS = 3
_NOISE_NM = 0.005
# These move particles or the box during dynamics and have no energy.
_WITHOUT_ENERGY = (openmm.CMMotionRemover, openmm.AndersenThermostat)
_BAROSTATS = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.MonteCarloFlexibleBarostat,
)


@dataclass(frozen=True)
class SystemSplit:
    """`parameters` for the kernels, `fallback` System of the rest (`None`: nothing is left), and
    plain lines that say which force is where."""

    parameters: ForceFieldParameters
    fallback: openmm.System | None
    lines: list[str]


def refuse_unsuitable(system: openmm.System) -> None:
    """Raise `InputError` for a System whose Cartesian density would not be the one that is
    meant."""
    n = system.getNumParticles()
    if n == 0:
        raise InputError("the System has no particles; give one with a molecule in it")
    if system.getNumConstraints():
        raise InputError(
            f"the System has {system.getNumConstraints()} constraints, and a constrained bond has "
            "no energy term; build the System with constraints=None, rigidWater=False"
        )
    for k in range(n):
        if system.isVirtualSite(k):
            raise InputError(
                f"particle {k} is a virtual site, which has no density of its own; choose a model "
                "without virtual sites, such as TIP3P water or implicit solvent"
            )
        if system.getParticleMass(k)._value == 0:
            raise InputError(
                f"particle {k} has mass zero, which OpenMM holds fixed; give it a mass or remove it"
            )
    for force in system.getForces():
        if isinstance(force, _BAROSTATS):
            raise InputError(
                f"the System has a {force.getName()}, which changes a periodic box; remove it and "
                "build the System with nonbondedMethod=NoCutoff"
            )
        if force.usesPeriodicBoundaryConditions():
            raise InputError(
                f"{force.getName()} uses periodic boundary conditions, for which no density in "
                "free space exists; build the System with nonbondedMethod=NoCutoff"
            )


def with_forces(system: openmm.System, forces: Sequence[openmm.Force]) -> openmm.System:
    """The particles of `system` under copies of `forces` alone."""
    part = openmm.System()
    for k in range(system.getNumParticles()):
        part.addParticle(system.getParticleMass(k))
    for force in forces:
        part.addForce(copy.deepcopy(force))
    return part


def check_positions(n_atoms: int, positions_nm: np.ndarray | None) -> np.ndarray:
    """Structures [check, atom, 3] for numerical checks: near the given one, or loosely random."""
    rng = np.random.default_rng(0)
    if positions_nm is None:
        edge = 0.2 * n_atoms ** (1 / 3) + 0.2
        return rng.uniform(0, edge, (_N_CHECKS, n_atoms, 3))
    return positions_nm + _NOISE_NM * rng.standard_normal((_N_CHECKS, n_atoms, 3))


def _agrees(
    system: openmm.System, force: openmm.Force, parameters: ForceFieldParameters, x_nm: np.ndarray
) -> bool:
    theirs, _ = ReferenceContext(with_forces(system, [force])).evaluate(x_nm, want_force=False)
    ours = TorchForceField(parameters).energy(torch.from_numpy(x_nm)).numpy()
    tolerance = ENERGY_TOLERANCE_KJ_PER_MOL + RELATIVE_TOLERANCE * np.abs(theirs)
    return bool(np.all(np.abs(ours - theirs) <= tolerance))


def split_system(
    system: openmm.System,
    positions_nm: np.ndarray | None,
    topology: app.Topology | None = None,
) -> SystemSplit:
    """Divide `system`; `positions_nm [atom, 3]` is where the checks are made, and `topology` serves
    to name the set of solvation radii."""
    n = system.getNumParticles()
    x = check_positions(n, positions_nm)
    parts, left, lines = [ForceFieldParameters(n)], [], []
    for force in system.getForces():
        name = force.getName()
        if isinstance(force, _WITHOUT_ENERGY):
            lines.append(f"{name}: has no energy, ignored")
            continue
        reader = READERS.get(type(force))
        parameters = reader(force, n) if reader else None
        second_born = (
            parameters is not None
            and parameters.born is not None
            and any(part.born is not None for part in parts)
        )
        if parameters is None or second_born or not _agrees(system, force, parameters, x):
            left.append(force)
            lines.append(f"{name}: no own kernel, evaluated by OpenMM in worker processes (exact)")
        else:
            parts.append(parameters)
            lines.append(f"{name}: own compiled kernel, {_size(parameters, topology)}")
    fallback = with_forces(system, left) if left else None
    return SystemSplit(merge(parts), fallback, lines)


def _size(p: ForceFieldParameters, topology: app.Topology | None) -> str:
    if p.born is not None:
        return describe_born(p.born, topology)
    counts = {
        "bonds": len(p.bond_atoms),
        "angles": len(p.angle_atoms),
        "torsions": len(p.torsion_atoms),
        "torsion maps": len(p.map_atoms),
        "interacting pairs": len(p.pair_atoms),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no terms"
