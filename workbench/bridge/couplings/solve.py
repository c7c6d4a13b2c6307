"""One plan per interval, solved up front as `BridgeConfig` says, and kept on disk.

A plan solved once serves any number of training steps and is better than the minibatch plans of the
published codes, which also take most of their time. Files are named by a checksum of all that the plan depends
on, so a changed snapshot or option never meets a stale plan.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.bridge.couplings.entropic import entropic_plan
from workbench.bridge.couplings.exact import exact_plan
from workbench.bridge.couplings.independent import independent_plan
from workbench.bridge.couplings.plan import Plan, load_plan, save_plan, uniform
from workbench.bridge.couplings.unbalanced import unbalanced_plan
from workbench.bridge.frame import Frame, frame_of
from workbench.bridge.options import BridgeConfig
from workbench.errors import InputError
from workbench.seeds import seed_from


def solve_plans(
    config: BridgeConfig,
    cells: Sequence[Float[Tensor, "cell feature"]],
    times: Float[Tensor, "time"],
    generator: torch.Generator,
    *,
    weights: Sequence[Float[Tensor, "cell"]] | None = None,
    masses: Sequence[float] | None = None,
    frame: Frame | None = None,
    cache: Path | None = None,
) -> list[Plan]:
    """The plans of all neighbouring snapshots.

    weights   of the cells of each snapshot; None = equal
    masses    total mass of the population at each time, for `unbalanced` with mass_source "given"
    frame     default: `frame_of` the snapshots
    cache     folder of stored plans; made where it is not there
    """
    frame = frame or frame_of(cells, times)
    totals = total_masses(config, cells, masses)
    delta = reach(config, cells, frame)
    plans = []
    for k in range(len(cells) - 1):
        pair = cells[k].cpu(), cells[k + 1].cpu()  # where the solvers work
        w0, w1 = (None, None) if weights is None else (w.cpu() for w in weights[k : k + 2])
        gap = float(times[k + 1] - times[k]) / frame.interval
        asked = _asked(config, frame, gap, totals[k : k + 2], delta)
        seed = seed_from(generator)
        path = None if cache is None else cache / f"plan-{_checksum((*pair, w0, w1), asked)}.npz"
        if path is not None and path.exists():
            plans.append(load_plan(path))
            continue
        plan = _solve(asked, *pair, w0, w1, torch.Generator().manual_seed(seed))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_plan(path, plan)
        plans.append(plan)
    return plans


def total_masses(
    config: BridgeConfig, cells: Sequence[Tensor], masses: Sequence[float] | None
) -> list[float]:
    """Mass of the population at each time, that of the first snapshot one."""
    source = config.unbalanced.mass_source if config.method == "unbalanced" else "balanced"
    if source == "given":
        if masses is None or len(masses) != len(cells) or min(masses) <= 0:
            raise InputError(
                f"mass_source is given: give a positive total mass for each of {len(cells)} times"
            )
        return [mass / masses[0] for mass in masses]
    if masses is not None:
        raise InputError('total masses are of no use here: drop them or set mass_source = "given"')
    if source == "counts":
        return [len(x) / len(cells[0]) for x in cells]
    return [1.0] * len(cells)


def reach(config: BridgeConfig, cells: Sequence[Tensor], frame: Frame) -> float:
    """delta of Wasserstein-Fisher-Rao plans and paths in data units: as asked, else such that every pair
    of cells of neighbouring snapshots could be carried (a bound on their distances over pi)."""
    if config.unbalanced.length is not None:
        return config.unbalanced.length * frame.length
    bounds = []
    for x0, x1 in itertools.pairwise(cells):
        centre = 0.5 * (x0.mean(0) + x1.mean(0))
        bounds.append(sum(float((x - centre).norm(dim=1).max()) for x in (x0, x1)))
    return 1.01 * max(bounds) / math.pi


def _asked(
    config: BridgeConfig, frame: Frame, gap: float, totals: list[float], delta: float
) -> dict[str, Any]:
    """What is to be solved, in data units, as plain numbers."""
    coupling, kind = config.coupling, config.coupling.method
    if config.method == "unbalanced":
        return {**asdict(coupling), "kind": "unbalanced", "delta": delta, "masses": totals}
    if kind == "auto":
        kind = {"icfm": "independent", "sf2m": "entropic", "sbcfm": "entropic"}.get(
            config.method, "exact"
        )  # type: ignore[assignment]
    epsilon = coupling.epsilon if coupling.epsilon is not None else 2.0 * config.sigma**2 * gap
    return {**asdict(coupling), "kind": kind, "epsilon": epsilon * frame.length**2}


def _solve(
    asked: dict[str, Any],
    x0: Tensor,
    x1: Tensor,
    w0: Tensor | None,
    w1: Tensor | None,
    generator: torch.Generator,
) -> Plan:
    if asked["kind"] == "independent":
        few = {"pairs_per_cell": asked["pairs_per_cell"], "generator": generator}
        return independent_plan(x0, x1, w0, w1, **few)
    if asked["kind"] == "exact":
        block = asked["block"] if max(len(x0), len(x1)) > asked["exact_limit"] else None
        return exact_plan(x0, x1, w0, w1, block=block, generator=generator)
    if asked["kind"] == "entropic":
        options = {key: asked[key] for key in ("tolerance", "max_iterations", "pairs_per_cell")}
        return entropic_plan(x0, x1, asked["epsilon"], w0, w1, **options, generator=generator)
    mass0, mass1 = (
        m * uniform(len(x), w) for m, x, w in zip(asked["masses"], (x0, x1), (w0, w1), strict=True)
    )
    return unbalanced_plan(
        x0,
        x1,
        mass0,
        mass1,
        asked["delta"],
        tolerance=asked["tolerance"],
        block=asked["block"],
        generator=generator,
    )


def _checksum(tensors: Sequence[Tensor | None], asked: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for tensor in tensors:
        digest.update(b"none" if tensor is None else tensor.double().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]
