"""Options of the bridges between snapshots, free of heavy imports so that a command line lists them fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from workbench.errors import InputError

Method = Literal["icfm", "otcfm", "sbcfm", "sf2m", "spline", "alicfm", "unbalanced"]
CouplingMethod = Literal["auto", "exact", "entropic", "independent"]
ScoreScaling = Literal["plain", "drift"]
AdversarialLoss = Literal["vanilla", "rpgan", "r3gan"]
Regulariser = Literal["linear", "piecewise", "curvature"]
MassSource = Literal["balanced", "given", "counts"]

COUNTS_LABEL = (
    "growth from cell counts alone: not identifiable, the counts may be a sampling artefact"
)


@dataclass(frozen=True)
class CouplingConfig:
    """How the cells of two neighbouring snapshots are paired.

    method          "exact" optimal transport, "entropic", "independent"; "auto": independent for
                    icfm, entropic for sf2m and sbcfm, else exact
    epsilon         entropic regularisation for the cost |x - y|^2, in squared frame lengths; None =
                    2 sigma^2 dt, that of the Schrödinger bridge
    exact_limit     cells per side beyond which an exact plan is solved in random blocks
    block           cells per side of such a block
    tolerance       L1 error of the marginals at which the entropic iteration stops
    max_iterations  of the entropic iteration; not converged by then is an error
    pairs_per_cell  pairs drawn per source cell from an entropic plan too large to be listed
    """

    method: CouplingMethod = "auto"
    epsilon: float | None = None
    exact_limit: int = 4000
    block: int = 2000
    tolerance: float = 1e-3
    max_iterations: int = 2000
    pairs_per_cell: int = 16


@dataclass(frozen=True)
class AdversarialConfig:
    """The adversarially learned interpolant of alicfm.

    loss            "vanilla" (non-saturating), "rpgan" (relativistic pairing), "r3gan" (rpgan with
                    zero-centred gradient penalties on both sides)
    penalty         weight of those gradient penalties
    regulariser     reference the interpolant is held to: "linear", "piecewise" (the chained optimal
                    transport line) or "curvature" (integral of the squared second derivative)
    weight          of the regulariser
    pretrain_steps  regression on chained pairs before the game
    steps           of the game
    learning_rate   of both players
    width, batch    hidden units; rows per step
    jitter          noise on t in training, as a share of the whole time span
    """

    loss: AdversarialLoss = "rpgan"
    penalty: float = 0.5
    regulariser: Regulariser = "piecewise"
    weight: float = 1.0
    pretrain_steps: int = 1000
    steps: int = 5000
    learning_rate: float = 1e-4
    width: int = 64
    batch: int = 256
    jitter: float = 0.01


@dataclass(frozen=True)
class UnbalancedConfig:
    """Wasserstein-Fisher-Rao matching.

    length         delta in frame lengths: mass is carried over distances below pi delta and fades
                   beyond; None = far enough for all but the remotest pairs
    growth_weight  of the growth error against the velocity error
    mass_source    "balanced": every snapshot has mass one, growth is relative; "given": the total
                   masses come with the data; "counts": masses in proportion to cell counts, which is
                   labelled as not identifiable
    """

    length: float | None = None
    growth_weight: float = 1.0
    mass_source: MassSource = "balanced"

    def label(self) -> str | None:
        """The warning that results must carry, if any."""
        return COUNTS_LABEL if self.mass_source == "counts" else None


@dataclass(frozen=True)
class BridgeConfig:
    """method         see `workbench.bridge.training`
    sigma          relative diffusion: standard deviation in frame lengths after one mean interval.
                   sf2m, sbcfm: of the Brownian bridge; others: constant smoothing of positions
    score_scaling  what the score network of sf2m puts out: "plain" the score, "drift" sigma^2 / 2
                   times it
    width, layers  hidden units per layer and hidden layers of each network
    steps, batch   gradient steps; pairs per step and interval
    learning_rate, weight_decay, gradient_norm, ema_decay   of the optimiser
    """

    method: Method = "otcfm"
    sigma: float = 0.1
    score_scaling: ScoreScaling = "drift"
    width: int = 64
    layers: int = 3
    steps: int = 2000
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    gradient_norm: float = 10.0
    ema_decay: float = 0.999
    coupling: CouplingConfig = field(default_factory=CouplingConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    unbalanced: UnbalancedConfig = field(default_factory=UnbalancedConfig)

    def __post_init__(self) -> None:
        if self.method in ("sf2m", "sbcfm") and self.sigma <= 0:
            raise InputError(
                f"sigma is {self.sigma} and {self.method} needs noise: give a positive one"
            )
        if self.sigma < 0:
            raise InputError(f"sigma is {self.sigma}: give zero or a positive number")
        if min(self.steps, self.batch, self.width, self.layers) < 1:
            raise InputError("steps, batch, width and layers must each be 1 or more")


@dataclass(frozen=True)
class DataToEnergyConfig:
    """The Schrödinger bridge from samples to a density given by its energy.

    sigma            diffusion of the reference sigma dW over [0, 1], in units of the samples; both
                     ends should be of order one in these units
    n_steps          time steps of the discrete chains
    sweeps           of iterative proportional fitting, each `backward_steps` and then
                     `forward_steps` gradient steps
    starts, paths    starting points per step, and trajectories that share each of them
    off_policy       share of steps whose groups hold a trajectory drawn backward from the buffer
    buffer_size      ends kept for those: half are chains of MALA, half the last ends of paths; all begin with
                     `langevin_warmup` moves, and `langevin_steps` are made on each batch taken
    learn_variance   the kernels' variances are learned too: chains of few steps need it
    """

    sigma: float = 1.0
    n_steps: int = 20
    sweeps: int = 8
    backward_steps: int = 150
    forward_steps: int = 250
    starts: int = 64
    paths: int = 4
    off_policy: float = 0.5
    buffer_size: int = 4096
    langevin_warmup: int = 200
    langevin_steps: int = 5
    langevin_step_size: float = 0.2
    learn_variance: bool = True
    width: int = 64
    layers: int = 3
    learning_rate: float = 2e-3
    gradient_norm: float = 10.0
    ema_decay: float = 0.99

    def __post_init__(self) -> None:
        if self.sigma <= 0 or self.n_steps < 2 or self.paths < 2:
            raise InputError(
                "a bridge to an energy needs sigma above 0, 2 or more time steps and 2 or more paths"
            )
