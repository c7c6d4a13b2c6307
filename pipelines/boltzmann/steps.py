"""The pipeline: sample -> compare -> evaluate -> write -> report."""

from __future__ import annotations

from pathlib import Path

from domains.molecules.trajectory_files import SystemRecord, write_arrays, write_trajectory
from pipelines.boltzmann import chains, evaluation, learned, polishing, presentation, sampling
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.prepare import Problem
from pipelines.boltzmann.references import find_reference, run_baseline
from pipelines.lifecycle import finish
from workbench.errors import InputError
from workbench.runs.folder import RunFolder
from workbench.samples import WeightedSamples


def work(config: Config, problem: Problem, folder: RunFolder) -> None:
    """Everything from the first sample to the report; what is done already is not done again."""
    drawn = sampling.draw(config, problem, folder)
    write_samples(config, problem, folder, drawn.raw, "samples")
    if drawn.weighted is not None and drawn.weighted is not drawn.raw:
        write_samples(config, problem, folder, drawn.weighted, "weighted")

    generator = problem.generator(config.seed, "evaluation")
    reference = find_reference(config, problem, folder)
    baseline = None
    if config.baseline and problem.sampler == "idem":
        floor = evaluation.energy_floor(reference, len(drawn.raw), generator)
        baseline = run_baseline(config, problem, reference, floor, drawn.cost)
        if baseline is None:
            drawn.lines.append("The baseline did not warm up in five minutes and is left out.")

    comparison = evaluation.Comparison(problem, drawn, reference, baseline, generator)
    figures = evaluation.evaluate(comparison)
    polished = None
    if config.polish_steps:
        polished = polishing.run_polishing(config, problem, drawn.raw, reference)
        figures |= polished.figures

    sections = presentation.sections(config, comparison, polished, folder)
    finish(
        config,
        folder,
        figures,
        sections,
        evaluation,
        system=SystemRecord.of(problem.energy).name,
        system_sha256=getattr(problem.energy, "system_sha256", None),
        temperature_kelvin=getattr(problem.energy, "temperature_kelvin", None),
        n_energy_evaluations=drawn.cost.n_evaluations,
        n_energy_evaluations_baseline=baseline.cost.n_evaluations if baseline else None,
    )


def write_samples(
    config: Config, problem: Problem, folder: RunFolder, samples: WeightedSamples, stem: str
) -> list[Path]:
    """A molecule's samples as trajectory, PDB and weights; any others as npz."""
    record = SystemRecord.of(problem.energy)
    if problem.molecule is None:
        return write_arrays(folder.samples, stem, samples, record)
    topology, file_format = problem.molecule.topology, config.trajectory_format
    return write_trajectory(folder.samples, stem, samples, topology, record, file_format)


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int) -> Path:
    """`n` weighted samples of a trained iDEM by its probability flow, or `n` more of the chains.

    Raises InputError for a run whose sampler keeps no state to go on from."""
    stem = f"more-{len(list(folder.samples.glob('more-*.json'))) + 1}"
    if problem.sampler == "idem":
        trained = learned.train_idem(config, problem, folder)
        model = trained.state[0].average.module
        samples, _ = learned.flow_samples(config, problem, folder, model, n, stem)
    elif problem.sampler in ("pt", "hmc", "mala"):
        samples = chains.continue_chains(config, problem, folder, n, stem)
    else:
        raise InputError(
            f"a run of {problem.sampler} keeps no sampler to draw from: run it again with more"
        )
    return write_samples(config, problem, folder, samples, stem)[0]
