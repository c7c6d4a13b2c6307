"""What a Markov chain sampler shows of itself: the contract that `collect` drives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.problem import Energy


@dataclass(frozen=True, eq=False)
class Observation:
    """The chains a sampler shows after a step.

    x       [chain, *event]
    energy  [chain], reduced, at beta = 1
    beta    [chain], float64: the law of the chain is exp(-beta u)
    ladder  [chain]: chains of one ladder exchange configurations and share an index
    """

    x: Float[Tensor, " chain *event"]
    energy: Float[Tensor, " chain"]
    beta: Float[Tensor, " chain"]
    ladder: Int[Tensor, " chain"]


@runtime_checkable
class StepInfo(Protocol):
    @property
    def acceptance(self) -> Tensor: ...
    @property
    def n_nonfinite(self) -> Tensor: ...


@runtime_checkable
class Sampler(Protocol):
    """The modules `mala`, `hmc` and `tempering` are samplers: `collect` takes the module itself.

    A config has `n_warmup`, a state has `n_steps`; adaptation stops when n_steps = n_warmup.
    """

    def init(
        self, config: Any, energy: Energy, x: Tensor, generator: torch.Generator, /
    ) -> Any: ...

    def step(
        self, config: Any, energy: Energy, state: Any, generator: torch.Generator, /
    ) -> tuple[Any, StepInfo]: ...

    def observe(self, config: Any, state: Any, /) -> Observation: ...
