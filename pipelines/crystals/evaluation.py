"""The figures of metrics.json: each with its error, baseline and reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from pymatgen.core import Structure

from domains.crystals import judging
from domains.crystals.balance import largest_share
from domains.crystals.hull import fractions
from domains.crystals.prototypes import type_name
from domains.crystals.relaxation import Relaxed
from pipelines.crystals.options import Config
from pipelines.crystals.prepare import Problem
from pipelines.crystals.references import Search, Substitution
from pipelines.crystals.training import Drawn, PlaygroundResult
from workbench.runs.metrics import Figure

NEAR_HULL_EV_PER_ATOM = 0.1

MEANINGS = {
    "fraction_valid": "no two atoms within 0.5 A, and a volume",
    "fraction_neutral": "neutral with one oxidation state per element (SMACT, ICSD 2024, no zeros)",
    "fraction_redrawn": "draws with atoms too close or with more symmetry than their group, drawn again",
    "fraction_unique": "distinct by StructureMatcher (primitive, scaled) over all samples",
    "fraction_novel": "distinct structures that match no known one",
    "symmetry_fidelity": "written CIF files in which spglib finds the sampled group at 0.01 A",
    "n_prototypes": "different (anonymous formula, group, Wyckoff sequence)",
    "largest_prototype_share": "share of the most frequent of them",
    "largest_anion_share": "share of crystals with the most frequent anion",
    "median_formation_energy_ev_per_atom": "of all samples as drawn; baseline: of the best n of random "
    "search at equal evaluations",
    "best_formation_energy_ev_per_atom": "lowest of all samples as drawn; baseline: random search",
    "fraction_near_hull": "of the relaxed (as drawn where none are) within 0.1 eV/atom of the hull of "
    "elements and substituted types; baseline: as many of the lowest substituted types, relaxed too",
    "relaxation_energy_drop_ev_per_atom": "mean fall of the energy in relaxation; baseline: substituted types",
    "fraction_keeping_prototype": "relaxed crystals that match what was drawn; baseline: substituted types",
    "n_space_groups": "groups among the samples",
    "n_elements": "elements among the samples",
    "space_group_entropy": "of the shares of groups",
    "element_entropy": "of the shares of elements over atoms",
    "reward_calibration": "correlation of log p with the log-reward that the sampler learned from",
    "fitted_energy_error_ev_per_atom": "mean error of the fast energy on the samples",
    "playground_tvd": "total variation from the exact law over crystals on the small listed space",
    "playground_log_partition_error": "error of log Z there",
    "n_chgnet_evaluations": "CHGNet evaluations of learning and of the samples, without relaxation",
    "n_energy_evaluations": "evaluations of the final energy in learning and for the samples",
    "seconds": "training and sampling",
    "cpu_seconds": "the same in processor time",
    "seconds_total": "everything",
}
HIGHER_IS_BETTER = (
    "fraction_valid",
    "fraction_neutral",
    "fraction_unique",
    "fraction_novel",
    "symmetry_fidelity",
    "n_prototypes",
    "fraction_near_hull",
    "fraction_keeping_prototype",
    "n_space_groups",
    "n_elements",
    "space_group_entropy",
    "element_entropy",
    "reward_calibration",
)


@dataclass(frozen=True)
class Judged:
    """What is known of every sample.

    group_of       number of its class, equal for crystals that match
    prototype      its structure type
    """

    drawn: Drawn
    cells: list[Structure]
    energies_ev_per_atom: Float[np.ndarray, "crystal"]
    group_of: Int[np.ndarray, "crystal"]
    prototype: list[str]
    faithful: Bool[np.ndarray, "crystal"]

    @property
    def representatives(self) -> Int[np.ndarray, "class"]:
        """The lowest sample of each class, lowest class first."""
        order = np.argsort(self.energies_ev_per_atom, kind="stable")
        _, first = np.unique(self.group_of[order], return_index=True)
        return order[np.sort(first)]


@dataclass(frozen=True)
class AfterRelaxation:
    """Crystals that were relaxed.

    rows     of the batch they come from; `before_ev_per_atom` their energies there
    kept     whether each still matches what it was
    """

    rows: Int[np.ndarray, "relaxed"]
    before_ev_per_atom: Float[np.ndarray, "relaxed"]
    found: Relaxed
    kept: Bool[np.ndarray, "relaxed"]

    @property
    def drop_ev_per_atom(self) -> Float[np.ndarray, "relaxed"]:
        return self.before_ev_per_atom - self.found.energy_ev_per_atom


@dataclass(frozen=True)
class Comparison:
    """Everything the figures are made from; `relaxed` are samples, `types_relaxed` substituted types, `chains`
    energies of the Markov chains that the sampler learned from, where it had any."""

    config: Config
    problem: Problem
    judged: Judged
    relaxed: AfterRelaxation | None
    types_relaxed: AfterRelaxation | None
    novel: Bool[np.ndarray, "class"]
    search: Search | None
    substitution: Substitution
    chains: Float[np.ndarray, "chain"] | None
    playground: PlaygroundResult | None
    n_evaluations: int


def prototypes(problem: Problem, drawn: Drawn) -> list[str]:
    """Structure type of each sample."""
    rows = range(len(drawn.crystals))
    return [type_name(problem.equivalents, drawn.state.orbits, row) for row in rows]


def evaluate(c: Comparison) -> dict[str, Figure]:
    """All figures but times."""
    crystals, judged = c.judged.drawn.crystals, c.judged
    n = len(crystals)
    energies = judged.energies_ev_per_atom
    types = Counter(judged.prototype)
    median, error = judging.median_and_error(energies)
    atoms = crystals.kind[crystals.kind >= 0]
    search = c.search
    best = float(search.best(1)[0]) if search else None
    middle = float(np.median(search.best(n))) if search else None
    on_chgnet = c.config.energy == "chgnet"
    figures = {
        "fraction_valid": _share(judging.valid(crystals)),
        "fraction_neutral": _share(judging.neutral(crystals)),
        "fraction_redrawn": Figure(c.judged.drawn.redrawn, n=n),
        "fraction_unique": Figure(len(judged.representatives) / n, n=n),
        "fraction_novel": _share(c.novel),
        "symmetry_fidelity": _share(judged.faithful),
        "n_prototypes": Figure(len(types), n=n),
        "largest_prototype_share": Figure(max(types.values()) / n, n=n),
        "largest_anion_share": Figure(largest_share("anion", crystals)[1], n=n),
        "median_formation_energy_ev_per_atom": Figure(
            median, error, n, baseline=middle, unit="eV/atom"
        ),
        "best_formation_energy_ev_per_atom": Figure(
            float(energies.min()), n=n, baseline=best, unit="eV/atom"
        ),
        "n_space_groups": Figure(len(set(crystals.group.tolist())), n=n),
        "n_elements": Figure(len(set(atoms.tolist())), n=n, reference=len(crystals.elements)),
        "space_group_entropy": Figure(judging.entropy(crystals.group.tolist()), n=n, unit="nat"),
        "element_entropy": Figure(judging.entropy(atoms.tolist()), n=n, unit="nat"),
        "reward_calibration": _calibration(judged),
    }
    figures |= _relaxed_figures(c) | _playground_figures(c)
    if c.problem.fitted is not None:
        found = c.problem.fitted.error_ev_per_atom(crystals, energies)
        figures["fitted_energy_error_ev_per_atom"] = Figure(found, n=n, unit="eV/atom")
    spent = Figure(c.n_evaluations)
    none = Figure(0)
    figures["n_chgnet_evaluations"] = spent if on_chgnet else none
    figures["n_energy_evaluations"] = spent
    return figures


def _share(values: Bool[np.ndarray, "crystal"]) -> Figure:
    """A fraction with its binomial error."""
    n, share = len(values), float(values.mean())
    return Figure(share, float(np.sqrt(share * (1 - share) / n)), n)


def _calibration(judged: Judged) -> Figure:
    x, y = judged.drawn.log_reward, judged.drawn.log_probability
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Figure(None, why="all samples have one reward")
    return Figure(float(np.corrcoef(x, y)[0, 1]), n=len(x), reference=1.0)


def above_hull(c: Comparison) -> Float[np.ndarray, "crystal"]:
    """Energy above the hull of the relaxed crystals, or of the best samples where none are relaxed."""
    judged = c.judged
    if c.relaxed is not None:
        return _above(c, c.relaxed.found)
    rows = judged.representatives
    crystals = judged.drawn.crystals.select(rows)
    return c.substitution.hull.above_ev_per_atom(
        fractions(crystals), judged.energies_ev_per_atom[rows]
    )


def _above(c: Comparison, found: Relaxed) -> Float[np.ndarray, "crystal"]:
    return c.substitution.hull.above_ev_per_atom(
        fractions(found.crystals), found.energy_ev_per_atom
    )


def _relaxed_figures(c: Comparison) -> dict[str, Figure]:
    near = above_hull(c) <= NEAR_HULL_EV_PER_ATOM
    theirs = c.types_relaxed
    beside = None
    if theirs is not None:
        beside = float((_above(c, theirs.found) <= NEAR_HULL_EV_PER_ATOM).mean())
    elif c.substitution.crystals is not None:
        above = c.substitution.hull.above_ev_per_atom(
            fractions(c.substitution.crystals), c.substitution.energies_ev_per_atom
        )
        beside = float((above <= NEAR_HULL_EV_PER_ATOM).mean())
    figures = {"fraction_near_hull": replace(_share(near), baseline=beside)}
    if c.relaxed is not None:
        drop, n = c.relaxed.drop_ev_per_atom, len(c.relaxed.rows)
        figures["relaxation_energy_drop_ev_per_atom"] = Figure(
            float(drop.mean()),
            float(drop.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
            n,
            baseline=float(theirs.drop_ev_per_atom.mean()) if theirs is not None else None,
            unit="eV/atom",
        )
        figures["fraction_keeping_prototype"] = replace(
            _share(c.relaxed.kept),
            baseline=float(theirs.kept.mean()) if theirs is not None else None,
        )
    return figures


def _playground_figures(c: Comparison) -> dict[str, Figure]:
    if c.playground is None:
        three = c.problem.stages is not None
        why = "the three stages have no atoms" if three else "--playground-steps is 0"
        return {
            "playground_tvd": Figure(None, why=why),
            "playground_log_partition_error": Figure(None, why=why),
        }
    found = c.playground
    return {
        "playground_tvd": Figure(found.total_variation, reference=0.0),
        "playground_log_partition_error": Figure(found.log_partition_error, reference=0.0),
    }
