"""The frame networks see: positions and times without units.

    z = (x - centre) / length,      s = (t - start) / interval

A velocity in the frame is (interval / length) times the one in data units, a score is length times,
a growth rate interval times. So a change of unit (days to hours, a factor on coordinates) changes
nothing that is learned. One length for all coordinates keeps distances Euclidean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError


@dataclass(frozen=True)
class Frame:
    """centre [feature] and length in data units; start and interval in the time unit."""

    centre: Float[Tensor, "feature"]
    length: float
    start: float
    interval: float

    def position(self, x: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
        return (x - self.centre.to(x.device)) / self.length

    def data(self, z: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
        """The inverse of `position`."""
        return self.centre.to(z.device) + self.length * z

    def time(self, t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        return (t - self.start) / self.interval


def frame_of(cells: Sequence[Float[Tensor, "cell feature"]], times: Float[Tensor, "time"]) -> Frame:
    """Pooled centre and rms spread per coordinate, first time and mean interval.

    Raises InputError for fewer than two snapshots, times that do not ascend, features that do not fit
    or values that are not finite."""
    if len(cells) < 2 or len(cells) != len(times):
        raise InputError(
            f"{len(cells)} snapshots at {len(times)} times: give one time for each, and at least two"
        )
    gaps = torch.diff(times.double())
    if not bool((gaps > 0).all()):
        raise InputError(
            f"times {times.tolist()} do not ascend: sort the snapshots and merge equal ones"
        )
    widths = {x.shape[1] for x in cells}
    if len(widths) != 1:
        raise InputError(f"snapshots have {sorted(widths)} features: give all of them the same")
    for t, x in zip(times.tolist(), cells, strict=True):
        if not bool(torch.isfinite(x).all()):
            raise InputError(
                f"the snapshot at time {t:g} holds NaN or infinity: leave those cells out"
            )
    pooled = torch.cat([x.double() for x in cells])
    spread = float(pooled.var(0, correction=0).mean().sqrt())
    if not spread > 0:
        raise InputError(
            "all cells are at the same place: nothing moves, give a representation that varies"
        )
    return Frame(
        centre=pooled.mean(0).to(cells[0].dtype),
        length=spread,
        start=float(times[0]),
        interval=float(gaps.mean()),
    )
