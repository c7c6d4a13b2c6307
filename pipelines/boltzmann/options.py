"""The options of the pipeline: what to sample, with what, how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipelines.options import CommonOptions
from workbench.diffusion.options import FlowConfig, IdemConfig
from workbench.errors import InputError

SamplerName = Literal["auto", "idem", "pt", "hmc", "mala", "smc", "md"]
Start = Literal["default", "random", "structure", "both"]


@dataclass(frozen=True)
class ChainOptions:
    """Markov chains: MALA, HMC and parallel tempering."""

    chains: int = 64
    """Independent chains, or ladders of parallel tempering; their spread is the error."""
    kept: int = 500
    """Samples kept of each chain at the target."""
    thin: int = 5
    """Steps from one kept sample to the next."""
    warmup: int = 500
    """Steps before the first kept sample; step sizes and ladder adapt in these alone."""
    leapfrog: int = 10
    """Leapfrog steps of a Hamiltonian move (MALA has one)."""
    rungs: int = 4
    """Temperatures of parallel tempering, the target included."""
    hottest: float = 4.0
    """Hottest temperature of the ladder, in units of the target's."""
    mbar: bool = False
    """Keep the samples of every temperature and weigh them for the target by MBAR."""
    rung_move: Literal["hmc", "mala"] = "hmc"
    """The move within a rung of parallel tempering."""


@dataclass(frozen=True)
class SmcOptions:
    """Annealed sequential Monte Carlo."""

    batches: int = 16
    """Independent populations; their spread is the error."""
    particles: int = 512
    """Particles of each population."""
    moves: int = 5
    """Hamiltonian moves at each temperature."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian that the path starts from, in the length unit."""


@dataclass(frozen=True)
class MdOptions:
    """OpenMM Langevin molecular dynamics (molecules only)."""

    time_step_fs: float = 1.0
    """Integration step; its error is not corrected."""
    friction_per_ps: float = 1.0
    """Collision rate of the thermostat."""
    chains: int = 4
    """Independent trajectories."""
    equilibration_ps: float = 10.0
    """Time before the first saved frame."""
    save_every_ps: float = 0.5
    """Time between saved frames."""


@dataclass(frozen=True, kw_only=True)
class Config(CommonOptions):
    """Samples of a Boltzmann density, with weights, free energies and error bars."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where iDEM trains and samples; auto takes CUDA where there is one. Markov chains run in
    compiled kernels on the CPU."""
    system: str = "alanine-dipeptide"
    """gmm40 gmm25 funnel-easy funnel-hard many-well-32 dw4 lj13 lj55 ljN alanine-dipeptide
    alanine-dipeptide-vacuum alanine-dipeptide-ff99sbildn-obc alanine-dipeptide-amber14-obc1; not
    looked at where a file is given below."""
    pdb: Path | None = None
    """Structure of a molecule; with --forcefield, or with --system-xml."""
    forcefield: tuple[str, ...] = ("amber14-all.xml", "implicit/obc1.xml")
    """OpenMM force-field files for --pdb."""
    add_hydrogens: bool = False
    """Add the hydrogens that the structure lacks."""
    prmtop: Path | None = None
    """AMBER topology; with --inpcrd."""
    inpcrd: Path | None = None
    """AMBER coordinates."""
    implicit_solvent: Literal["none", "OBC1", "OBC2"] = "none"
    """Generalised-Born model for --prmtop."""
    system_xml: Path | None = None
    """A serialised OpenMM System; with --pdb for names and positions."""
    temperature: float = 300.0
    """Temperature of a molecule, kelvin. Other systems are in units of kT."""

    sampler: SamplerName = "auto"
    """auto: idem for synthetic densities and clusters, pt for molecules."""
    n_samples: int = 2000
    """Samples that a learned sampler draws at the end, raw and again with weights; chains keep
    chain.chains x chain.kept."""
    start: Start = "default"
    """Where chains start. structure: the icosahedron of lj13 and lj55, the given structure of a
    molecule; random: relaxed random clusters; both: half the chains each (for a molecule with a phi
    torsion, half in phi < 0 and half in phi > 0), compared in the report."""
    basin: tuple[str, ...] = ()
    """Basins of a molecule, NAME=coordinate:low:high[,coordinate:low:high...] in rad and nm, with
    phi, psi, ..., torsion(i,j,k,l) or distance(i,j), atoms from 0."""
    reference: Path | None = None
    """Reference samples to compare with: .npy or .npz (key x), or a trajectory of the molecule."""
    trajectory_format: Literal["dcd", "xtc"] = "dcd"
    """Trajectory of a molecule: dcd keeps single precision, xtc rounds to 0.001 nm."""
    polish_steps: int = 0
    """HMC steps applied to the samples afterwards, reported apart as a curve beside the same from
    relaxed random starts; 0 = none."""
    baseline: bool = True
    """Run parallel tempering beside a learned sampler, at no more evaluations than it took."""

    idem: IdemConfig = field(default_factory=IdemConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    chain: ChainOptions = field(default_factory=ChainOptions)
    smc: SmcOptions = field(default_factory=SmcOptions)
    md: MdOptions = field(default_factory=MdOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise InputError(f"--temperature is {self.temperature:g}: give kelvin above zero")
        for name in ("n_samples", "polish_steps"):
            if getattr(self, name) < (name == "n_samples"):
                raise InputError(f"--{name.replace('_', '-')} is {getattr(self, name)}: too small")

    @property
    def from_file(self) -> Path | None:
        """The file the energy comes from, or None for a named system."""
        return self.prmtop or self.system_xml or self.pdb

    @property
    def label(self) -> str:
        return self.from_file.stem if self.from_file else self.system
