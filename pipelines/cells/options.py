"""The options of the pipeline: what is read, what is learned, what is validated, what is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pipelines.options import CommonOptions
from workbench.bridge.options import AdversarialConfig, CouplingConfig, UnbalancedConfig
from workbench.errors import InputError

MethodName = Literal[
    "auto", "midpoint", "icfm", "otcfm", "sbcfm", "sf2m", "spline", "alicfm", "unbalanced"
]
CircuitName = Literal[
    "switch", "cycle", "bifurcation", "trifurcation", "knot", "toggle-with-growth"
]
CIRCUITS: tuple[str, ...] = get_args(CircuitName)
Normalise = Literal["auto", "counts", "log", "none"]


@dataclass(frozen=True)
class SimulatorOptions:
    """Cells of a gene circuit with known answers, where `--simulate` names one."""

    cells: int = 500
    """Cells at each time."""
    knock_out: tuple[str, ...] = ()
    """Genes that are not made."""
    times: tuple[float, ...] = ()
    """Times of the snapshots; none = those of the circuit."""


@dataclass(frozen=True)
class NetworkOptions:
    """Reading a gene network from structured velocity networks."""

    read: bool = False
    """Read one; over the genes below, in expression space."""
    genes: tuple[str, ...] = ()
    """Genes of the network; none = the most variable ones."""
    most_genes: int = 30
    """How many of the most variable genes where none are named."""
    seeds: int = 8
    """Fits on half of the cells each; an edge's score is averaged over them."""
    estimates: int = 1
    """Independent networks of so many fits each: two or more give the error of their mean."""
    steps: int = 300
    """Gradient steps of each fit."""
    learning_rate: float = 5e-3
    """Of each fit."""
    hidden: int = 16
    """Hidden units per target gene."""
    penalty: float = 1.0
    """Weight of the group penalty: larger = fewer edges."""
    truth: Path | None = None
    """CSV with columns source and target (or Gene1 and Gene2) of the true edges."""


@dataclass(frozen=True)
class FateOptions:
    """Terminal populations, and the probability of each for every cell."""

    key: str | None = None
    """Column of obs with the populations of the last time; none = clusters of its cells."""
    paths: int = 20
    """Stochastic paths per cell."""
    cells: int = 300
    """Cells per time for which probabilities are estimated."""


@dataclass(frozen=True, kw_only=True)
class Config(CommonOptions):
    """Trajectories of cells from snapshots, validated on held-out times beside unlearned rivals."""

    input: Path | None = None
    """An .h5ad file; none = the embedded myoblasts, or a simulation."""
    time_key: str | None = None
    """Column of obs with the times: numbers or ordered categories."""
    time_unit: str = ""
    """What one unit of the times is called, as in h or days."""
    time_bins: int | None = None
    """Join the times into so many bins of equally many cells, as for a pseudotime."""
    simulate: CircuitName | None = None
    """Simulate this gene circuit in place of reading a file."""
    simulator: SimulatorOptions = field(default_factory=SimulatorOptions)
    use_rep: str | None = None
    """Key of obsm, used as it is: no PCA, no scaling. A latent fitted on all times leaks."""
    layer: str | None = None
    """Layer with expression; none = X."""
    normalise: Normalise = "auto"
    """counts: 10,000 per cell and log(1 + x); log: log(1 + x); none: as it is; auto: by the values."""
    n_genes: int = 2000
    """Variable genes kept for PCA, chosen without the held-out time."""
    n_components: int = 5
    """Principal components, fitted without the held-out time."""
    batch_key: str | None = None
    """Column of obs with the batch or donor: each counts alike within a time."""
    weight_key: str | None = None
    """Column of obs with a weight per cell."""
    method: tuple[MethodName, ...] = ("auto",)
    """Methods to validate; the first makes the trajectories. auto: chosen within the training times."""
    candidates: tuple[MethodName, ...] = ("midpoint", "otcfm", "sf2m", "spline")
    """What auto chooses from."""
    holdout: tuple[str, ...] = ("all",)
    """Times held out in turn: all = every interior one, none, or their names."""
    start: Literal["before", "both"] = "before"
    """Cells that are moved to a held-out time: as published, of the one before; or of both neighbours."""
    shuffle_times: bool = False
    """A control: permute the time labels in validation. No method may win on it."""
    seeds: int = 3
    """Trainings per held-out time."""
    eval_cells: int = 300
    """Most cells on each side of a distance."""
    repeats: int = 10
    """Draws of so many cells per distance."""
    bootstrap: int = 100
    """Resamplings of cells and seeds for the interval of a difference."""
    steps: int = 2000
    """Gradient steps of each training."""
    batch: int = 128
    """Pairs per step and interval."""
    width: int = 64
    """Hidden units per layer."""
    layers: int = 3
    """Hidden layers."""
    learning_rate: float = 2e-3
    """Of AdamW."""
    ema_decay: float = 0.99
    """Decay of the averaged weights that are used after training."""
    sigma: float = 0.05
    """Smoothing of positions, in rms spreads of the data."""
    diffusion: float = 0.25
    """Diffusion of sf2m and sbcfm, in rms spreads per root of the mean interval."""
    coupling: CouplingConfig = field(default_factory=CouplingConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    unbalanced: UnbalancedConfig = field(default_factory=UnbalancedConfig)
    population: tuple[float, ...] = ()
    """Size of the whole population at each time, where it was measured; for unbalanced."""
    growth_key: str | None = None
    """Column of obs with a prior growth rate per time unit, from which population sizes follow."""
    ensemble: int = 3
    """Bridges of the final fit; their spread is the uncertainty that is written."""
    trajectories: int = 200
    """Simulated trajectories that are written."""
    frames: int = 10
    """Points of a trajectory per interval."""
    impute: tuple[float, ...] = ()
    """Times at which cells are imputed; none = the middle of every interval."""
    imputed_cells: int = 200
    """Cells imputed at each of these times."""
    save_couplings: bool = False
    """Write the couplings as sparse obsp."""
    genes: tuple[str, ...] = ()
    """Genes whose trends are drawn; none = those that change most."""
    fates: FateOptions = field(default_factory=FateOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)

    def __post_init__(self) -> None:
        CommonOptions.__post_init__(self)
        self._check_numbers()
        if self.input is not None and self.simulate is not None:
            raise InputError("--input and --simulate are both given: give one of them")
        if not self.method:
            raise InputError("--method names none: give one or more, or auto")
        if "auto" in self.candidates:
            raise InputError("--candidates holds auto, which is chosen from them: leave it out")
        if not self.candidates:
            raise InputError("--candidates names none: give one or more")
        if len(self.holdout) > 1 and {"all", "none"} & set(self.holdout):
            raise InputError(
                f"--holdout is {' '.join(self.holdout)}: give all, none, or times alone"
            )
        if self.population and self.growth_key is not None:
            raise InputError("--population and --growth-key are both given: give one of them")

    def _check_numbers(self) -> None:
        least = {
            "n_genes": 2, "n_components": 1, "seeds": 1, "eval_cells": 5, "repeats": 1,
            "bootstrap": 20, "steps": 1, "batch": 1, "width": 1, "layers": 1, "ensemble": 1, "trajectories": 2,
            "frames": 1, "imputed_cells": 2,
        }  # fmt: skip
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name)}: give {lowest} or more")
        for name in ("sigma", "diffusion", "learning_rate"):
            if getattr(self, name) < 0 or (name != "sigma" and getattr(self, name) == 0):
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name)}: give a positive number")

    @property
    def label(self) -> str:
        if self.simulate is not None:
            return self.simulate
        return self.input.stem if self.input is not None else "hsmm-myoblasts"
