"""From options to a problem: the energy, how to look at its samples, where chains start."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from domains import synthetic
from domains.molecules import DoubleWell, LennardJones, OpenMMEnergy
from domains.molecules.basins import Basin, default_basins, parse_basin
from domains.molecules.lennard_jones import icosahedral_cluster
from domains.molecules.named_molecules import NAMED_MOLECULES, named_molecule
from domains.molecules.torsions import named_torsions, radius_of_gyration, torsion
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.reference_file import read_reference
from workbench.diffusion.schedule import GeometricSchedule
from workbench.errors import InputError, nearest
from workbench.mcmc import relax
from workbench.problem import CountedEnergy, Energy
from workbench.samples import MIN_GROUPS
from workbench.threaded import ThreadedEnergy
from workbench.training.devices import set_threads

SYSTEMS = (*synthetic.NAMES, "dw4", "lj13", "lj55", *NAMED_MOLECULES)
MAY_BE_ZERO = ("warmup", "equilibration_ps", "diffusion_scale", "ema_decay")
ICOSAHEDRAL_SHELLS = {13: 1, 55: 2, 147: 3}


@dataclass(frozen=True)
class Molecule:
    """What is special about a molecule: names of atoms and angles, basins, units."""

    topology: Any
    torsions: dict[str, tuple[int, int, int, int]]
    basins: list[Basin]
    temperature_kelvin: float
    kt_kj_per_mol: float
    masses_dalton: Tensor

    @property
    def backbone(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Atoms of phi and psi of the first residue that has both."""
        for name, phi in self.torsions.items():
            psi = self.torsions.get(name.replace("phi", "psi"))
            if name.startswith("phi") and psi:
                return phi, psi
        return None

    def angles(self, x_nm: Tensor) -> Tensor | None:
        """phi and psi [sample, 2] of the first residue that has both, in rad."""
        if self.backbone is None:
            return None
        return torch.stack([torsion(x_nm[:, atoms]) for atoms in self.backbone], dim=-1)

    @staticmethod
    def phi_is_positive(angles: Tensor) -> Tensor:
        """1 where 0 < phi < 2 rad, else 0 [sample], float64; `angles` as `angles` gives them."""
        return ((angles[:, 0] > 0) & (angles[:, 0] < 2)).double()


@dataclass(frozen=True)
class Problem:
    """geometric: the variable [sample] that mixing is judged by beside the energy, and its name;
    reference: the samples of the user's own file, or None."""

    energy: CountedEnergy
    sampler: str
    molecule: Molecule | None
    description: list[str]
    geometric: Callable[[Tensor], Tensor]
    geometric_name: str
    reference: Tensor | None = None

    @property
    def is_synthetic(self) -> bool:
        return len(self.energy.event_shape) == 1

    def generator(
        self, seed: int, stage: str, device: torch.device | None = None
    ) -> torch.Generator:
        """Random numbers of one stage: stages do not depend on each other's length."""
        mixed = seed * 1_000_003 + sum(ord(c) * 131**k for k, c in enumerate(stage))
        return torch.Generator(device or "cpu").manual_seed(mixed % 2**63)


def problem(config: Config) -> Problem:
    """Raises InputError for a system, file or combination of options that cannot be used."""
    set_threads(config.threads)
    for group in ("idem", "flow", "chain", "smc", "md"):
        _check_numbers(getattr(config, group), group)
    energy = _energy(config)
    molecule = _molecule(config, energy) if isinstance(energy, OpenMMEnergy) else None
    sampler = config.sampler
    if sampler == "auto":
        sampler = "pt" if molecule else "idem"
    _check(config, sampler, energy, molecule)
    geometric, name = _geometric(energy, molecule)
    description = list(getattr(energy, "description", [energy.name]))
    shared = ThreadedEnergy(energy, config.threads) if config.threads > 1 else energy
    reference = None
    if config.reference is not None:
        topology = molecule.topology if molecule else None
        reference = read_reference(config.reference, energy, topology)
    counted = CountedEnergy(shared)
    return Problem(counted, sampler, molecule, description, geometric, name, reference)


def starts(config: Config, problem: Problem, n: int, generator: torch.Generator) -> Tensor:
    """`n` relaxed starting points in float64. Where `start` is "both", the second half holds the
    structure (clusters) or phi > 0 (molecules)."""
    energy = problem.energy
    x = energy.initial(n, generator).double()
    if problem.molecule is not None:
        if config.start == "both":
            x = _set_phi(problem.molecule, x, n)
            x = relax.relax(relax.Config(n_steps=300, max_step=0.005), energy, x).x
        return x
    if problem.is_synthetic:
        return x
    n_structured = {"structure": n, "both": n - n // 2}.get(config.start, 0)
    if n_structured:
        shells = ICOSAHEDRAL_SHELLS[energy.event_shape[0]]
        jitter = 0.01 * torch.randn(
            (n_structured, *energy.event_shape), generator=generator, dtype=torch.float64
        )
        x[n - n_structured :] = icosahedral_cluster(shells) + jitter
    return relax.relax(relax.Config(n_steps=200), energy, x).x


def _energy(config: Config) -> Energy:
    if config.prmtop or config.inpcrd:
        if not (config.prmtop and config.inpcrd):
            raise InputError("--prmtop and --inpcrd belong together: give both")
        solvent = None if config.implicit_solvent == "none" else config.implicit_solvent
        return OpenMMEnergy.from_amber(
            config.prmtop, config.inpcrd, config.temperature, solvent, n_workers=config.processes
        )
    if config.system_xml:
        if config.pdb is None:
            raise InputError("--system-xml has no atom names or positions: give --pdb as well")
        return OpenMMEnergy.from_system_xml(
            config.system_xml, config.pdb, config.temperature, n_workers=config.processes
        )
    if config.pdb:
        return OpenMMEnergy.from_pdb(
            config.pdb,
            config.forcefield,
            config.temperature,
            config.add_hydrogens,
            n_workers=config.processes,
        )
    return _named(config)


def _named(config: Config) -> Energy:
    name = config.system
    if name in synthetic.NAMES:
        return synthetic.named(name)
    if name == "dw4":
        return DoubleWell(4)
    cluster = re.fullmatch(r"lj([1-9]\d*)", name)
    if cluster:
        return LennardJones(int(cluster[1]))
    if name in NAMED_MOLECULES:
        return named_molecule(name, config.temperature)
    raise InputError(
        f'unknown system "{name}"{nearest(name, SYSTEMS)}: take one of {", ".join(SYSTEMS)}, ljN '
        "for N particles, or give --pdb, --prmtop or --system-xml"
    )


def _molecule(config: Config, energy: OpenMMEnergy) -> Molecule:
    torsions = named_torsions(energy.topology) if energy.topology is not None else {}
    n_atoms = energy.event_shape[0]
    basins = [parse_basin(text, n_atoms, torsions) for text in config.basin]
    if not basins and energy.topology is not None:
        basins = default_basins(energy.topology)
    return Molecule(
        energy.topology,
        torsions,
        basins,
        energy.temperature_kelvin,
        energy.kt_kj_per_mol,
        torch.as_tensor(energy.masses_dalton, dtype=torch.float64),
    )


def _check(config: Config, sampler: str, energy: Energy, molecule: Molecule | None) -> None:
    if sampler == "idem":
        GeometricSchedule(config.idem.sigma_min, config.idem.sigma_max)
    if sampler == "smc" and config.smc.batches < MIN_GROUPS:
        raise InputError(
            f"--smc.batches is {config.smc.batches}: give at least {MIN_GROUPS}, for the error "
            "of log Z is read from their spread"
        )
    if config.basin and molecule is None:
        raise InputError(f"--basin needs a molecule, and {energy.name} is none: leave it out")
    if sampler == "md" and molecule is None:
        raise InputError(f"--sampler md needs a molecule: take hmc or pt for {energy.name}")
    icosahedral = isinstance(energy, LennardJones) and energy.event_shape[0] in ICOSAHEDRAL_SHELLS
    if config.start in ("structure", "both") and molecule is None and not icosahedral:
        raise InputError(
            f"--start {config.start} needs a molecule, lj13, lj55 or lj147: "
            f"take random for {energy.name}"
        )
    if config.start == "random" and molecule is not None:
        raise InputError("--start random does not make molecules: take structure or both")
    if config.start == "both" and molecule is not None and molecule.backbone is None:
        raise InputError("--start both needs a molecule with phi and psi torsions: take structure")


def _check_numbers(options: Any, path: str) -> None:
    """Sizes, lengths and rates are above zero; zero is for `MAY_BE_ZERO` and for what is off by
    default."""
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            _check_numbers(value, f"{path}.{field.name}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        flag = f"--{path}.{field.name}".replace("_", "-")
        zero_is_meant = field.name in MAY_BE_ZERO or field.default == 0
        if not (value >= 0 if zero_is_meant else value > 0):
            least = "zero or more" if zero_is_meant else "more than zero"
            raise InputError(f"{flag} is {value}: give {least}")


def _geometric(energy: Energy, molecule: Molecule | None) -> tuple[Callable, str]:
    if molecule is not None and molecule.backbone is not None:
        phi = molecule.backbone[0]
        return lambda x: torsion(x[:, phi]).sin(), "sine of phi"
    if len(energy.event_shape) == 2:
        return radius_of_gyration, "radius of gyration"
    return lambda x: x[:, 0], "first coordinate"


def _set_phi(molecule: Molecule, x: Tensor, n: int) -> Tensor:
    """The first half of the rows turned to phi = -1.4 rad, the second half to phi = 1 rad."""
    assert molecule.backbone is not None
    atoms = molecule.backbone[0]
    target = torch.full((n,), -1.4, dtype=x.dtype)
    target[n // 2 :] = 1.0
    turn = target - torsion(x[:, atoms])
    moved = _beyond(molecule.topology, atoms[1], atoms[2])
    origin = x[:, atoms[2]]
    axis = torch.nn.functional.normalize(origin - x[:, atoms[1]], dim=-1)[:, None]
    arm = x[:, moved] - origin[:, None]
    cosine, sine = turn.cos()[:, None, None], turn.sin()[:, None, None]
    along = (arm * axis).sum(-1, keepdim=True) * axis
    across = torch.linalg.cross(axis.expand_as(arm), arm)
    x = x.clone()
    x[:, moved] = origin[:, None] + along + cosine * (arm - along) + sine * across
    return x


def _beyond(topology: Any, near: int, far: int) -> list[int]:
    """Atoms on `far`'s side of the bond near-far."""
    neighbours: dict[int, set[int]] = {}
    for bond in topology.bonds():
        neighbours.setdefault(bond[0].index, set()).add(bond[1].index)
        neighbours.setdefault(bond[1].index, set()).add(bond[0].index)
    side, frontier = {far}, [far]
    while frontier:
        for other in neighbours[frontier.pop()] - side:
            if other != near:
                side.add(other)
                frontier.append(other)
    return sorted(side)
