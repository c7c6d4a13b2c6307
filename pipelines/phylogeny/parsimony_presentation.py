"""The report of a parsimony run: the stages apart, the search beside them, the trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from domains.phylogeny import figures as trees_drawn
from domains.phylogeny.best_trees import BestTrees
from domains.phylogeny.consensus import LabelledTree
from domains.phylogeny.parsimony_search import Found
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from pipelines.phylogeny.presentation import (
    description,
    gap_pictures,
    how_learned,
    log_p_picture,
    looks,
    rooting,
    saved,
)
from workbench.metrics import figures as draw
from workbench.metrics.figures import Curve
from workbench.runs.folder import RunFolder
from workbench.runs.report import FigureFile, Section, Table

if TYPE_CHECKING:
    from pipelines.phylogeny.parsimony import Stages

CHANGES = "sites that may change"


def parsimony_sections(
    config: Config, problem: Problem, s: Stages, consensus: LabelledTree, folder: RunFolder
) -> list[Section]:
    """What the report shows under the table of figures, with the pictures written to the folder."""
    truth = s.law.log_partition if s.law is not None else None
    return [
        Section("What was sampled", description(config, problem)),
        Section("How", _how(config, s)),
        Section("Stage by stage", table=_table(config, s)),
        _consensus(config, consensus, folder),
        Section("The law", figures=[_log_p(folder, s)]),
        Section("On the way", figures=[*_improvements(folder, s), *gap_pictures(folder, truth)]),
    ]


def search_sections(
    config: Config, problem: Problem, found: Found, consensus: LabelledTree, folder: RunFolder
) -> list[Section]:
    """The same for a search alone."""
    text = (
        f"Parsimony search: stepwise addition, subtree regrafts, {config.search.ratchet} ratchet rounds a "
        f"start, the plateau around the best; {found.n_evaluations:,} trees scored."
    )
    curve = {"search": _curve(found)}
    return [
        Section("What was sampled", description(config, problem)[:1]),
        Section("How", [text]),
        _consensus(config, consensus, folder),
        Section("On the way", figures=[_against_cost(folder, curve)]),
    ]


def _how(config: Config, s: Stages) -> list[str]:
    lines = [
        how_learned(config),
        f"Raw: {len(s.objects.trees):,} trees of the policy itself. Training: every tree made in training, "
        "with exploration and replay. Local search: climbs by regrafts from the best of both. Trees are "
        "distinct after edges without changes are collapsed; all stages are counted to the same number of "
        f"steps, {s.limit_of} + {config.within}.",
    ]
    if s.search is not None:
        lines.append(
            "Baseline: parsimony search (addition, regrafts, ratchet, plateau) with as many trees to score; it "
            f"scored {s.search.found.n_evaluations:,} (it ends when no neighbour of its best trees is left) in "
            f"{s.search.cost.cpu_seconds:.3g} CPU s, against {s.cost.n_evaluations:,} in "
            f"{s.cost.cpu_seconds:.3g} of the GFlowNet."
        )
    return lines


def _table(config: Config, s: Stages) -> Table:
    limit = s.limit_of + config.within
    rows = [
        _row("raw policy", s.raw, limit),
        _row("seen in training", s.training, limit),
    ]
    if s.local is not None:
        rows.append(_row("local search", s.local, limit))
    rows.append(_row("all of these", s.every, limit))
    if s.search is not None:
        found = s.search.found
        counts = [str(int((found.steps <= n).sum())) for n in (s.limit_of, limit)]
        rows.append(["search alone, equal cost", str(found.best), *counts])
    return Table(["", "fewest steps", f"trees of {s.limit_of}", f"of {limit} or fewer"], rows)


def _row(name: str, memory: BestTrees, limit: int) -> list[str]:
    best = "-" if memory.best is None else str(memory.best)
    least = limit - memory.slack
    return [name, best, str(memory.within(least)), str(memory.within(limit))]


def _consensus(config: Config, consensus: LabelledTree, folder: RunFolder) -> Section:
    picture = trees_drawn.tree_figure(consensus, rooting(config), CHANGES)
    text = (
        "Majority-rule consensus of the most parsimonious trees found; numbers are the percentage of these "
        "trees that have the split."
    )
    return Section("Consensus tree", figures=[saved(folder, picture, "consensus", text)])


def _log_p(folder: RunFolder, s: Stages) -> FigureFile:
    has_reference = s.search is not None
    return log_p_picture(folder, *s.points, has_reference, others="search", xlabel="log reward")


def _improvements(folder: RunFolder, s: Stages) -> list[FigureFile]:
    seen = looks(folder)
    lines = {}
    if len(seen["step"]) > 1:
        lines["GFlowNet, training"] = Curve(
            torch.tensor(seen["n_evaluations"]).double(),
            torch.tensor(seen["best_parsimony"]).double(),
        )
    if s.search is not None:
        lines["search"] = _curve(s.search.found)
    return [_against_cost(folder, lines)] if lines else []


def _curve(found: Found) -> Curve:
    """Steps of the best tree after each improvement, held to the end."""
    last = torch.tensor([[found.n_evaluations, found.best]])
    points = torch.cat([found.best_after, last]).double()
    return Curve(points[:, 0].clamp(min=1), points[:, 1])


def _against_cost(folder: RunFolder, lines: dict[str, Curve]) -> FigureFile:
    picture = draw.curves(lines, xlabel="trees scored", ylabel="fewest steps", log_x=True)
    return saved(folder, picture, "improvements", "Steps of the best tree against trees scored.")
