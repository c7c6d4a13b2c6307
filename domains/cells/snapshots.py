"""Snapshots of a cell population: one cloud of cells per time, nothing said of who became whom.

`CellSnapshots` has the members of `workbench.problem.Snapshots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError

FEWEST_CELLS = 5


@dataclass(frozen=True, eq=False)
class CellSnapshots:
    """Cells at ascending `times` in `time_unit`, in one common space.

    names         what the user calls each time
    values        one tensor [cell, feature] per time
    masses        one tensor [cell] per time, each summing to one
    population    [time] size of the whole population relative to the first time, where it is known;
                  it never comes from counting the cells at hand
    """

    times: Float[Tensor, "time"]
    time_unit: str
    names: tuple[str, ...]
    values: tuple[Float[Tensor, "_ feature"], ...]
    masses: tuple[Float[Tensor, "_"], ...]
    population: Float[Tensor, "time"] | None = None

    def cells(self, time_index: int) -> Float[Tensor, "cell feature"]:
        return self.values[time_index]

    def weights(self, time_index: int) -> Float[Tensor, "cell"]:
        return self.masses[time_index]

    @property
    def n_times(self) -> int:
        return len(self.names)

    @property
    def dim(self) -> int:
        return self.values[0].shape[1]

    @property
    def interior(self) -> range:
        """Indices of the times that have a neighbour on either side."""
        return range(1, self.n_times - 1)

    def select(self, indices: Sequence[int]) -> CellSnapshots:
        """The snapshots at these indices, in this order of times."""
        population = None
        if self.population is not None:
            population = self.population[list(indices)] / self.population[indices[0]]
        return replace(
            self,
            times=self.times[list(indices)],
            names=tuple(self.names[i] for i in indices),
            values=tuple(self.values[i] for i in indices),
            masses=tuple(self.masses[i] for i in indices),
            population=population,
        )

    def without(self, index: int) -> CellSnapshots:
        """All snapshots but one."""
        return self.select([i for i in range(self.n_times) if i != index])

    def shuffled(self, generator: torch.Generator) -> CellSnapshots:
        """The same cells with their time labels permuted over cells: a control that must not win."""
        pooled, weights = torch.cat(self.values), torch.cat(self.masses)
        order = torch.randperm(len(pooled), generator=generator)
        sizes = [len(cells) for cells in self.values]
        parts = weights[order].split(sizes)
        return replace(
            self,
            values=pooled[order].split(sizes),
            masses=tuple(part / part.sum() for part in parts),
        )


def make_snapshots(
    values: Sequence[Float[Tensor, "_ feature"]],
    times: Sequence[float] | Float[Tensor, "time"],
    time_unit: str = "",
    names: Sequence[str] | None = None,
    weights: Sequence[Float[Tensor, "_"]] | None = None,
    population: Float[Tensor, "time"] | None = None,
) -> CellSnapshots:
    """Checked snapshots, in float32. Raises InputError for fewer than two times, times that do not
    ascend, too few cells at a time (naming it), values that are not finite or bad weights."""
    at = torch.as_tensor(times, dtype=torch.float64)
    labels = tuple(names) if names is not None else tuple(f"{float(t):g}" for t in at)
    if len(at) < 2:
        raise InputError(
            f"There is one time point ({', '.join(labels)}): trajectories need two or more."
        )
    if not bool((at.diff() > 0).all()):
        raise InputError(f"Times {at.tolist()} do not ascend: sort the snapshots by time.")
    for name, cells in zip(labels, values, strict=True):
        if len(cells) < FEWEST_CELLS:
            raise InputError(
                f"Time {name} has {len(cells)} cells: leave it out, or give {FEWEST_CELLS} or more."
            )
        n_bad = int((~torch.isfinite(cells)).any(1).sum())
        if n_bad:
            raise InputError(
                f"{n_bad} cells at time {name} hold NaN or infinity: leave them out or mend them."
            )
    masses = _masses(values, weights, labels)
    cells32 = tuple(cells.to(torch.float32) for cells in values)
    return CellSnapshots(at, time_unit, labels, cells32, masses, population)


def _masses(
    values: Sequence[Tensor], weights: Sequence[Tensor] | None, names: Sequence[str]
) -> tuple[Tensor, ...]:
    if weights is None:
        return tuple(torch.full((len(x),), 1.0 / len(x), dtype=torch.float64) for x in values)
    masses = []
    for name, weight in zip(names, weights, strict=True):
        total = weight.double().sum()
        if not bool((weight >= 0).all()) or not 0 < float(total) < float("inf"):
            raise InputError(
                f"Weights of the cells at time {name} must be finite, not negative and not all zero."
            )
        masses.append(weight.double() / total)
    return tuple(masses)
