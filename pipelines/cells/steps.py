"""The pipeline: validate -> choose -> fit -> simulate -> evaluate -> write -> report."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from domains.cells import output
from domains.cells.snapshots import CellSnapshots
from domains.cells.timecourse import Timecourse
from pipelines.cells import evaluation, presentation
from pipelines.cells.final import (
    Ensemble,
    Fates,
    Fields,
    Simulated,
    choose,
    fates_of,
    fields,
    fit_final,
    impute,
    trajectories,
)
from pipelines.cells.gene_network import read_network
from pipelines.cells.learned import device_name
from pipelines.cells.options import Config
from pipelines.cells.prepare import Problem
from pipelines.cells.presentation import Results
from pipelines.cells.validation import validate
from pipelines.lifecycle import finish
from pipelines.options import to_plain
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.runs.provenance import peak_memory_bytes


def work(config: Config, problem: Problem, folder: RunFolder) -> None:
    """Everything from the first fold to the report; trainings that are done are not done again."""
    began, cpu_began = time.perf_counter(), time.process_time()
    network = read_network(config, problem, folder)
    folds = validate(config, problem, folder)
    ensemble = fit_final(config, problem, choose(config, folds), folder)
    shots = problem.snapshots
    found = fields(ensemble, shots)
    generator = problem.generator(config.seed, "trajectories")
    simulated = trajectories(config, ensemble, shots, config.trajectories, generator)
    fates = fates_of(config, problem, ensemble, shots, problem.generator(config.seed, "fates"))
    write(config, problem, folder, ensemble, found, fates, simulated)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began

    compared = [evaluation.fold_distances(config, problem, fold) for fold in folds]
    figures = evaluation.validation_figures(config, problem, folds, compared)
    figures |= evaluation.final_figures(problem, ensemble, found)
    figures |= network.figures if network is not None else _no_network()
    figures |= {
        "seconds": Figure(seconds, unit="s"),
        "cpu_seconds": Figure(cpu_seconds, unit="s"),
        "peak_memory_gib": Figure(peak_memory_bytes() / 2**30, unit="GiB"),
    }
    results = Results(
        config, problem, folds, compared, ensemble, found, simulated, fates, network, figures
    )
    sections = presentation.sections(results, folder)
    finish(
        replace(config, device=device_name(config)),
        folder,
        figures,
        sections,
        _judgement(figures),
        method=ensemble.chosen.method,
        n_cells=len(problem.course.when),
        times=[float(t) for t in problem.course.times],
    )


@dataclass(frozen=True)
class _Judgement:
    MEANINGS: dict[str, str]
    HIGHER_IS_BETTER: tuple[str, ...]


def _judgement(figures: dict[str, Figure]) -> Any:
    """Phrases for the figures of this run: their names follow the methods and times."""
    higher = [name for name in figures if name.startswith("pqmass_p")]
    return _Judgement(evaluation.meanings(figures), (*evaluation.HIGHER_IS_BETTER, *higher))


def _no_network() -> dict[str, Figure]:
    why = "no network was read: ask for one with --network.read"
    return {name: Figure(None, why=why) for name in ("grn_auroc", "grn_ap")}


def write(
    config: Config,
    problem: Problem,
    folder: RunFolder,
    ensemble: Ensemble,
    found: Fields,
    fates: Fates,
    simulated: Simulated,
) -> None:
    """The three files under samples/."""
    about = about_run(config, problem, ensemble)
    course, space = problem.course, problem.space
    data = output.cells_file(
        course,
        space,
        in_file_order(course, problem.snapshots.values),
        in_file_order(course, found.velocity),
        in_file_order(course, found.deviation),
        about,
    )
    if found.growth is not None:
        data.obs["growth_rate"] = in_file_order(course, found.growth).numpy()
    _add_fates(data, course, problem.snapshots, fates)
    if config.save_couplings and len(ensemble.models[0].plans):
        output.add_couplings(data, course, list(ensemble.models[0].plans))
    data.write_h5ad(folder.samples / "cells.h5ad", compression="gzip")
    write_trajectories(problem, folder, simulated, about, "trajectories")
    write_imputed(config, problem, folder, ensemble, about)


def about_run(config: Config, problem: Problem, ensemble: Ensemble) -> dict[str, Any]:
    """What `uns['workbench']` holds."""
    return {
        "method": ensemble.chosen.method,
        "time_key": problem.course.time_key,
        "time_unit": problem.course.time_unit,
        "space": problem.space.name,
        "expression": problem.space.normalise,
        "velocity": "per unit of the time column",
        "config": json.dumps(to_plain(config)),
    }


def in_file_order(course: Timecourse, parts: Any) -> torch.Tensor:
    """One tensor per time as one tensor [cell, ...] in the order of the file."""
    rows = np.concatenate([course.at(i) for i in range(course.n_times)])
    stacked = torch.cat(list(parts))
    ordered = torch.empty_like(stacked)
    ordered[torch.from_numpy(rows)] = stacked
    return ordered


def _add_fates(data: Any, course: Timecourse, shots: CellSnapshots, fates: Fates) -> None:
    """obsm['fate_probabilities'], NaN for cells that were not followed; the last time has its labels."""
    table = np.full((data.n_obs, len(fates.populations.names)), np.nan)
    for k, (rows, probability) in enumerate(zip(fates.rows, fates.probability, strict=True)):
        table[course.at(k)[rows.numpy()]] = probability.numpy()
    table[course.at(shots.n_times - 1)] = np.eye(table.shape[1])[fates.populations.member]
    data.obsm["fate_probabilities"] = table
    data.uns["workbench"]["fates"] = list(fates.populations.names)


def write_trajectories(
    problem: Problem, folder: RunFolder, simulated: Simulated, about: dict[str, Any], name: str
) -> Path:
    """Rows by path, then time."""
    n_times, n_paths, dim = simulated.x.shape
    obs = pd.DataFrame(
        {
            "trajectory": np.repeat(np.arange(n_paths), n_times),
            "time": np.tile(simulated.times.numpy(), n_paths),
        }
    )
    points = simulated.x.transpose(0, 1).reshape(-1, dim)
    data = output.points_file(problem.space, problem.course.data.var_names, points, obs, about)
    path = folder.samples / f"{name}.h5ad"
    data.write_h5ad(path, compression="gzip")
    return path


def write_imputed(
    config: Config, problem: Problem, folder: RunFolder, ensemble: Ensemble, about: dict[str, Any]
) -> None:
    generator = problem.generator(config.seed, "impute")
    parts = impute(config, ensemble, problem.snapshots, generator)
    times = np.concatenate([np.full(len(part.cells), part.time) for part in parts])
    obs = pd.DataFrame({"time": times})
    data = output.points_file(
        problem.space,
        problem.course.data.var_names,
        torch.cat([part.cells for part in parts]),
        obs,
        about,
        torch.cat([part.deviation for part in parts]),
    )
    data.write_h5ad(folder.samples / "imputed.h5ad", compression="gzip")


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int) -> Path:
    """`n` more trajectories of the final fit, in a file of their own."""
    stem = f"more-{len(list(folder.samples.glob('more-*.h5ad'))) + 1}"
    folds = validate(config, problem, folder)
    ensemble = fit_final(config, problem, choose(config, folds), folder)
    generator = problem.generator(config.seed, stem)
    simulated = trajectories(config, ensemble, problem.snapshots, n, generator)
    about = about_run(config, problem, ensemble)
    return write_trajectories(problem, folder, simulated, about, stem)
