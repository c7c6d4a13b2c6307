"""The options of the pipeline: what crystals may be made of, what is preferred, and how it is learned."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pipelines.options import CommonOptions
from workbench.errors import InputError
from workbench.gflownet.options import (
    Exploration,
    GFlowNetConfig,
    NetworkConfig,
    ReplayConfig,
    TemperatureConfig,
)

Target = Literal["formation-energy", "window", "density"]
EnergyName = Literal["chgnet", "ionic"]
EnvironmentName = Literal["wyckoff", "three-stages"]

ANNEALED = 0.6


@dataclass(frozen=True)
class FitOptions:
    """The fast energy that stands for CHGNet while the sampler learns."""

    labels: int = 2400
    """CHGNet evaluations spent on proposals while learning."""
    rounds: int = 8
    """Times that proposals are labelled and the fast energy fitted again."""
    steps: int = 250
    """Gradient steps of each fit."""

    def __post_init__(self) -> None:
        for name in ("labels", "rounds", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"--fit.{name} is {getattr(self, name)}: give 1 or more")
        if self.labels < self.rounds:
            raise InputError(
                f"--fit.labels {self.labels} is below --fit.rounds {self.rounds}: give at least one label "
                "for each round"
            )


@dataclass(frozen=True)
class ShareOptions:
    """Largest share of the crystals that may have one label; 1 = the reward as it is. Where it binds, the
    reward is lowered until it holds, by as much as the report says."""

    anion: float = 1.0
    """Of crystals that one anion leads by number of atoms."""
    group: float = 1.0
    """Of crystals in one space group."""
    formula: float = 1.0
    """Of crystals of one reduced formula."""

    def __post_init__(self) -> None:
        for kind, share in asdict(self).items():
            if not 0.0 < share <= 1.0:
                raise InputError(f"--most.{kind} is {share:g}: give a share above 0, up to 1")

    @property
    def binding(self) -> dict[str, float]:
        """The kinds that are bounded, with their shares."""
        return {kind: share for kind, share in asdict(self).items() if share < 1.0}


@dataclass(frozen=True, kw_only=True)
class Config(CommonOptions):
    """Crystals in proportion to exp(-beta x formation energy per atom), or another stated reward."""

    elements: tuple[str, ...] = ("Na", "Cl", "Mg", "O")
    """Symbols, or the word published for the 22 elements of Crystal-GFN's main run."""
    max_atoms: int = 8
    """Most atoms in the primitive cell."""
    space_groups: tuple[int, ...] = ()
    """Numbers from 1 to 230; none = all."""
    min_elements: int = 2
    """Fewest different elements in a crystal."""
    max_elements: int = 5
    """Most different elements in a crystal."""
    required_elements: tuple[str, ...] = ()
    """Elements that every crystal holds."""
    environment: EnvironmentName = "wyckoff"
    """Crystals with atoms on Wyckoff orbits, or the baseline: Crystal-GFN's three stages without atoms, whose
    reward sees group, composition and lattice alone; atoms are placed at random at the end."""
    target: Target = "formation-energy"
    """What is preferred: low formation energy, one in a window, or density."""
    beta: float = 8.0
    """Strength of the preference: atom/eV, or cm^3/g for density."""
    beta_start: float = 2.0
    """Strength at the first step; rises to beta over the first 0.6 of the training."""
    window: tuple[float, float] = (-1.5, -1.0)
    """Lowest and highest formation energy of the window, eV/atom."""
    most: ShareOptions = field(default_factory=ShareOptions)
    energy: EnergyName = "chgnet"
    """The energy: CHGNet, or point ions with repulsion, which needs no extra package."""
    fit: FitOptions = field(default_factory=FitOptions)
    steps: int = 1500
    """Gradient steps of the sampler."""
    batch: int = 96
    """Fresh crystals in each."""
    learning_rate: float = 2e-3
    """Of the policy; falls by a cosine to a hundredth."""
    exploration: Exploration = field(default_factory=lambda: Exploration(0.01, annealed=0.8))
    replay: ReplayConfig = field(
        default_factory=lambda: ReplayConfig("prioritised", capacity=8000, fraction=0.5)
    )
    seeds: int = 2000
    """Random crystals in the replay buffer before the first step."""
    chains: int = 384
    """Markov chains of crystals under small changes, from which the sampler learns beside its own."""
    sweeps: int = 40
    """Changes of every chain in each round (fit.rounds of them)."""
    imitation: int = 100
    """Steps of largest likelihood on the replay buffer in each round, before the objective goes on."""
    width: int = 256
    """Hidden units of the policy's perceptrons."""
    layers: int = 2
    """Hidden layers of each."""
    bins: int = 32
    """Pieces of the density of every number (volume, shape, coordinates)."""
    n_samples: int = 1000
    """Crystals that the trained sampler draws at the end."""
    relax: int = 20
    """How many of the best distinct crystals are relaxed."""
    novelty: Path | None = None
    """Folder of CIF files that are known; default: the known structure types with the run's elements."""
    baseline: bool = True
    """Run random search and substitution beside it, at as many energy evaluations."""
    playground_steps: int = 400
    """Gradient steps on the small space whose law is known exactly; 0 = leave it out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive = ("steps", "batch", "width", "layers", "bins", "n_samples", "seeds", "max_atoms")
        for name in (*positive, "min_elements", "chains"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name)}: give 1 or more")
        for name in ("relax", "playground_steps", "sweeps", "imitation"):
            if getattr(self, name) < 0:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name)}: give 0 or more")
        for name in ("beta", "beta_start"):
            if not getattr(self, name) > 0.0:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name):g}: give a number above 0")
        if self.max_elements < self.min_elements:
            raise InputError(
                f"--max-elements {self.max_elements} is below --min-elements {self.min_elements}: give "
                "at least as many"
            )
        if self.most.binding and self.environment == "three-stages":
            raise InputError(
                f"--most.{next(iter(self.most.binding))} is for crystals with atoms: take --environment "
                "wyckoff, or leave it out"
            )
        for group in self.space_groups:
            if not 1 <= group <= 230:
                raise InputError(f"space group {group} does not exist: give numbers from 1 to 230")

    @property
    def label(self) -> str:
        return "-".join(self.elements[:6])

    @property
    def sampler(self) -> GFlowNetConfig:
        """What the GFlowNet core is told."""
        return GFlowNetConfig(
            objective="tb",
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            exploration=self.exploration,
            replay=self.replay,
            network=NetworkConfig(self.width, self.layers),
            temperature=TemperatureConfig(
                "annealed", min(self.beta_start / self.beta, 1.0), annealed=ANNEALED
            ),
        )
