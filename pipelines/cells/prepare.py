"""From options to a problem: the time course, its space with and without a held-out time, masses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from domains.cells import simulator
from domains.cells.circuits import circuit
from domains.cells.population import given_sizes, sizes_from_growth
from domains.cells.representation import (
    Normalise,
    Representation,
    RepresentationOptions,
    fit_representation,
    resolved_normalisation,
    snapshots_of,
)
from domains.cells.snapshots import CellSnapshots
from domains.cells.timecourse import Timecourse, column_of, read_timecourse, timecourse
from pipelines.cells.learned import device_of
from pipelines.cells.options import Config
from workbench.errors import InputError
from workbench.training.devices import set_threads

FEWEST_FOR_ALICFM = 3
EMBEDDED = Path(simulator.__file__).parent / "data" / "hsmm-myoblasts.h5ad"


@dataclass(frozen=True)
class Problem:
    """What is inferred from.

    course      cells with their times
    truth       the simulation they come from, or None
    options     how cells become points
    weights     [cell], or None for equal ones
    population  [time] relative size of the whole population, or None where it is not known
    held_out    indices of the times that are held out in turn
    """

    course: Timecourse
    truth: simulator.Simulation | None
    options: RepresentationOptions
    weights: np.ndarray | None
    population: Float[Tensor, "time"] | None
    held_out: tuple[int, ...]

    @property
    def normalise(self) -> Normalise:
        """How expression is taken, resolved."""
        return resolved_normalisation(self.course.data, self.options)

    @cached_property
    def space(self) -> Representation:
        """Fitted on all times: for the final fit alone."""
        return fit_representation(self.course, self.options)

    @cached_property
    def snapshots(self) -> CellSnapshots:
        """All times in `space`."""
        return self._snapshots(self.space)

    def fold(self, held_out: int) -> CellSnapshots:
        """All times in a space fitted without the held-out one."""
        return self._snapshots(fit_representation(self.course, self.options, held_out))

    def _snapshots(self, space: Representation) -> CellSnapshots:
        shots = snapshots_of(self.course, space, self.weights)
        return replace(shots, population=self.population)

    def generator(self, seed: int, stage: str) -> torch.Generator:
        """Random numbers of one stage: stages do not depend on each other's length."""
        mixed = seed * 1_000_003 + sum(ord(c) * 131**k for k, c in enumerate(stage))
        return torch.Generator().manual_seed(mixed % 2**63)


def problem(config: Config) -> Problem:
    """Raises InputError for a file, column, representation or time that cannot be used."""
    set_threads(config.threads)
    device_of(config)
    truth = _simulated(config)
    course = _course(config, truth)
    options = RepresentationOptions(
        config.use_rep,
        config.layer,
        "none" if truth is not None else config.normalise,
        config.n_genes,
        config.n_components if truth is None else course.data.n_vars,
    )
    _check_times(config, course)
    weights = _weights(config, course)
    made = Problem(course, truth, options, weights, None, _held_out(config, course))
    shots = made.snapshots  # reads all values once, so that bad ones are refused before any folder
    return replace(made, population=_population(config, course, shots, truth))


def _simulated(config: Config) -> simulator.Simulation | None:
    if config.simulate is None:
        return None
    chosen = circuit(config.simulate)
    if config.simulator.knock_out:
        chosen = chosen.without(*config.simulator.knock_out)
    if config.simulator.cells < 5:
        raise InputError(f"--simulator.cells is {config.simulator.cells}: give 5 or more")
    generator = torch.Generator().manual_seed(config.seed)
    times = config.simulator.times or None
    return simulator.simulate(chosen, config.simulator.cells, generator, times)


def _course(config: Config, truth: simulator.Simulation | None) -> Timecourse:
    if truth is not None:
        return timecourse(truth.anndata(), "time", "simulated time", config.time_bins)
    if config.input is None:
        key, unit = config.time_key or "hours", config.time_unit or "h"
        return read_timecourse(EMBEDDED, key, unit, config.time_bins)
    if config.time_key is None:
        raise InputError("--time-key is missing: name the column of obs that holds the times")
    return read_timecourse(config.input, config.time_key, config.time_unit, config.time_bins)


def _held_out(config: Config, course: Timecourse) -> tuple[int, ...]:
    if config.holdout == ("none",):
        return ()
    interior = range(1, course.n_times - 1)
    if config.holdout == ("all",):
        return tuple(interior)
    found = [course.index_of(name) for name in config.holdout]
    for index in found:
        if index not in interior:
            raise InputError(
                f"time {course.names[index]} is the first or last, which nothing surrounds: hold out one of "
                f"{', '.join(course.names[i] for i in interior) or 'none (there are two times)'}"
            )
    return tuple(dict.fromkeys(found))


def _check_times(config: Config, course: Timecourse) -> None:
    """alicfm learns from times between the first and the last of a training; validation takes one away, and
    the choice of auto another."""
    if config.holdout == ("none",):
        left = course.n_times
    elif "auto" in config.method and "alicfm" in config.candidates:
        left = course.n_times - 2
    else:
        left = course.n_times - 1
    asked = "alicfm" in config.method or ("auto" in config.method and "alicfm" in config.candidates)
    if asked and left < FEWEST_FOR_ALICFM:
        raise InputError(
            f"alicfm needs {FEWEST_FOR_ALICFM} times in each training and {left} of {course.n_times} would be "
            "left by validation: leave it out, or give --holdout none"
        )


def _weights(config: Config, course: Timecourse) -> np.ndarray | None:
    """Given weights, and each batch alike within a time."""
    if config.weight_key is None and config.batch_key is None:
        return None
    weights = np.ones(course.data.n_obs)
    if config.weight_key is not None:
        column_of(course.data, config.weight_key, "weight")
        try:
            weights = course.data.obs[config.weight_key].to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError(f"weights in {config.weight_key} are not numbers") from error
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise InputError(f"weights in {config.weight_key} must be finite and not negative")
    if config.batch_key is not None:
        batch = column_of(course.data, config.batch_key, "batch")
        for time in range(course.n_times):
            for name in np.unique(batch[course.at(time)]):
                rows = course.at(time)[batch[course.at(time)] == name]
                weights[rows] /= max(weights[rows].sum(), 1e-300)
    return weights


def _population(
    config: Config,
    course: Timecourse,
    shots: CellSnapshots,
    truth: simulator.Simulation | None,
) -> Float[Tensor, "time"] | None:
    if config.population:
        return given_sizes(config.population, course.names)
    if config.growth_key is not None:
        column_of(course.data, config.growth_key, "growth")
        try:
            growth = course.data.obs[config.growth_key].to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError(f"growth rates in {config.growth_key} are not numbers") from error
        parts = [torch.from_numpy(growth[course.at(i)]) for i in range(course.n_times)]
        return sizes_from_growth(parts, shots.masses, shots.times)
    if truth is not None:
        return truth.snapshots.population
    if config.unbalanced.mass_source == "given":
        raise InputError(
            "--unbalanced.mass-source given needs population sizes: give --population or --growth-key"
        )
    return None
