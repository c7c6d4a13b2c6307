"""What the synthetic environments have beyond the seam: known log Z, modes, and a classical move.

They are `EnumerableEnvironment`s (where they are small enough, see `n_states`) with

    log_partition     exact log Z, or None where it cannot be had
    n_modes           size of the set of modes that is fixed by the environment
    mode              the mode that an object belongs to
    uniform_objects   objects drawn uniformly: the random baseline
    propose           a symmetric random change of objects: the move of a Metropolis chain
    arrays            objects as named arrays: what is written to files
    description       sentences for a report
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from workbench.problem import EnumerableEnvironment


@runtime_checkable
class SyntheticEnvironment(EnumerableEnvironment, Protocol):
    """An environment whose answers are known. `state` is terminal in all of these calls."""

    log_partition: float | None
    n_modes: int

    @property
    def description(self) -> list[str]: ...

    def mode(self, state: Any) -> Int[Tensor, "batch"]:
        """Number of the mode that each object belongs to; -1 where it belongs to none."""
        ...

    def uniform_objects(self, n: int, generator: torch.Generator) -> Any: ...

    def propose(self, state: Any, generator: torch.Generator) -> Any:
        """A change of each object whose law is symmetric: as likely back as forth. It may leave an
        object as it is."""
        ...

    def arrays(self, state: Any) -> dict[str, Tensor]: ...
