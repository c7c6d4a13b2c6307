"""Molecular dynamics as a sampler: OpenMM's Langevin middle integrator on a System.

    m dv = -grad E dt - gamma m v dt + sqrt(2 gamma m kT) dW

Zhang, Liu, Yan, Tuckerman, Liu, "Unified efficient thermostat scheme for the canonical ensemble", 2019.
The chain has the Boltzmann distribution only in the limit of a small time step: at a finite step
the distribution is biased, and nothing here corrects it (unlike MALA or HMC, there is no acceptance
test). Configurational averages of this integrator err by O(step^2); 0.5 to 1 fs is customary for
molecules whose bonds to hydrogen are free, as they must be here.

One trajectory on one thread, on the platform that `openmm_platform` picks. A run goes in blocks:
`step` takes a state of plain arrays and returns the next one, so a run can be stored between blocks
and resumed. Each block draws its noise from its own seed, so a resumed run equals an uninterrupted
one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
import torch
from jaxtyping import Float
from numpy import ndarray
from openmm import unit

from domains.molecules.openmm_energy import GAS_CONSTANT_KJ_PER_MOL_KELVIN, OpenMMEnergy
from domains.molecules.openmm_platform import one_thread_context
from workbench.errors import InputError


@dataclass(frozen=True)
class LangevinConfig:
    """time_step_fs, friction_per_ps: of the integrator
    save_interval: steps between saved structures
    n_steps: steps of one block (one call of `step`); a multiple of `save_interval`
    n_equilibration: steps before the first block, not saved
    """

    time_step_fs: float = 1.0
    friction_per_ps: float = 1.0
    save_interval: int = 500
    n_steps: int = 50_000
    n_equilibration: int = 10_000

    def __post_init__(self) -> None:
        for name in ("time_step_fs", "friction_per_ps", "save_interval", "n_steps"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        if self.n_equilibration < 0:
            raise InputError(f"n_equilibration must not be negative, it is {self.n_equilibration}")
        if self.n_steps % self.save_interval:
            raise InputError(
                f"n_steps {self.n_steps} is not a multiple of save_interval {self.save_interval}; "
                "choose it so"
            )


@dataclass(frozen=True)
class LangevinState:
    """What resumes a run: positions [atom, 3] in nm, velocities [atom, 3] in nm/ps, the seed of the
    next block, and the number of force evaluations so far."""

    positions_nm: Float[ndarray, "atom 3"]
    velocities_nm_per_ps: Float[ndarray, "atom 3"]
    seed: int
    n_force_evaluations: int


@dataclass(frozen=True)
class LangevinBlock:
    """Saved structures [frame, atom, 3] in nm, their reduced potential energies [frame] (kT), and
    the kinetic temperature [frame] in kelvin."""

    positions_nm: Float[ndarray, "frame atom 3"]
    energies: Float[ndarray, "frame"]
    temperatures_kelvin: Float[ndarray, "frame"]


class LangevinDynamics:
    """`init` then `step`: blocks of Langevin dynamics of one molecule at its temperature."""

    def __init__(self, energy: OpenMMEnergy, config: LangevinConfig) -> None:
        self.config = config
        self.kt_kj_per_mol = energy.kt_kj_per_mol
        self.n_atoms = energy.event_shape[0]
        self._start = energy
        self._integrator = openmm.LangevinMiddleIntegrator(
            energy.temperature_kelvin * unit.kelvin,
            config.friction_per_ps / unit.picosecond,
            config.time_step_fs * unit.femtosecond,
        )
        self._system = openmm.XmlSerializer.deserialize(energy.system_xml)
        self._context: openmm.Context | None = None

    def init(
        self, generator: torch.Generator, positions_nm: ndarray | None = None
    ) -> LangevinState:
        """Equilibrate from `positions_nm` (the relaxed start structure if not given)."""
        start = self._start.relaxed_positions_nm if positions_nm is None else positions_nm
        seed = int(torch.randint(1, 2**31 - 1, (), generator=generator))
        kt_over_mass = self.kt_kj_per_mol / self._start.masses_dalton
        draws = torch.randn((self.n_atoms, 3), generator=generator, dtype=torch.float64).numpy()
        velocities = np.sqrt(kt_over_mass)[:, None] * draws
        state = LangevinState(np.asarray(start, dtype=np.float64), velocities, seed, 0)
        if self.config.n_equilibration == 0:
            return state
        state, _ = self._run(state, self.config.n_equilibration, self.config.n_equilibration)
        return state

    def step(self, state: LangevinState) -> tuple[LangevinState, LangevinBlock]:
        """One block of `n_steps` steps."""
        return self._run(state, self.config.n_steps, self.config.save_interval)

    def _run(
        self, state: LangevinState, n_steps: int, save_interval: int
    ) -> tuple[LangevinState, LangevinBlock]:
        context = self._context_at(state)
        degrees = 3 * self.n_atoms
        frames, energies, temperatures = [], [], []
        for _ in range(n_steps // save_interval):
            self._advance(save_interval)
            now = context.getState(getPositions=True, getEnergy=True, getVelocities=True)
            frames.append(now.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
            energies.append(now.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
            kinetic = now.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
            temperatures.append(2 * kinetic / (degrees * GAS_CONSTANT_KJ_PER_MOL_KELVIN))
        if not np.isfinite(energies).all():
            raise InputError(
                f"the energy is no longer finite with a time step of {self.config.time_step_fs} fs; "
                "use a smaller one"
            )
        velocities = now.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
        following = LangevinState(
            positions_nm=np.array(frames[-1]),
            velocities_nm_per_ps=np.array(velocities),
            seed=state.seed % (2**31 - 2) + 1,
            n_force_evaluations=state.n_force_evaluations + n_steps,
        )
        block = LangevinBlock(
            positions_nm=np.array(frames),
            energies=np.array(energies) / self.kt_kj_per_mol,
            temperatures_kelvin=np.array(temperatures),
        )
        return following, block

    def _advance(self, n_steps: int) -> None:
        try:
            self._integrator.step(n_steps)
        except openmm.OpenMMException as problem:
            raise InputError(
                f"the dynamics failed with a time step of {self.config.time_step_fs} fs "
                f"({problem}); use a smaller one"
            ) from problem

    def _context_at(self, state: LangevinState) -> openmm.Context:
        """The context at `state`, its noise begun anew from the state's seed."""
        self._integrator.setRandomNumberSeed(state.seed)
        if self._context is None:
            self._context = one_thread_context(self._system, self._integrator)
        else:
            self._context.reinitialize()
        self._context.setPositions(state.positions_nm)
        self._context.setVelocities(state.velocities_nm_per_ps)
        return self._context
