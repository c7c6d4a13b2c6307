"""The figures of metrics.json: each with its error, floor, baseline and reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from domains.molecules.basins import free_energy_differences, populations
from domains.molecules.ramachandran import ramachandran_divergence
from pipelines.boltzmann.drawn import Drawn
from pipelines.boltzmann.prepare import Problem
from pipelines.boltzmann.references import Baseline, Reference
from workbench.mcmc.diagnostics import diagnose
from workbench.metrics.distances import energy_w2, pair_distance_tvd
from workbench.metrics.floors import noise_floor
from workbench.metrics.modes import mode_statistics
from workbench.metrics.virial import mean_virial
from workbench.problem import Estimate
from workbench.runs.metrics import Figure
from workbench.samples import WeightedSamples

Figures = dict[str, Figure]
# Distances between all pairs of larger sets add nothing but time.
MOST_FOR_DISTANCES = 5000
# Weights worth fewer samples than this say nothing, and their errors would not know it.
FEWEST_EFFECTIVE = 5.0

MEANINGS = {
    "mean_energy": "mean reduced energy of the raw samples",
    "mean_energy_weighted": "mean reduced energy by importance weights",
    "energy_w2": "Wasserstein-2 distance (rooted) between the energies of samples and reference",
    "energy_w2_weighted": "the same for the weighted samples",
    "energy_w2_polished": "the same after polishing the raw samples by HMC",
    "energy_w2_polished_control": "the same polishing of relaxed random starts",
    "pair_distance_tvd": "total variation between histograms of all pair distances, 200 bins",
    "virial": "mean of x . grad u; equals the degrees of freedom for a correct density",
    "ess_fraction": "Kish effective sample size of the weights over N, at full N",
    "pareto_k": "tail shape of the weights; above 0.7 no weighted figure can be trusted",
    "log_partition": "log Z by importance weights",
    "log_partition_error": "distance of log Z from the known value",
    "modes_found": "modes that hold a quarter of their expected share within 3 sd",
    "mode_weight_tvd": "total variation between mode weights and their true values",
    "phi_positive_population": "share of samples with 0 < phi < 2 rad",
    "ramachandran_jsd": "Jensen-Shannon divergence of (phi, psi) to the reference, nats",
    "r_hat_energy": "split R-hat of the energy; 1 = the chains agree",
    "r_hat_geometric": "split R-hat of the geometric variable",
    "ess_energy": "independent samples by the autocorrelation of the energy",
    "ess_geometric": "independent samples by the autocorrelation of the geometric variable",
    "acceptance": "mean acceptance of the moves",
    "swap_rate": "smallest swap rate between neighbouring temperatures",
    "round_trips": "journeys from the target to the hottest temperature and back; n = ladders",
    "n_energy_evaluations": "energies computed in training and sampling, with or without force",
    "seconds": "training and sampling, without compilation and evaluation",
    "cpu_seconds": "the same in processor time",
    "seconds_total": "everything",
}
HIGHER_IS_BETTER = ("ess_fraction", "modes_found", "ess_energy", "ess_geometric")


@dataclass(frozen=True)
class Comparison:
    """Everything the figures are made from."""

    problem: Problem
    drawn: Drawn
    reference: Reference | None
    baseline: Baseline | None
    generator: torch.Generator


def energy_floor(reference: Reference | None, n: int, generator: torch.Generator) -> float | None:
    """Energy-W2 between two parts of the reference, one of them of `n` samples."""
    if reference is None:
        return None
    samples = reference.samples
    chain = samples.chain if samples.chain is not None and int(samples.chain.max()) else None
    return noise_floor(energy_w2, samples.energy, n, generator, chain=chain).value


def evaluate(comparison: Comparison) -> Figures:
    """All figures that apply to this problem and sampler; those that do not are left out."""
    figures = _energy_figures(comparison)
    figures |= _weighted_figures(comparison)
    figures |= _mode_figures(comparison)
    figures |= _molecule_figures(comparison)
    figures |= _chain_figures(comparison.drawn)
    cost = comparison.drawn.cost
    figures |= {
        "n_energy_evaluations": Figure(cost.n_evaluations),
        "seconds": Figure(cost.seconds, unit="s"),
        "cpu_seconds": Figure(cost.cpu_seconds, unit="s"),
    }
    return figures | comparison.drawn.figures


def _energy_figures(c: Comparison) -> Figures:
    raw, known = c.drawn.raw, c.problem.energy.known
    base = c.baseline.samples if c.baseline else None
    truth = known.mean_energy
    if truth is None and c.reference is not None:
        truth = c.reference.samples.mean_energy()
    figures = {
        "mean_energy": _estimate(
            raw.mean_energy(),
            len(raw),
            reference=truth,
            baseline=base.mean_energy().value if base else None,
            unit="kT",
        ),
        "virial": _virial(c, raw),
    }
    if c.reference is None:
        return figures
    reference = c.reference.samples
    figures["energy_w2"] = Figure(
        energy_w2(raw.energy, reference.energy, _weights(raw)),
        n=len(raw),
        floor=energy_floor(c.reference, len(raw), c.generator),
        baseline=energy_w2(base.energy, reference.energy) if base else None,
        unit="kT",
    )
    if not c.problem.is_synthetic:
        figures["pair_distance_tvd"] = _distances(c, raw, base)
    return figures


def _virial(c: Comparison, samples: WeightedSamples) -> Figure:
    force = c.problem.energy.wrapped.energy_and_force(samples.x)[1]
    return _estimate(
        mean_virial(samples, force),
        len(samples),
        reference=Estimate(c.problem.energy.degrees_of_freedom),
        unit="kT",
    )


def _distances(c: Comparison, raw: WeightedSamples, base: WeightedSamples | None) -> Figure:
    assert c.reference is not None
    every = c.reference.samples
    stride = max(1, len(every) // (2 * MOST_FOR_DISTANCES))
    reference = every.x[::stride]
    few, weights = _few(raw)

    def metric(a: Tensor, b: Tensor) -> float:
        return pair_distance_tvd(a, b)

    return Figure(
        pair_distance_tvd(few, reference, weights),
        n=len(few),
        floor=noise_floor(metric, reference, len(few), c.generator, n_splits=3).value,
        baseline=pair_distance_tvd(_few(base)[0], reference) if base else None,
    )


def _few(samples: WeightedSamples) -> tuple[Tensor, Tensor | None]:
    stride = max(1, len(samples) // MOST_FOR_DISTANCES)
    weights = _weights(samples)
    return samples.x[::stride], None if weights is None else weights[::stride]


def _weighted_figures(c: Comparison) -> Figures:
    weighted, known = c.drawn.weighted, c.problem.energy.known
    if weighted is None:
        return {}
    n = len(weighted)
    if weighted.ess() < FEWEST_EFFECTIVE:
        why = f"the weights of {n} samples are worth {weighted.ess():.1f} of them"
        names = ["pareto_k", "mean_energy_weighted"]
        names += ["log_partition"] * c.drawn.log_z_known
        names += ["log_partition_error"] * (known.log_partition is not None)
        names += ["energy_w2_weighted"] * (c.reference is not None)
        without = {name: Figure(None, n=n, why=why) for name in names}
        return {"ess_fraction": Figure(weighted.ess_fraction(), n=n), **without}
    figures = {
        "ess_fraction": Figure(weighted.ess_fraction(), n=n),
        "pareto_k": Figure(weighted.pareto_k(), n=n),
        "mean_energy_weighted": _estimate(
            weighted.mean_energy(), n, reference=known.mean_energy, unit="kT"
        ),
    }
    if c.drawn.log_z_known:
        log_z, truth = weighted.log_partition(), known.log_partition
        known_log_z = None if truth is None else Estimate(truth)
        figures["log_partition"] = _estimate(log_z, n, reference=known_log_z)
        if truth is not None:
            error = abs(log_z.value - truth)
            figures["log_partition_error"] = Figure(error, stderr=log_z.stderr, n=n)
    if c.reference is not None:
        figures["energy_w2_weighted"] = Figure(
            energy_w2(weighted.energy, c.reference.samples.energy, weighted.weights()),
            n=n,
            floor=energy_floor(c.reference, max(2, round(weighted.ess())), c.generator),
            unit="kT",
        )
    return figures


def _mode_figures(c: Comparison) -> Figures:
    known = c.problem.energy.known
    if known.mode_centres is None or c.reference is None:
        return {}
    raw = c.drawn.raw
    found = mode_statistics(raw.x, _weights(raw), known)
    base = mode_statistics(c.baseline.samples.x, None, known) if c.baseline else None

    def spread(a: Tensor, _: Tensor) -> float:
        return mode_statistics(a, None, known).mode_weight_tvd

    n = len(raw)
    return {
        "modes_found": Figure(
            found.modes_found,
            n=n,
            reference=found.n_modes,
            baseline=base.modes_found if base else None,
        ),
        "mode_weight_tvd": Figure(
            found.mode_weight_tvd,
            n=n,
            floor=noise_floor(spread, c.reference.samples.x, n, c.generator).value,
            baseline=base.mode_weight_tvd if base else None,
        ),
    }


def _molecule_figures(c: Comparison) -> Figures:
    molecule, raw = c.problem.molecule, c.drawn.raw
    if molecule is None:
        return {}
    figures: Figures = {}
    for found in populations(raw, molecule.basins):
        figures[f"population/{found.basin}"] = _optional(found.value, found.n_samples, found.why)
    for change in free_energy_differences(raw, molecule.basins, molecule.kt_kj_per_mol):
        name = f"free_energy/{change.start}->{change.end}"
        value = change.value_kj_per_mol
        figures[name] = _optional(value, len(raw), change.why, unit="kJ/mol")
    angles = molecule.angles(raw.x)
    if angles is None:
        return figures
    truth = None
    if c.reference is not None:
        reference_angles = molecule.angles(c.reference.samples.x)
        assert reference_angles is not None
        truth = c.reference.samples.expectation(molecule.phi_is_positive(reference_angles))
        n = _independent(c.drawn)
        found_jsd, floor = ramachandran_divergence(raw, angles, reference_angles, c.generator, n)
        figures["ramachandran_jsd"] = Figure(
            found_jsd, n=n or len(raw), floor=floor.value, unit="nat"
        )
    share = raw.expectation(molecule.phi_is_positive(angles))
    positive = _estimate(share, len(raw), reference=truth)
    if share.value in (0.0, 1.0):  # no spread among the samples, which is not to be sure
        positive = replace(positive, stderr=None, why="every sample says the same")
    return figures | {"phi_positive_population": positive}


def _chain_figures(drawn: Drawn) -> Figures:
    figures: Figures = {}
    for name, trace in (("energy", drawn.energies), ("geometric", drawn.geometric)):
        if trace is None or len(trace) < 8:
            continue
        found = diagnose(trace)
        figures[f"r_hat_{name}"] = Figure(found.r_hat, n=trace.numel())
        figures[f"ess_{name}"] = Figure(found.ess, n=trace.numel())
    return figures


def _independent(drawn: Drawn) -> int | None:
    """Independent samples by the slower of the two variables, for floors."""
    traces = [t for t in (drawn.energies, drawn.geometric) if t is not None and len(t) >= 8]
    return max(1, round(min(diagnose(t).ess for t in traces))) if traces else None


def two_starts(drawn: Drawn, value: Callable[[Tensor], Tensor], name: str) -> str | None:
    """Where the chains started from two sets: what each half says, and how far they are apart."""
    raw = drawn.raw
    if raw.chain is None:
        return None
    half = int(raw.chain.max() + 1) // 2
    values = value(raw.x).double()
    halves = []
    for inside in (raw.chain < half, raw.chain >= half):
        part = WeightedSamples(raw.x[inside], raw.energy[inside], None, raw.chain[inside])
        halves.append(part.expectation(values[inside]))
    a, b = halves
    together = math.hypot(a.stderr, b.stderr)
    apart = abs(a.value - b.value) / together if together else math.inf
    return (
        f"{name}: {a.value:.4g} ± {a.stderr:.2g} from the first set of starts, {b.value:.4g} ± "
        f"{b.stderr:.2g} from the second, {apart:.2g} combined standard errors apart."
    )


def _weights(samples: WeightedSamples) -> Tensor | None:
    return None if samples.log_weights is None else samples.weights()


def _estimate(
    found: Estimate,
    n: int,
    reference: Estimate | None = None,
    baseline: float | None = None,
    unit: str | None = None,
) -> Figure:
    """Where the reference has an error of its own, that error is the floor of the comparison."""
    value = None if reference is None else reference.value
    floor = None if reference is None else (reference.stderr or None)
    return Figure(found.value, found.stderr, n, floor, baseline, value, unit)


def _optional(found: Estimate | None, n: int, why: str | None, unit: str | None = None) -> Figure:
    if found is None:
        return Figure(None, n=n, unit=unit, why=why)
    return Figure(found.value, found.stderr, n, unit=unit)
