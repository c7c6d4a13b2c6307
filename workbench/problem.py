"""The three ways in which nature gives a distribution, as protocols: the seams of the workbench.

`Energy`       a reduced potential u(x) = E(x)/kT and its force; the law is exp(-u(x)) / Z.
`Environment`  moves that build an object, and a log-reward; the law is R(object) / Z.
`Snapshots`    unpaired cells at several times; the law is that of the paths between them.

A domain implements a protocol by having its members: nothing is inherited, nothing registered.
Optional abilities are protocols of their own (`ExactSampler`), asked for with `isinstance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error; `stderr = 0` marks an exact value."""

    value: float
    stderr: float = 0.0


@dataclass(frozen=True)
class KnownAnswers:
    """What is known of a target before any sampling. `None` = not known.

    log_partition    log of the integral of exp(-u) over the space the density lives on
    mean_energy      mean reduced energy (kT)
    mode_centres     [mode, *event], with `mode_weights` [mode] summing to one
    mode_radius      a sample belongs to a mode when it lies within this distance of its centre
    """

    log_partition: float | None = None
    mean_energy: Estimate | None = None
    mode_centres: Tensor | None = None
    mode_weights: Tensor | None = None
    mode_radius: float | None = None
    source: str = ""


@runtime_checkable
class Energy(Protocol):
    """A reduced potential on R^event, or on its mean-free subspace.

    Shapes are batch first. `force = -grad u` in 1/length. Both calls accept float32 and float64 on
    any device, return the dtype they were given, never modify `x`, and need no autograd: forces come
    from closed forms or compiled kernels, and the returned tensors carry no graph.

    name                what the system is called, for reports
    event_shape         shape of one configuration: (dim,) or (particle, space)
    degrees_of_freedom  dimension of the space the density lives on; also <x . grad u> (virial)
                        where the law vanishes at infinity
    mean_free           True: u is invariant to translation and the density lives on configurations
                        [particle, space] whose unweighted centre is zero
    length_unit         "nm", or "1" for reduced units
    known               `KnownAnswers`
    """

    name: str
    degrees_of_freedom: int
    mean_free: bool
    length_unit: str
    known: KnownAnswers

    @property
    def event_shape(self) -> tuple[int, ...]: ...

    def energy(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch"]: ...

    def energy_and_force(
        self, x: Float[Tensor, "batch *event"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch *event"]]: ...

    def initial(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *event"]:
        """Starting configurations for Markov chains: cheap, finite in energy, and overdispersed
        where that is possible (relaxed random clusters; the user's structure for a molecule)."""
        ...


@runtime_checkable
class ExactSampler(Protocol):
    """An energy whose law can be drawn from exactly: the best reference there is."""

    def exact_samples(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *event"]: ...


@runtime_checkable
class Environment(Protocol):
    """Moves that build an object step by step, batched and stateless, with a log-reward.

    A state is a dataclass of tensors with a leading batch axis; an action is a tensor [batch, *action].
    `step` and `backward_step` return new states and never change the old one; a row that is already
    terminal (forward) or initial (backward) comes back unchanged, whatever its action. Stopping, where
    an object may stop growing, is an ordinary last action: a terminal state is one that has stopped.

    name       what the environment is called, for reports
    max_steps  length of the longest trajectory
    """

    name: str
    max_steps: int

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> Any: ...

    def is_initial(self, state: Any) -> Bool[Tensor, "batch"]: ...

    def is_terminal(self, state: Any) -> Bool[Tensor, "batch"]: ...

    def step(self, state: Any, action: Tensor) -> Any: ...

    def backward_step(self, state: Any, action: Tensor) -> Any: ...

    def undoing(self, state: Any, action: Tensor) -> Tensor:
        """The backward action that leads from `step(state, action)` back to `state`."""
        ...

    def redoing(self, state: Any, action: Tensor) -> Tensor:
        """The forward action that leads from `backward_step(state, action)` back to `state`."""
        ...

    def log_reward(self, state: Any) -> Float[Tensor, "batch"]:
        """log R of terminal states; reduced, without a graph."""
        ...


@runtime_checkable
class DiscreteEnvironment(Environment, Protocol):
    """An environment whose actions are numbers [batch] below `n_actions` (forward) and
    `n_backward_actions` (backward). Masks say which are allowed: `True` = allowed; a terminal row allows
    no forward action, an initial row no backward one. Two actions never lead to the same state, unless
    each has a backward action of its own.

    n_features  width of `features`, what a policy network sees
    """

    n_actions: int
    n_backward_actions: int
    n_features: int

    def forward_mask(self, state: Any) -> Bool[Tensor, "batch action"]: ...

    def backward_mask(self, state: Any) -> Bool[Tensor, "batch action"]: ...

    def features(self, state: Any) -> Float[Tensor, "batch feature"]: ...


@runtime_checkable
class EnumerableEnvironment(DiscreteEnvironment, Protocol):
    """A discrete environment small enough that all its states can be listed: exact answers follow."""

    n_states: int

    def all_states(self) -> Any:
        """Every reachable state once, terminal ones too, each after all of its parents: row i has
        `index` i, row 0 is the initial state."""
        ...

    def index(self, state: Any) -> Int[Tensor, "batch"]: ...


@runtime_checkable
class PartialReward(Protocol):
    """An environment with a partial log-reward at every state, equal to `log_reward` at terminal
    ones: what forward-looking objectives need."""

    def log_partial_reward(self, state: Any) -> Float[Tensor, "batch"]: ...


@runtime_checkable
class Stoppable(Protocol):
    """A discrete environment in which every state that is not terminal allows `stop_action`: what the
    modified detailed balance needs."""

    stop_action: int


@runtime_checkable
class Conditional(Protocol):
    """An environment whose initial states differ, each with a log Z of its own: graphs, say. Trajectories
    for training start where `draw_start` says; those of one `condition` share log Z."""

    def draw_start(self, n: int, generator: torch.Generator) -> Any: ...

    def condition(self, state: Any) -> Int[Tensor, "batch"]:
        """Number of the condition of each state, the same all along a trajectory."""
        ...


@runtime_checkable
class Improvable(Protocol):
    """An environment with a local search of its own: what it makes of objects can be trained on."""

    def improved(self, state: Any) -> Any:
        """Objects of the same conditions, none of them worse."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """Unpaired observations of one population at several times.

    times      [time], ascending, in `time_unit`
    cells      one tensor [cell, feature] per time
    weights    one tensor [cell] per time, each summing to one
    """

    times: Float[Tensor, "time"]
    time_unit: str

    def cells(self, time_index: int) -> Float[Tensor, "cell feature"]: ...

    def weights(self, time_index: int) -> Float[Tensor, "cell"]: ...


def centred(x: Float[Tensor, "*batch particle space"]) -> Float[Tensor, "*batch particle space"]:
    """`x` moved so that the unweighted mean over particles is zero."""
    return x - x.mean(dim=-2, keepdim=True)


def project(energy: Energy, x: Tensor) -> Tensor:
    """`x` on the space the density lives on: centred for a mean-free energy, unchanged otherwise."""
    return centred(x) if energy.mean_free else x


def normal_like_space(
    energy: Energy, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Standard normal draws `[n, *event]` on the space the density lives on."""
    shape, device = (n, *energy.event_shape), generator.device
    return project(energy, torch.randn(shape, generator=generator, dtype=dtype, device=device))


class CountedEnergy:
    """An `Energy` that counts what it is asked: the cost in every report is read from here.

    `n_energy` counts configurations whose energy was computed, `n_force` those whose force was computed
    with it (a subset). Every other member is the wrapped energy's own.
    """

    def __init__(self, energy: Energy) -> None:
        self.wrapped = energy
        self.n_energy = 0
        self.n_force = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def state_dict(self) -> dict[str, int]:
        """The counts, so that they are part of what a checkpoint keeps."""
        return {"n_energy": self.n_energy, "n_force": self.n_force}

    def load_state_dict(self, counts: dict[str, int]) -> None:
        self.n_energy, self.n_force = counts["n_energy"], counts["n_force"]

    def __deepcopy__(self, memo: dict[int, Any]) -> CountedEnergy:
        """Itself: averaged copies of a network that holds an energy must share its counter."""
        return self

    def energy(self, x: Tensor) -> Tensor:
        self.n_energy += len(x)
        return self.wrapped.energy(x)

    def energy_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.n_energy += len(x)
        self.n_force += len(x)
        return self.wrapped.energy_and_force(x)
