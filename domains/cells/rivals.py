"""What is predicted for a held-out time without learning anything.

midpoint        x_f = (1 - f) x_i + f x_j over the exact plan between all cells of the two neighbours,
                at the held-out time's real position f = (t - t_before) / (t_after - t_before)
midpoint_index  the same at f = 1/2, as if times were index numbers
previous, next  the neighbouring snapshot as it is
"""

from __future__ import annotations

import torch

from domains.cells.comparison import Prediction
from domains.cells.snapshots import CellSnapshots
from workbench.bridge.couplings.exact import exact_plan
from workbench.bridge.couplings.plan import Plan

RIVALS = ("midpoint", "midpoint_index", "previous", "next")
EXACT_LIMIT = 4000
BLOCK = 2000


def neighbour_plan(shots: CellSnapshots, held_out: int, generator: torch.Generator) -> Plan:
    """The exact plan between the neighbours of a held-out time; beyond 4,000 cells a side in blocks."""
    before, after = shots.cells(held_out - 1), shots.cells(held_out + 1)
    if max(len(before), len(after)) > EXACT_LIMIT:
        return exact_plan(before, after, block=BLOCK, generator=generator)
    weights = shots.weights(held_out - 1), shots.weights(held_out + 1)
    return exact_plan(before, after, *weights)


def position(shots: CellSnapshots, held_out: int) -> float:
    """Where the held-out time lies between its neighbours, in (0, 1)."""
    before, at, after = shots.times[held_out - 1 : held_out + 2].tolist()
    return (at - before) / (after - before)


def between(shots: CellSnapshots, held_out: int, plan: Plan, fraction: float) -> Prediction:
    """Every pair of the plan at `fraction` of its way, with the pair's mass, in the order of its source."""
    order = torch.argsort(plan.source, stable=True)
    source, target, mass = plan.source[order], plan.target[order], plan.mass[order]
    x0, x1 = shots.cells(held_out - 1)[source], shots.cells(held_out + 1)[target]
    return Prediction((1 - fraction) * x0 + fraction * x1, mass / mass.sum())


def rivals(
    shots: CellSnapshots, held_out: int, generator: torch.Generator
) -> dict[str, Prediction]:
    """The four predictions of `RIVALS`; `shots` still holds the held-out time, which is not looked at."""
    plan = neighbour_plan(shots, held_out, generator)
    return {
        "midpoint": between(shots, held_out, plan, position(shots, held_out)),
        "midpoint_index": between(shots, held_out, plan, 0.5),
        "previous": Prediction(shots.cells(held_out - 1), shots.weights(held_out - 1)),
        "next": Prediction(shots.cells(held_out + 1), shots.weights(held_out + 1)),
    }
