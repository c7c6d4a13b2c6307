"""Learned bridges: their options by method, their training, and cells pushed to a held-out time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from domains.cells.comparison import Prediction, pick
from domains.cells.snapshots import CellSnapshots
from pipelines.cells.options import Config, MethodName
from workbench.bridge.couplings.solve import solve_plans
from workbench.bridge.model import BridgeModel
from workbench.bridge.options import BridgeConfig
from workbench.bridge.simulation import Paths, ode, sde
from workbench.bridge.training import train
from workbench.runs.folder import RunFolder
from workbench.training.devices import resolve_device

STOCHASTIC = ("sf2m",)
BROWNIAN = ("sf2m", "sbcfm")
MOST_PUSHED = 5000
SDE_STEPS = 50


def bridge_options(config: Config, method: MethodName, has_population: bool) -> BridgeConfig:
    """The options of one method."""
    unbalanced = config.unbalanced
    if has_population and unbalanced.mass_source == "balanced":
        unbalanced = replace(unbalanced, mass_source="given")
    return BridgeConfig(
        method=method,  # type: ignore[arg-type]
        sigma=config.diffusion if method in BROWNIAN else config.sigma,
        width=config.width,
        layers=config.layers,
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        ema_decay=config.ema_decay,
        coupling=config.coupling,
        adversarial=config.adversarial,
        unbalanced=unbalanced,
    )


def device_name(config: Config) -> Literal["cpu", "cuda"]:
    """Where networks are trained: `auto` is the processor, which small networks on small batches do not
    leave."""
    return "cpu" if config.device == "auto" else config.device


def device_of(config: Config) -> torch.device:
    """The same as a device. Raises InputError for one that is not there."""
    return resolve_device(device_name(config))


def fit_bridge(
    config: Config,
    method: MethodName,
    shots: CellSnapshots,
    generator: torch.Generator,
    plan_seed: int,
    cache: Path,
    folder: RunFolder | None = None,
    name: str = "training",
) -> BridgeModel:
    """A bridge through all of `shots`; leave out before what is held out. The couplings follow from
    `plan_seed` alone, so trainings of one method on the same cells share them, kept in `cache`."""
    device = device_of(config)
    if device.type != generator.device.type:
        generator = torch.Generator(device).manual_seed(generator.initial_seed())
    masses = None if shots.population is None else shots.population.tolist()
    options = bridge_options(config, method, masses is not None)
    weights = None if _equal(shots) else shots.masses
    masses = masses if method == "unbalanced" else None
    seeded = torch.Generator().manual_seed(plan_seed)
    plans = solve_plans(
        options, shots.values, shots.times, seeded, weights=weights, masses=masses, cache=cache
    )
    return train(
        options,
        shots.values,
        shots.times,
        generator,
        weights=weights,
        masses=masses,
        plans=plans,
        folder=folder,
        name=name,
    )


def _equal(shots: CellSnapshots) -> bool:
    return all(bool((mass == mass[0]).all()) for mass in shots.masses)


def paths_of(
    model: BridgeModel,
    x0: torch.Tensor,
    times: torch.Tensor,
    generator: torch.Generator,
    diffusion: float | None = None,
) -> Paths:
    """Paths from `x0`: stochastic where a score was learned and `diffusion` is not zero."""
    x0 = x0.to(next(model.networks.parameters()).device)
    if not model.has_score or diffusion == 0:
        paths = ode(model, x0, times)
    else:
        g = model.sigma if diffusion is None else diffusion
        paths = sde(model, x0, times, g, generator, steps=SDE_STEPS)
    return Paths(times, paths.x.cpu(), None if paths.log_mass is None else paths.log_mass.cpu())


def push(
    config: Config,
    model: BridgeModel,
    shots: CellSnapshots,
    held_out: int,
    generator: torch.Generator,
) -> Prediction:
    """Observed cells of the neighbouring times moved to the held-out one, those of the time before forward
    and those of the time after backward; each side counts by its nearness in time."""
    before, at, after = shots.times[held_out - 1 : held_out + 2].tolist()
    share = (at - before) / (after - before)
    ahead = _moved(model, shots, held_out - 1, held_out, generator)
    if config.start == "before":
        return ahead
    back = _moved(model, shots, held_out + 1, held_out, generator)
    assert ahead.weights is not None and back.weights is not None
    weights = torch.cat([(1 - share) * ahead.weights, share * back.weights])
    return Prediction(torch.cat([ahead.cells, back.cells]), weights)


def _moved(
    model: BridgeModel, shots: CellSnapshots, source: int, target: int, generator: torch.Generator
) -> Prediction:
    """The cells of one time at another: along the flow, or, with a score, along the stochastic equation.
    Weights follow the learned growth."""
    cells, mass = shots.cells(source), shots.weights(source)
    if len(cells) > MOST_PUSHED:
        seed = int(torch.randint(2**31, (1,), generator=generator))
        cells = pick(cells, mass, MOST_PUSHED, seed)
        mass = torch.full((MOST_PUSHED,), 1.0 / MOST_PUSHED, dtype=torch.float64)
    times = torch.stack([shots.times[source], shots.times[target]])
    paths = paths_of(model, cells, times, generator)
    if paths.log_mass is not None:
        mass = mass * paths.log_mass[-1].double().exp()
    return Prediction(paths.x[-1], mass / mass.sum())
