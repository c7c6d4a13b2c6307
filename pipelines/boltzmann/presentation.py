"""The report: what was sampled, how, the figures, and what a reader should look at."""

from __future__ import annotations

import numpy as np
import torch

from domains.molecules.figures import ramachandran_figure
from domains.molecules.ramachandran import ramachandran_map
from domains.molecules.torsions import chirality_centres, chirality_sign
from pipelines.boltzmann.evaluation import Comparison, two_starts
from pipelines.boltzmann.options import Config
from pipelines.boltzmann.polishing import Polished
from workbench.metrics import figures as draw
from workbench.metrics.figures import Curve, Sampled
from workbench.metrics.modes import mode_statistics
from workbench.runs.folder import RunFolder
from workbench.runs.plotting import save
from workbench.runs.report import FigureFile, Section

MOST_DRAWN = 5000


def sections(
    config: Config, c: Comparison, polished: Polished | None, folder: RunFolder
) -> list[Section]:
    """What the report shows under the table of figures, with the pictures written to the folder."""
    result = [
        Section("What was sampled", c.problem.description + _units(c)),
        Section("How", c.drawn.lines + _comparison_lines(c)),
        Section("Energies and distances", figures=_histograms(c, folder)),
    ]
    if c.problem.energy.known.mode_centres is not None and c.problem.energy.event_shape == (2,):
        result.append(Section("Modes", figures=_modes(c, folder)))
    if c.problem.molecule is not None:
        result.append(_molecule_section(c, folder))
    if c.drawn.energies is not None and c.drawn.geometric is not None:
        result.append(_chains_section(config, c, folder))
    if c.baseline is not None and len(c.baseline.spent) > 1:
        result.append(_baseline_section(c, folder))
    if polished is not None:
        result.append(_polish_section(polished, folder))
    return result


def _units(c: Comparison) -> list[str]:
    length = "nm" if c.problem.energy.length_unit == "nm" else "the system's reduced unit"
    return [f"Energies are in kT, lengths in {length}."]


def _comparison_lines(c: Comparison) -> list[str]:
    lines = [
        f"Reference: {c.reference.line}."
        if c.reference
        else "No reference samples are at hand: figures that need them are left out."
    ]
    if c.problem.energy.known.source:
        lines.append(f"Known answers: {c.problem.energy.known.source}.")
    if c.baseline is not None:
        lines.append(f"Baseline: {c.baseline.line}")
    return lines


def _save(folder: RunFolder, figure: object, name: str, caption: str) -> FigureFile:
    path = save(figure, folder.figures, name)  # type: ignore[arg-type]
    return FigureFile(path.relative_to(folder.path), caption)


def _sets(c: Comparison) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """Name -> configurations, energies, weights; the reference first where there is one."""
    sets: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = {}
    if c.reference is not None:
        sets["reference"] = (c.reference.samples.x, c.reference.samples.energy, None)
    raw = c.drawn.raw
    sets["samples"] = (raw.x, raw.energy, None if raw.log_weights is None else raw.weights())
    if c.drawn.weighted is not None and c.drawn.weighted is not raw:
        weighted = c.drawn.weighted
        sets["weighted"] = (weighted.x, weighted.energy, weighted.weights())
    if c.baseline is not None:
        sets["parallel tempering"] = (c.baseline.samples.x, c.baseline.samples.energy, None)
    return sets


def _histograms(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    sets = _sets(c)
    has_reference = c.reference is not None
    energies = {name: Sampled(u, w) for name, (_, u, w) in sets.items()}
    files = [
        _save(
            folder,
            draw.energy_histogram(energies, has_reference=has_reference),
            "energy",
            "Reduced energies. Samples outside the range drawn are counted in the legend.",
        )
    ]
    if len(c.problem.energy.event_shape) != 2:
        return files
    distances = {}
    for name, (x, _, w) in sets.items():
        stride = max(1, len(x) // MOST_DRAWN)
        distances[name] = Sampled(x[::stride], None if w is None else w[::stride])
    unit = None if c.problem.energy.length_unit == "1" else c.problem.energy.length_unit
    figure = draw.pair_distance_figure(distances, has_reference=has_reference, unit=unit)
    caption = "Distances between all pairs of particles."
    return [*files, _save(folder, figure, "pair_distances", caption)]


def _modes(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    raw = c.drawn.raw
    found = mode_statistics(raw.x, None, c.problem.energy.known)
    figure = draw.mode_coverage(c.problem.energy.wrapped, raw.x, found)
    caption = "Raw samples over the contours of the density; circles mark the modes."
    return [_save(folder, figure, "modes", caption)]


def _molecule_section(c: Comparison, folder: RunFolder) -> Section:
    molecule, raw = c.problem.molecule, c.drawn.raw
    assert molecule is not None
    lines = [f"Basin {basin.name}: {basin.text}" for basin in molecule.basins]
    lines += _chirality(c)
    angles = molecule.angles(raw.x)
    if angles is None:
        return Section("Basins", lines)
    reference = None
    if c.reference is not None:
        reference_angles = molecule.angles(c.reference.samples.x)
        assert reference_angles is not None
        reference = ramachandran_map(c.reference.samples, reference_angles)
    figure = ramachandran_figure(
        ramachandran_map(raw, angles), reference, kt_kj_per_mol=molecule.kt_kj_per_mol
    )
    caption = "Free energy over the backbone torsions, its standard error, and the reference."
    return Section("Basins and torsions", lines, [_save(folder, figure, "ramachandran", caption)])


def _chirality(c: Comparison) -> list[str]:
    """Force fields keep no handedness: a sampler may carry a molecule to its mirror image."""
    molecule, raw = c.problem.molecule, c.drawn.raw
    assert molecule is not None
    if molecule.topology is None:
        return []
    centres = chirality_centres(molecule.topology)
    if not len(centres):
        return []
    left = (chirality_sign(raw.x, centres) > 0).all(dim=1).double().mean()
    return [f"All alpha carbons are L in {float(left):.2%} of the samples."]


def _chains_section(config: Config, c: Comparison, folder: RunFolder) -> Section:
    energies, geometric = c.drawn.energies, c.drawn.geometric
    assert energies is not None and geometric is not None
    lines = []
    if config.start == "both":
        name = c.problem.geometric_name
        lines += [two_starts(c.drawn, c.problem.geometric, f"Mean {name}")]
        molecule = c.problem.molecule
        if molecule is not None:

            def positive(x: torch.Tensor) -> torch.Tensor:
                angles = molecule.angles(x)
                assert angles is not None
                return molecule.phi_is_positive(angles)

            lines += [two_starts(c.drawn, positive, "Population of 0 < phi < 2 rad")]
    unit = c.problem.energy.length_unit
    geometric_unit = unit if unit != "1" and "radius" in c.problem.geometric_name else None
    figure = draw.traces(
        {"energy": energies, c.problem.geometric_name: geometric},
        units={"energy": "kT", c.problem.geometric_name: geometric_unit},
        steps_per_row=config.chain.thin,
    )
    files = [_save(folder, figure, "traces", "The first chains over time, and the mean of all.")]
    return Section("Chains", [line for line in lines if line], files)


def _baseline_section(c: Comparison, folder: RunFolder) -> Section:
    assert c.baseline is not None
    distances = np.array(c.baseline.energy_w2)
    evaluations = torch.tensor([spent.n_evaluations for spent in c.baseline.spent]).double()
    curve = Curve(evaluations, torch.from_numpy(distances))
    figure = draw.curves(
        {"parallel tempering": curve},
        xlabel="energy evaluations",
        ylabel="energy $W_2$",
        unit="kT",
        log_x=True,
        log_y=True,
    )
    lines = [f"The learned sampler took {c.drawn.cost.n_evaluations:,} evaluations."]
    caption = "Quality of the classical sampler against its cost."
    return Section("The classical sampler", lines, [_save(folder, figure, "baseline", caption)])


def _polish_section(polished: Polished, folder: RunFolder) -> Section:
    steps = torch.tensor(polished.steps).double()
    figure = draw.polishing_curve(
        Curve(steps, torch.tensor(polished.samples)),
        Curve(steps, torch.tensor(polished.control)),
        ylabel=polished.label,
    )
    lines = [
        "Every sample starts a chain of short HMC moves. Step sizes adapt in the first half. Samples "
        "that are polished no faster than random starts have been of no use."
    ]
    caption = "Polishing of the raw samples, and of relaxed random starts."
    return Section("Polishing", lines, [_save(folder, figure, "polishing", caption)])
