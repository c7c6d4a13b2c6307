"""Options of the GFlowNet core, free of heavy imports so that a command line lists them fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from workbench.errors import InputError

Objective = Literal[
    "tb",
    "log-variance",
    "db",
    "modified-db",
    "subtb",
    "fl-db",
    "fl-subtb",
    "led",
    "flow-matching",
    "path-consistency",
    "soft-q",
    "mellowmax",
    "forward-kl",
    "reverse-kl",
]
Backward = Literal["learned", "uniform", "likelihood"]
Baseline = Literal["none", "mean", "log-partition"]
ReplayKind = Literal["none", "uniform", "prioritised", "diverse"]
ReplayPaths = Literal["stored", "backward"]
Acceptance = Literal["metropolis", "barker", "improve"]
TemperatureKind = Literal["fixed", "annealed", "conditional"]


@dataclass(frozen=True)
class Exploration:
    """How the behaviour differs from the policy while trajectories are drawn for training.

    epsilon       probability of a uniform move at each step
    temperature   above 1: moves are drawn from the flattened law P_F^(1/temperature)
    annealed      fraction of the training over which both fall linearly to none; 0 = they stay
    """

    epsilon: float = 0.0
    temperature: float = 1.0
    annealed: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.epsilon <= 1.0:
            raise InputError(f"exploration epsilon is {self.epsilon:g}: give a probability, 0 to 1")
        if not self.temperature > 0.0:
            raise InputError(
                f"exploration temperature is {self.temperature:g}: give a number above 0, 1 for none"
            )
        if not 0.0 <= self.annealed <= 1.0:
            raise InputError(f"exploration annealed is {self.annealed:g}: give a fraction, 0 to 1")

    def at(self, progress: float) -> Exploration:
        """The exploration at a fraction `progress` of the training."""
        left = 1.0 if not self.annealed else max(0.0, 1.0 - progress / self.annealed)
        return Exploration(self.epsilon * left, 1.0 + (self.temperature - 1.0) * left)

    @property
    def is_none(self) -> bool:
        return self.epsilon == 0.0 and self.temperature == 1.0


@dataclass(frozen=True)
class EnsembleConfig:
    """Thompson sampling: a trajectory is drawn by one of several heads, all heads learn from it.

    heads         number of heads; 1 = no ensemble
    keep          probability that a head learns from a trajectory
    prior_scale   weight of the fixed random function that is added to each head; 0 = none
    """

    heads: int = 1
    keep: float = 1.0
    prior_scale: float = 0.0


@dataclass(frozen=True)
class ReplayConfig:
    """kind       "uniform": first in, first out; "prioritised": half of a draw from the rewards above the
               90th percentile, half from the others; "diverse": every object once, best rewards kept
    capacity   trajectories kept
    fraction   trajectories per gradient step that come from the buffer, relative to the fresh ones
    paths      "stored" as they were first made, or redrawn "backward" from the object by P_B
    """

    kind: ReplayKind = "none"
    capacity: int = 10_000
    fraction: float = 0.5
    paths: ReplayPaths = "stored"


@dataclass(frozen=True)
class LocalSearchConfig:
    """Back-and-forth changes of fresh objects, all of which are trained on.

    rounds   changes of each object; 0 = no local search
    depth    a change takes back 1 to `depth` transitions
    accept   "metropolis" or "barker": chains that keep R / Z whatever the policy; "improve": only a
             larger reward is taken, which finds good objects faster and biases nothing but the data
    domain   train, too, on what the environment's own local search makes of the fresh objects
    """

    rounds: int = 0
    depth: int = 4
    accept: Acceptance = "metropolis"
    domain: bool = False


@dataclass(frozen=True)
class TemperatureConfig:
    """The target law is R^beta.

    kind      "fixed": beta = `final`; "annealed": from `initial` to `final` over the fraction `annealed` of
              the training; "conditional": one policy for all beta between the two, log-uniform draws
    groups    conditional: number of different beta in a batch
    """

    kind: TemperatureKind = "fixed"
    initial: float = 1.0
    final: float = 1.0
    annealed: float = 0.5
    groups: int = 16

    def __post_init__(self) -> None:
        if not (self.initial > 0.0 and self.final > 0.0):
            raise InputError(
                f"inverse temperatures {self.initial:g} and {self.final:g} were given: both must be above 0"
            )

    def at(self, progress: float) -> float:
        """beta at a fraction `progress` of the training; 1 where it is part of the state."""
        if self.kind == "conditional":
            return 1.0
        if self.kind == "fixed" or progress >= self.annealed:
            return self.final
        return self.initial + (self.final - self.initial) * progress / self.annealed


@dataclass(frozen=True)
class NetworkConfig:
    """width, layers   hidden units per layer and number of layers
    tabular         one free row per state instead of a network; for spaces that can be listed
    """

    width: int = 256
    layers: int = 2
    tabular: bool = False


@dataclass(frozen=True)
class ObjectiveConfig:
    """What single objectives take, beside scores.

    decay            lambda of subtb and fl-subtb
    path_length      transitions in a piece of path-consistency
    baseline         of reverse-kl
    q, alpha, omega  of mellowmax
    drop             of led: probability that a transition is left out of the decomposition loss
    local_until      of led: fraction of the training over which the local term fades to zero
    """

    decay: float = 0.9
    path_length: int = 5
    baseline: Baseline = "mean"
    q: float = 0.5
    alpha: float = 1.0
    omega: float = 1.0
    drop: float = 0.1
    local_until: float = 0.5

    def __post_init__(self) -> None:
        if not self.decay > 0.0:
            raise InputError(
                f"the decay of sub-trajectories is {self.decay:g}: give a number above 0"
            )
        if self.path_length < 1:
            raise InputError(f"a path length of {self.path_length} was given: give 1 or more")
        if not (self.omega > 0.0 and self.alpha > 0.0 and 0.0 <= self.q <= 1.0):
            raise InputError(
                f"mellowmax was given q = {self.q:g}, alpha = {self.alpha:g}, omega = {self.omega:g}: "
                "q lies between 0 and 1, alpha and omega are above 0"
            )


@dataclass(frozen=True)
class GFlowNetConfig:
    """objective            what is minimised, see the file of that name in `objectives`
    backward             "learned" with the objective, "uniform", or by trajectory "likelihood"
    steps, batch         gradient steps, and fresh trajectories in each
    learning_rate        of the network; falls by a cosine to a hundredth
    log_partition_rate   of log Z, with the same fall
    gradient_norm        largest norm of a gradient
    ema_decay            of the averaged weights, with which one samples
    backward_floor       share of the uniform law in a backward policy trained by likelihood
    """

    objective: Objective = "tb"
    backward: Backward = "learned"
    steps: int = 500
    batch: int = 512
    learning_rate: float = 5e-3
    log_partition_rate: float = 0.05
    gradient_norm: float = 10.0
    ema_decay: float = 0.99
    backward_floor: float = 0.01
    settings: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    exploration: Exploration = field(default_factory=Exploration)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    local_search: LocalSearchConfig = field(default_factory=LocalSearchConfig)
    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        off_policy = self.replay.kind != "none" or self.local_search.rounds > 0
        off_policy |= self.local_search.domain
        off_policy |= not self.exploration.is_none or self.ensemble.heads > 1
        if self.objective == "reverse-kl" and off_policy:
            raise InputError(
                "the objective reverse-kl needs trajectories of the policy itself: leave out exploration, "
                "ensemble, replay and local search, or take the objective tb"
            )
        grouped = self.objective in ("log-variance", "mellowmax")
        if self.temperature.kind == "conditional" and grouped and off_policy:
            raise InputError(
                f"the objective {self.objective} compares trajectories of one temperature, which replay and "
                "local search do not keep together: leave them out, or take the objective tb"
            )
        if self.local_search.rounds and self.ensemble.heads > 1:
            raise InputError(
                "local search needs the probabilities of one policy: set ensemble.heads to 1 or leave "
                "local search out"
            )
