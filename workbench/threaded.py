"""An energy evaluated by several threads: the batch is cut in equal parts, the results are the same.

It pays where the energy is a compiled kernel that gives up Python's global lock, and where nothing
else wants the cores.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.problem import Energy

SMALLEST_PART = 32


class ThreadedEnergy:
    """`energy` on `n_threads` threads; every other member is the wrapped energy's own. Batches too
    small for parts of 32 configurations are evaluated whole."""

    def __init__(self, energy: Energy, n_threads: int) -> None:
        self.wrapped = energy
        self.n_threads = n_threads
        self.pool = ThreadPoolExecutor(n_threads)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def energy(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch"]:
        parts = self._parts(x)
        if len(parts) == 1:
            return self.wrapped.energy(x)
        return torch.cat(list(self.pool.map(self.wrapped.energy, parts)))

    def energy_and_force(
        self, x: Float[Tensor, "batch *event"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch *event"]]:
        parts = self._parts(x)
        if len(parts) == 1:
            return self.wrapped.energy_and_force(x)
        energies, forces = zip(*self.pool.map(self.wrapped.energy_and_force, parts), strict=True)
        return torch.cat(energies), torch.cat(forces)

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        n_parts = min(self.n_threads, len(x) // SMALLEST_PART)
        return x.tensor_split(n_parts) if n_parts > 1 else (x,)
