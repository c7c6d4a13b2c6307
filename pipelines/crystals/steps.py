"""The pipeline: train -> sample -> score -> compare -> relax -> judge -> write -> report."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pymatgen.analysis.structure_matcher import StructureMatcher

from domains.crystals import judging
from domains.crystals.crystals import Crystals
from domains.crystals.relaxation import relax
from domains.crystals.structures import structures
from pipelines.crystals import evaluation, files, presentation, stages, training
from pipelines.crystals.evaluation import AfterRelaxation, Comparison, Judged
from pipelines.crystals.options import Config
from pipelines.crystals.prepare import Problem
from pipelines.crystals.references import (
    Substitution,
    chain_energies,
    random_search,
    substitution,
)
from pipelines.crystals.training import Drawn
from pipelines.lifecycle import finish
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure


def work(config: Config, problem: Problem, folder: RunFolder) -> None:
    """Everything from the first step to the report; training that is done is not done again."""
    small = training.playground(config, folder)
    way = _way(problem)
    trained = way.train(config, problem, folder)
    policy: Any = trained.state[0].average.module
    wall, cpu = time.perf_counter(), time.process_time()
    drawn = way.draw(problem, policy, config.n_samples, problem.generator(config.seed, "sampling"))
    seconds = trained.seconds + time.perf_counter() - wall
    cpu_seconds = trained.cpu_seconds + time.process_time() - cpu

    judged = judge(problem, folder, drawn)
    n_evaluations = problem.energy.n_evaluations
    search = random_search(config, problem, n_evaluations) if config.baseline else None
    types = substitution(config, problem, n_evaluations)
    order = (
        np.argsort(types.energies_ev_per_atom, kind="stable") if config.baseline else np.array([])
    )
    comparison = Comparison(
        config,
        problem,
        judged,
        _relaxed(
            config, problem, drawn.crystals, judged.energies_ev_per_atom, judged.representatives
        ),
        _relaxed(config, problem, types.crystals, types.energies_ev_per_atom, order),
        _novel(problem, judged, types),
        search,
        types,
        None if problem.stages else chain_energies(problem, trained.state[-1], len(drawn.crystals)),
        small,
        n_evaluations,
    )
    files.write_samples(comparison, folder)
    figures = evaluation.evaluate(comparison)
    figures |= {
        "seconds": Figure(seconds, unit="s"),
        "cpu_seconds": Figure(cpu_seconds, unit="s"),
    }
    finish(
        config,
        folder,
        figures,
        presentation.sections(comparison, folder),
        evaluation,
        energy=problem.energy.name,
        n_energy_evaluations=problem.energy.n_evaluations,
    )


def _way(problem: Problem) -> ModuleType:
    """The module that trains and draws: with atoms, or in three stages."""
    return training if problem.stages is None else stages


def judge(problem: Problem, folder: RunFolder, drawn: Drawn) -> Judged:
    """Energies, classes, types and symmetry of every sample; their CIF files are written on the way."""
    energies = problem.energy.formation_energy_ev_per_atom(drawn.crystals)
    cells = structures(drawn.crystals)
    paths = files.write_cifs(folder.samples / "cif", cells)
    return Judged(
        drawn,
        cells,
        energies,
        judging.classes(drawn.crystals, cells),
        evaluation.prototypes(problem, drawn),
        judging.faithful(paths, drawn.crystals.group.tolist()),
    )


def _relaxed(
    config: Config,
    problem: Problem,
    crystals: Crystals | None,
    energies_ev_per_atom: Float[np.ndarray, "crystal"],
    order: Int[np.ndarray, "row"],
) -> AfterRelaxation | None:
    """The first `config.relax` of `order` relaxed; None where there are none."""
    rows = order[: config.relax].astype(np.int64)
    if crystals is None or not len(rows):
        return None
    some = crystals.select(rows)
    found = relax(some, problem.energy)
    matcher = StructureMatcher(primitive_cell=True, scale=True)
    pairs = zip(structures(some), structures(found.crystals), strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = np.array([matcher.fit(before, after) for before, after in pairs], dtype=np.bool_)
    return AfterRelaxation(rows, energies_ev_per_atom[rows], found, kept)


def _novel(problem: Problem, judged: Judged, types: Substitution) -> Bool[np.ndarray, "class"]:
    """Which distinct structures match no known one."""
    known = problem.known
    if known is None:
        known = structures(types.crystals) if types.crystals is not None else []
    return judging.novel([judged.cells[row] for row in judged.representatives], known)


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int) -> Path:
    """`n` more crystals of the trained sampler as extended XYZ, with energies and log-probabilities."""
    stem = f"more-{len(list(folder.samples.glob('more-*.extxyz'))) + 1}"
    way = _way(problem)
    trained = way.train(config, problem, folder)
    policy: Any = trained.state[0].average.module
    drawn = way.draw(problem, policy, n, problem.generator(config.seed, stem))
    energies = problem.energy.formation_energy_ev_per_atom(drawn.crystals)
    path = folder.samples / f"{stem}.extxyz"
    files.write_extended_xyz(path, drawn, structures(drawn.crystals), energies)
    return path
