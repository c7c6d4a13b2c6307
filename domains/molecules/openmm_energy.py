"""Any OpenMM System as a batched `Energy`: u(x) = E(x) / kT with positions in nm.

Bonds, angles, torsions, CMAP, non-bonded pairs without cut-off and OBC solvation run in compiled
kernels, a block of configurations at a time; every other force is evaluated by OpenMM itself,
exact, in worker processes (`openmm_split`, `openmm_fallback`). Tensors that are not on the CPU take
the torch path. The density is that of the Cartesian positions; masses do not enter.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from jaxtyping import Float
from openmm import app, unit
from torch import Tensor

from domains.molecules import openmm_files
from domains.molecules._force_field_batch_kernels import evaluate
from domains.molecules.force_field_parameters import Tables, tables
from domains.molecules.force_field_torch import TorchForceField
from domains.molecules.openmm_fallback import OpenMMFallback
from domains.molecules.openmm_platform import one_thread_context
from domains.molecules.openmm_split import check_positions, refuse_unsuitable, split_system
from workbench.errors import InputError
from workbench.problem import KnownAnswers, centred

GAS_CONSTANT_KJ_PER_MOL_KELVIN = 0.00831446261815324
# Spread of `initial` around the relaxed structure: a bond of 3e5 kJ/mol/nm^2 gains about 1 kJ/mol.
START_NOISE_NM = 0.002
_SHIFT_NM = np.array([1.3, -0.7, 0.4])
_NUMPY: dict[torch.dtype, type[np.floating[Any]]] = {
    torch.float32: np.float32,
    torch.float64: np.float64,
}


class OpenMMEnergy:
    """`Energy` of an OpenMM System at a temperature; build one with a `from_...` method.

    system_xml, system_sha256   the System as OpenMM serialises it, and its checksum
    temperature_kelvin, kt_kj_per_mol, masses_dalton [atom], topology, positions_nm [atom, 3] or
    None description                 plain lines for a report: each force, and who evaluates it
    parameters                  the terms that have a kernel
    Raises `InputError` for a temperature that is not positive, positions that are not finite, and a
    System with constraints, virtual sites, a barostat or periodic boundaries.
    """

    length_unit = "nm"

    def __init__(
        self,
        system: openmm.System,
        temperature_kelvin: float,
        *,
        topology: app.Topology | None = None,
        positions_nm: np.ndarray | None = None,
        name: str = "system",
        n_workers: int | None = None,
    ) -> None:
        if not (np.isfinite(temperature_kelvin) and temperature_kelvin > 0):
            raise InputError(f"the temperature must be above 0 K, not {temperature_kelvin}")
        refuse_unsuitable(system)
        n = system.getNumParticles()
        self.name = name
        self.event_shape = (n, 3)
        self.topology = _checked_topology(topology, n)
        self.positions_nm = _checked_positions(positions_nm, n)
        self.temperature_kelvin = float(temperature_kelvin)
        self.kt_kj_per_mol = GAS_CONSTANT_KJ_PER_MOL_KELVIN * self.temperature_kelvin
        self.masses_dalton = np.array(
            [system.getParticleMass(k).value_in_unit(unit.dalton) for k in range(n)]
        )
        self.system_xml = openmm.XmlSerializer.serialize(system)
        self.system_sha256 = hashlib.sha256(self.system_xml.encode()).hexdigest()
        self.known = KnownAnswers()
        split = split_system(system, self.positions_nm, topology)
        self.parameters = split.parameters
        self._torch = TorchForceField(split.parameters)
        self._fallback = OpenMMFallback(split.fallback, n_workers) if split.fallback else None
        self._tables: dict[torch.dtype, Tables] = {}
        self.mean_free = self._is_invariant_to_translation()
        self.degrees_of_freedom = 3 * (n - 1) if self.mean_free else 3 * n
        self.description = [f"OpenMM System of {n} atoms at {self.temperature_kelvin:g} K"]
        self.description += split.lines
        self.description.append(f"System XML sha256 {self.system_sha256}")

    @classmethod
    def from_system(
        cls,
        system: openmm.System,
        temperature_kelvin: float,
        topology: app.Topology | None = None,
        positions_nm: np.ndarray | None = None,
        name: str = "system",
        n_workers: int | None = None,
    ) -> OpenMMEnergy:
        """A System made elsewhere; it is not changed."""
        return cls(
            system,
            temperature_kelvin,
            topology=topology,
            positions_nm=positions_nm,
            name=name,
            n_workers=n_workers,
        )

    @classmethod
    def from_pdb(
        cls,
        path: str | Path,
        forcefield: list[str] | tuple[str, ...] = openmm_files.DEFAULT_FORCE_FIELD,
        temperature_kelvin: float = 300.0,
        add_hydrogens: bool = False,
        ph: float = 7.0,
        name: str | None = None,
        n_workers: int | None = None,
    ) -> OpenMMEnergy:
        """A PDB or mmCIF file under OpenMM force-field XML files, without constraints or
        cut-off."""
        molecule = openmm_files.load_pdb(path, forcefield, add_hydrogens=add_hydrogens, ph=ph)
        return cls._from_molecule(molecule, temperature_kelvin, name or Path(path).stem, n_workers)

    @classmethod
    def from_amber(
        cls,
        prmtop: str | Path,
        inpcrd: str | Path,
        temperature_kelvin: float = 300.0,
        implicit_solvent: str | None = None,
        name: str | None = None,
        n_workers: int | None = None,
    ) -> OpenMMEnergy:
        """An Amber topology and coordinates; `implicit_solvent` is "OBC1", "OBC2" or `None`."""
        molecule = openmm_files.load_amber(prmtop, inpcrd, implicit_solvent)
        return cls._from_molecule(
            molecule, temperature_kelvin, name or Path(prmtop).stem, n_workers
        )

    @classmethod
    def from_system_xml(
        cls,
        system_xml: str | Path,
        pdb: str | Path,
        temperature_kelvin: float = 300.0,
        name: str | None = None,
        n_workers: int | None = None,
    ) -> OpenMMEnergy:
        """A file with a serialised System; `pdb` gives topology and start positions."""
        molecule = openmm_files.load_system_xml(system_xml, pdb)
        return cls._from_molecule(
            molecule, temperature_kelvin, name or Path(system_xml).stem, n_workers
        )

    @classmethod
    def _from_molecule(
        cls,
        molecule: openmm_files.Molecule,
        temperature_kelvin: float,
        name: str,
        n_workers: int | None,
    ) -> OpenMMEnergy:
        energy = cls(
            molecule.system,
            temperature_kelvin,
            topology=molecule.topology,
            positions_nm=molecule.positions_nm,
            name=name,
            n_workers=n_workers,
        )
        energy.description[1:1] = molecule.lines
        return energy

    def energy(self, x: Float[Tensor, "batch particle 3"]) -> Float[Tensor, "batch"]:
        """Reduced energies E / kT of positions in nm."""
        return self._reduced(x, with_force=False)[0]

    def energy_and_force(
        self, x: Float[Tensor, "batch particle 3"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch particle 3"]]:
        """Reduced energies and forces -grad u in 1/nm."""
        return self._reduced(x, with_force=True)

    def _reduced(self, x: Tensor, with_force: bool) -> tuple[Tensor, Tensor]:
        if x.dim() != 3 or x.shape[1:] != self.event_shape:
            raise InputError(
                f"positions of shape {tuple(x.shape)} do not fit {self.name}; give "
                f"[batch, {self.event_shape[0]}, 3]"
            )
        if x.dtype not in _NUMPY:
            raise InputError(
                f"positions of dtype {x.dtype} are not supported; give float32 or float64"
            )
        run = self._compiled if x.device.type == "cpu" else self._by_torch
        energy, force = run(x.detach(), with_force)
        if self._fallback is not None:
            self._add_fallback(self._fallback, x.detach(), energy, force, with_force)
        return energy, force

    def _by_torch(self, x: Tensor, with_force: bool) -> tuple[Tensor, Tensor]:
        if with_force:
            energy, force = self._torch.energy_and_force(x)
            return energy / self.kt_kj_per_mol, force / self.kt_kj_per_mol
        with torch.no_grad():
            return self._torch.energy(x) / self.kt_kj_per_mol, torch.empty_like(x[:0])

    def _compiled(self, x: Tensor, with_force: bool) -> tuple[Tensor, Tensor]:
        x = x.contiguous()
        energy, force = x.new_empty(len(x)), torch.empty_like(x if with_force else x[:0])
        if x.dtype not in self._tables:
            self._tables[x.dtype] = tables(self.parameters, _NUMPY[x.dtype])
        columns = (x.numpy(), energy.numpy(), force.numpy())
        evaluate(*columns, with_force, 1 / self.kt_kj_per_mol, self._tables[x.dtype])
        return energy, force

    def _add_fallback(
        self, fallback: OpenMMFallback, x: Tensor, energy: Tensor, force: Tensor, with_force: bool
    ) -> None:
        positions = x.to(device="cpu", dtype=torch.float64).numpy()
        more, push = fallback.evaluate(positions, with_force)
        energy += torch.from_numpy(more / self.kt_kj_per_mol).to(energy)
        if with_force:
            force += torch.from_numpy(push / self.kt_kj_per_mol).to(force)

    def _is_invariant_to_translation(self) -> bool:
        """Every term with a kernel is; the forces left to OpenMM are asked."""
        if self._fallback is None:
            return True
        x = check_positions(self.event_shape[0], self.positions_nm)
        here, _ = self._fallback.evaluate(x, want_force=False)
        there, _ = self._fallback.evaluate(x + _SHIFT_NM, want_force=False)
        return bool(np.allclose(here, there, rtol=1e-8, atol=1e-6))

    @cached_property
    def relaxed_positions_nm(self) -> Float[np.ndarray, "atom 3"]:
        """The start structure after OpenMM's local energy minimisation (L-BFGS, to 10
        kJ/mol/nm)."""
        if self.positions_nm is None:
            raise InputError(
                f"{self.name} has no start structure; give positions_nm when it is built"
            )
        system = openmm.XmlSerializer.deserialize(self.system_xml)
        integrator = openmm.VerletIntegrator(0.001)
        context = one_thread_context(system, integrator)
        context.setPositions(self.positions_nm)
        openmm.LocalEnergyMinimizer.minimize(context)
        positions = context.getState(getPositions=True).getPositions(asNumpy=True)
        return np.array(positions.value_in_unit(unit.nanometer))

    def initial(self, n: int, generator: torch.Generator) -> Float[Tensor, "n particle 3"]:
        """`n` copies of the relaxed start structure with a little Gaussian noise
        (`START_NOISE_NM`): all in one basin, since nothing else is known of the molecule. float32,
        nm."""
        start = torch.from_numpy(self.relaxed_positions_nm).to(torch.float32)
        noise = torch.randn((n, *self.event_shape), generator=generator)
        x = start + START_NOISE_NM * noise
        return centred(x) if self.mean_free else x

    def close(self) -> None:
        """End worker processes, if any; they also end with the program."""
        if self._fallback is not None:
            self._fallback.close()


def _checked_topology(topology: app.Topology | None, n_atoms: int) -> app.Topology | None:
    if topology is not None and topology.getNumAtoms() != n_atoms:
        raise InputError(
            f"the topology has {topology.getNumAtoms()} atoms and the System {n_atoms}; "
            "give the two that belong together"
        )
    return topology


def _checked_positions(positions_nm: np.ndarray | None, n_atoms: int) -> np.ndarray | None:
    if positions_nm is None:
        return None
    positions = np.array(positions_nm, dtype=np.float64)
    if positions.shape != (n_atoms, 3):
        raise InputError(
            f"the positions have shape {positions.shape} and the System {n_atoms} atoms; "
            "give the two that belong together"
        )
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions))[0, 0])
        raise InputError(f"the coordinates of atom {atom} are not finite; repair the structure")
    return positions
