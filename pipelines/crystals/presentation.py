"""The report: what was sampled, how, beside what, and what a reader should look at."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from domains.crystals import figures as draw
from domains.crystals import views
from domains.crystals.balance import largest_share, shares
from domains.crystals.hull import fractions
from domains.crystals.structures import SYMPREC_A, space_group, structures
from domains.crystals.wyckoff import wyckoff
from pipelines.crystals.evaluation import Comparison, above_hull
from workbench.runs.files import write_text
from workbench.runs.folder import RunFolder
from workbench.runs.plotting import histograms, new_figure, save
from workbench.runs.report import FigureFile, Section, Table
from workbench.runs.verdicts import format_value

_SHOWN = 12


def sections(c: Comparison, folder: RunFolder) -> list[Section]:
    """What the report shows under the table of figures, with the pictures written to the folder."""
    result = [
        Section("What was sampled", _description(c)),
        Section("How", _how(c)),
        Section("Beside other ways", _verdict(c), table=_beside(c)),
        Section("The best distinct crystals", _views(c, folder), _gallery(c, folder), _best(c)),
        Section("Energies", figures=_energies(c, folder)),
        Section("Coverage", _coverage_lines(c), [_coverage(c, folder)]),
    ]
    if c.relaxed is not None:
        result.append(Section("After relaxation", _relaxed_lines(c), table=_relaxed(c)))
    if c.playground is not None:
        result.append(Section("A space whose law is known", _playground_lines(c), _laws(c, folder)))
    return result


def _description(c: Comparison) -> list[str]:
    config, problem = c.config, c.problem
    names = " ".join(problem.elements.symbols)
    groups = f"{problem.environment.orbits.n_groups} space groups"
    beta, worst = f"{config.beta:g}", problem.reward.config.worst_ev_per_atom
    rewards = {
        "formation-energy": f"exp(-{beta} E), E the formation energy in eV/atom",
        "window": f"exp(-{beta} d), d the distance of the formation energy from {config.window[0]:g} to "
        f"{config.window[1]:g} eV/atom",
        "density": f"exp({beta} rho), rho the density in g/cm3",
    }
    lines = [
        f"Crystals of {names}, up to {config.max_atoms} atoms in the primitive cell, {groups}, in proportion "
        f"to {rewards[config.target]}. This is a preference, not thermodynamics.",
        f"Energies: {problem.energy.name}. Energies above {worst:g} eV/atom count as that.",
    ]
    if problem.stages is not None:
        return lines
    return [
        *lines,
        *_shares(c),
        "Crystals with atoms closer than 0.7 times the sum of covalent radii are no part of the law, nor are "
        "orbits with more symmetry than their group: a crystal counts in one group, its own. Masks forbid "
        "both as far as they can without dead ends, the reward of training counts what is left as worse, and "
        f"{c.judged.drawn.redrawn:.1%} of the final draws were drawn again for it.",
        "The reward is divided by the number of equivalent choices of sites, so it is a law over crystals: "
        "exact where settings are exchanged by shifts or axes, approximate for further choices of axes in "
        "triclinic and monoclinic cells. Mirror images count as one crystal.",
    ]


def _shares(c: Comparison) -> list[str]:
    """What bounds on shares do to the law."""
    balance = c.problem.reward.balance
    nouns = {"anion": "anion may lead", "group": "group may have", "formula": "formula may have"}
    lines = []
    for kind, share in balance.shares.items():
        found = sorted(balance.penalty[kind].items(), key=lambda pair: -pair[1])
        most = ", ".join(f"{name} {nats:.1f}" for name, nats in found[:8])
        more = f" and {len(found) - 8} others by less" if len(found) > 8 else ""
        how = f"lowers log R by (nats) {most}{more}" if found else "is the stated one itself"
        name, drawn = largest_share(kind, c.judged.drawn.crystals)
        lines.append(
            f"No {nouns[kind]} more than {share:.2%} of the crystals: the law closest to the stated one that "
            f"keeps this {how}. The most frequent among the samples: {name}, {drawn:.2%}."
        )
    return lines


def _how(c: Comparison) -> list[str]:
    config = c.config
    lines = [
        f"Trajectory balance, {config.steps:,} gradient steps on {config.batch} fresh crystals each and "
        f"{config.replay.fraction:g} times as many replayed ones ({config.replay.kind}); perceptrons of "
        f"{config.layers} x {config.width}. The strength of the reward rises from {config.beta_start:g} to "
        f"{config.beta:g} over the first 0.6 of the steps.",
    ]
    if c.problem.stages is not None:
        return [*_how_in_three_stages(c), *lines, *_compared(c)]
    lines.append(
        f"The replay buffer is fed by {config.chains} Markov chains of crystals under small changes, "
        f"{config.sweeps} changes each in {config.fit.rounds} rounds, started from the best of "
        f"{config.seeds:,} random crystals and drawn again by weight as the strength rises; the policy "
        f"imitates the buffer for {config.imitation} steps a round. No known structure is among its data."
    )
    if c.problem.fitted is not None:
        lines.append(
            f"The sampler learned from a fast energy fitted to {len(c.problem.fitted.labels):,} CHGNet "
            f"energies of proposals in {config.fit.rounds} rounds (random crystals first, its own after); "
            "every figure here is by CHGNet."
        )
    return [*lines, *_compared(c)]


def _how_in_three_stages(c: Comparison) -> list[str]:
    seen = {"density": "density"}.get(c.config.target, "formation energy of ions without places")
    return [
        "Crystal-GFN's three stages: space group, composition, lattice. The reward saw no atoms, only the "
        f"{seen}; atoms were placed at random afterwards on Wyckoff positions that hold the composition, "
        "the first of twenty tries that keeps them apart. Energies below are of the crystals with atoms."
    ]


def _compared(c: Comparison) -> list[str]:
    return [*([c.search.line] if c.search is not None else []), c.substitution.line]


def _verdict(c: Comparison) -> list[str]:
    ours = c.judged.energies_ev_per_atom
    if c.search is None:
        return []
    lines = []
    theirs = c.search.best(len(ours))
    difference = float(np.median(theirs) - np.median(ours))
    if difference > 0:
        lines.append(f"The median sample lies {difference:.2f} eV/atom below random search's best.")
    else:
        lines.append(
            f"Random search wins: the median of its best {len(theirs)} lies {-difference:.2f} eV/atom "
            "lower."
        )
    if c.chains is not None and np.median(c.chains) < np.median(ours):
        lower = float(np.median(ours) - np.median(c.chains))
        lines.append(
            f"The chains that it learned from end {lower:.2f} eV/atom lower in the median."
        )
    plain = c.substitution.energies_ev_per_atom
    if len(plain) and plain.min() < ours.min():
        lines.append(
            f"Substitution finds the lowest crystal of all, {plain.min():.2f} against "
            f"{ours.min():.2f} eV/atom, with {c.substitution.n_evaluations:,} evaluations."
        )
    return lines


def _beside(c: Comparison) -> Table:
    ours = c.judged.energies_ev_per_atom
    rows = [_energy_row("this sampler, as drawn", ours, c.n_evaluations)]
    if c.search is not None:
        best = c.search.best(len(ours))
        rows.append(_energy_row(f"random search, best {len(best)}", best, c.search.n_evaluations))
        every = c.search.energies_ev_per_atom
        rows.append(_energy_row("random search, all", every, c.search.n_evaluations))
    if c.chains is not None:
        n = c.n_evaluations - len(ours) + len(c.chains)
        rows.append(_energy_row("the Markov chains it learned from, at their end", c.chains, n))
    plain = c.substitution.energies_ev_per_atom
    if len(plain):
        rows.append(_energy_row("substituted types", plain, c.substitution.n_evaluations))
    header = ["", "crystals", "evaluations", "lowest", "lower quartile", "median (eV/atom)"]
    return Table(header, rows)


def _energy_row(name: str, energies: np.ndarray, n_evaluations: int) -> list[str]:
    values = [energies.min(), np.quantile(energies, 0.25), np.median(energies)]
    return [name, f"{len(energies):,}", f"{n_evaluations:,}", *[f"{v:.3f}" for v in values]]


def _caption(c: Comparison, row: int) -> str:
    cell, judged = c.judged.cells[row], c.judged
    group = space_group(cell) or int(judged.drawn.crystals.group[row])
    symbol = wyckoff().symbol[group - 1]
    energy = judged.energies_ev_per_atom[row]
    return f"{cell.composition.reduced_formula}, {symbol} ({group}), {energy:.2f} eV/atom"


def _conventional(cell: Structure) -> Structure:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return SpacegroupAnalyzer(cell, SYMPREC_A).get_conventional_standard_structure()
        except (ValueError, TypeError):  # spglib finds no symmetry
            return cell


def _shown(c: Comparison) -> tuple[list[Structure], list[str]]:
    rows = c.judged.representatives[:_SHOWN]
    cells = [_conventional(c.judged.cells[row]) for row in rows]
    return cells, [_caption(c, int(row)) for row in rows]


def _views(c: Comparison, folder: RunFolder) -> list[str]:
    write_text(folder.path / "structures.html", views.page("The best crystals", *_shown(c)))
    return [
        "structures.html beside this file turns them in three dimensions; it needs no network. All are in "
        "samples/ as CIF and extended XYZ."
    ]


def _gallery(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    text = "The best distinct crystals as drawn, conventional cells."
    return [_save(folder, draw.gallery(*_shown(c)), "gallery", text)]


def _best(c: Comparison) -> Table:
    judged, rows = c.judged, []
    for row in judged.representatives[:20]:
        count = int((judged.group_of == judged.group_of[row]).sum())
        rows.append(
            [
                judged.cells[row].composition.reduced_formula,
                str(judged.drawn.crystals.group[row]),
                str(len(judged.cells[row])),
                f"{judged.energies_ev_per_atom[row]:.3f}",
                str(count),
                judged.prototype[row],
            ]
        )
    return Table(["formula", "group", "atoms", "eV/atom", "drawn", "type"], rows)


def _energies(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    values = {"sampler": c.judged.energies_ev_per_atom}
    if c.search is not None:
        values["random search"] = c.search.energies_ev_per_atom
    if len(c.substitution.energies_ev_per_atom) > 1:
        values["substitution"] = c.substitution.energies_ev_per_atom
    lowest = min(float(energies.min()) for energies in values.values())
    figure, axes = new_figure(9.0, 3.6)
    histograms(
        axes,
        values,
        xlabel="formation energy",
        unit="eV/atom",
        bins=np.linspace(lowest - 0.1, 1.0, 41).tolist(),
    )
    text = "Formation energies of crystals as drawn."
    files = [_save(folder, figure, "energies", text)]
    if len(c.problem.elements) == 2:
        files.append(_hull(c, folder))
    return files


def _hull(c: Comparison, folder: RunFolder) -> FigureFile:
    relaxed = None
    if c.relaxed is not None:
        found = c.relaxed.found
        relaxed = (fractions(found.crystals)[:, 1], found.energy_ev_per_atom)
    figure = draw.binary_hull(
        c.problem.elements.symbols,
        fractions(c.judged.drawn.crystals)[:, 1],
        c.judged.energies_ev_per_atom,
        c.substitution.hull,
        relaxed,
    )
    text = "Formation energy against composition, over the hull of elements and substituted types."
    return _save(folder, figure, "hull", text)


def _coverage_lines(c: Comparison) -> list[str]:
    crystals = c.judged.drawn.crystals
    types = Counter(c.judged.prototype).most_common(5)
    anions = shares("anion", crystals)
    listed = ", ".join(f"{name} {n / len(crystals):.1%}" for name, n in types)
    spread = ", ".join(f"{name} {share:.1%}" for name, share in anions.items())
    return [
        f"Most frequent structure types: {listed}.",
        f"Most abundant anion of a crystal: {spread}.",
    ]


def _coverage(c: Comparison, folder: RunFolder) -> FigureFile:
    text = "Crystal systems, space groups and elements of all samples."
    return _save(folder, draw.coverage(c.judged.drawn.crystals), "coverage", text)


def _relaxed_lines(c: Comparison) -> list[str]:
    assert c.relaxed is not None
    return [
        f"The {len(c.relaxed.rows)} lowest distinct crystals, cell and atoms relaxed. The hull is that of the "
        f"elements and of {len(c.substitution.energies_ev_per_atom)} substituted types at the best of three "
        f"volumes, by {c.problem.energy.name}: below zero means lower than all of these."
    ]


def _relaxed(c: Comparison) -> Table:
    assert c.relaxed is not None
    above, rows, after = above_hull(c), [], c.relaxed
    for i, cell in enumerate(structures(after.found.crystals)[:20]):
        before = after.before_ev_per_atom[i]
        rows.append(
            [
                cell.composition.reduced_formula,
                f"{before:.3f}",
                f"{after.found.energy_ev_per_atom[i]:.3f}",
                f"{above[i]:+.3f}",
                "yes" if after.kept[i] else "no",
            ]
        )
    return Table(["formula", "drawn", "relaxed", "above hull (eV/atom)", "same structure"], rows)


def _playground_lines(c: Comparison) -> list[str]:
    assert c.playground is not None
    return [
        "Cu and O in the groups 221 and 225, two to four atoms, ionic energy, beta 2: every set of orbits is "
        f"listed and the reward integrated over the volume. {len(c.playground.exact)} crystals; total "
        f"variation {format_value(c.playground.total_variation)}, log Z off by "
        f"{format_value(c.playground.log_partition_error)}."
    ]


def _laws(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    assert c.playground is not None
    figure = draw.playground_laws(c.playground.learned.numpy(), c.playground.exact.numpy())
    return [_save(folder, figure, "playground", "The exact law over crystals and the learned one.")]


def _save(folder: RunFolder, figure: object, name: str, caption: str) -> FigureFile:
    path = save(figure, folder.figures, name)  # type: ignore[arg-type]
    return FigureFile(path.relative_to(folder.path), caption)
