"""Most parsimonious trees: train or search -> collect -> compare -> write."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domains.phylogeny.best_trees import BestTrees
from domains.phylogeny.consensus import LabelledTree
from domains.phylogeny.summaries import SplitTable, split_table, topology_distance
from domains.phylogeny.trees import Trees, concatenated
from pipelines.phylogeny import evaluation, learned, outputs, references
from pipelines.phylogeny import parsimony_presentation as presentation
from pipelines.phylogeny.drawn import Cost, Tables, tables
from pipelines.phylogeny.evaluation import Figures
from pipelines.phylogeny.learned import Objects, Trained
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from pipelines.phylogeny.references import ParsimonyLaw, Searched
from workbench.errors import InputError
from workbench.gflownet.evaluation import (
    importance_log_partition,
    mean_log_weight,
    total_variation_floor,
)
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.runs.report import Section
from workbench.samples import WeightedSamples

TEST_TREES = 200
BACKWARD_DRAWS = 32
LOCAL_STARTS = 50
_OF_A_LAW = ("topology_tvd", "log_p_correlation")


@dataclass(frozen=True, eq=False)
class Stages:
    """The best trees of each stage of a GFlowNet run, and of the search at equal cost.

    raw          of the policy's own draws, with the steps of all of them
    training     seen in training, with exploration and replay
    local        after climbing from the best of both; None where it was not asked for
    every        all of them together
    """

    raw: BestTrees
    raw_steps: Int64[Tensor, "tree"]
    training: BestTrees
    local: BestTrees | None
    every: BestTrees
    objects: Objects
    search: Searched | None
    cost: Cost
    law: ParsimonyLaw | None
    points: tuple[Float[Tensor, "tree"], Float[Tensor, "tree"]]
    seen: Tables

    @property
    def limit_of(self) -> int:
        """Steps of the best tree that anything found."""
        found = [] if self.search is None else [self.search.found.best]
        assert self.every.best is not None
        return min([self.every.best, *found])


def run(
    config: Config, problem: Problem, folder: RunFolder
) -> tuple[Figures, list[Section], dict[str, object]]:
    """Figures, sections of the report, and counts for the provenance."""
    if config.method == "search":
        return _run_search(config, problem, folder)
    trained = learned.train(config, problem, folder)
    stages = _stages(config, problem, trained)
    figures = _stage_figures(config, stages) | _law_figures(config, stages)
    figures["n_trajectories"] = Figure(trained.n_trajectories)
    searched = stages.search
    total = searched.found.n_evaluations if searched is not None else None
    figures |= evaluation.costs(stages.cost, "n_parsimony_evaluations", total)
    consensus = _write(config, problem, folder, stages)
    sections = presentation.parsimony_sections(config, problem, stages, consensus, folder)
    return figures, sections, {"n_parsimony_evaluations_search": total}


def _run_search(
    config: Config, problem: Problem, folder: RunFolder
) -> tuple[Figures, list[Section], dict[str, object]]:
    searched = references.search(config, problem, "search", config.search.evaluations)
    found = searched.found
    figures = {
        "best_parsimony": Figure(found.best, n=found.n_evaluations),
        "n_distinct_best": Figure(len(found.trees), n=found.n_evaluations),
        **_of_posterior(),
        **{name: Figure(None, why="a search has no law of trees") for name in _OF_A_LAW},
    }
    figures |= evaluation.costs(searched.cost, "n_parsimony_evaluations", None)
    consensus = _write_best(config, problem, folder.samples, found.trees, found.steps, {})
    sections = presentation.search_sections(config, problem, found, consensus, folder)
    return figures, sections, {}


def _of_posterior() -> Figures:
    why = "a run of --target parsimony has no likelihood"
    return {name: Figure(None, why=why) for name in evaluation.OF_POSTERIOR}


def _stages(config: Config, problem: Problem, trained: Trained) -> Stages:
    objects, sampling = learned.draw(config, problem, trained, config.n_samples, "sampling")
    raw = _memory(config, problem)
    raw_steps = raw.add(objects.trees)
    assert trained.seen is not None
    every = _memory(config, problem)
    for trees in (objects.trees, trained.seen.trees):
        every.add(trees)
    cost, local = trained.cost + sampling, None
    if config.search.local:
        climbed = _climbed(config, problem, every.trees)
        local = _memory(config, problem)
        local.add(climbed.found.trees)
        every.add(climbed.found.trees)
        cost += climbed.cost
    searched = None
    if config.reference:
        searched = references.search(config, problem, "search", cost.n_evaluations)
    return Stages(
        raw,
        raw_steps,
        trained.seen,
        local,
        every,
        objects,
        searched,
        cost,
        _law(config, problem, objects, raw_steps),
        _points(config, problem, trained, objects, searched),
        tables(objects.trees),
    )


def _memory(config: Config, problem: Problem) -> BestTrees:
    return BestTrees(problem.patterns, config.gaps, config.within, config.n_kept)


def _climbed(config: Config, problem: Problem, trees: Trees) -> Searched:
    """Climbs from the best trees, then the plateau around what they reach."""
    start = trees[slice(0, LOCAL_STARTS)]
    return references.search(config, problem, "local search", config.search.local, start)


def _law(config: Config, problem: Problem, objects: Objects, steps: Tensor) -> ParsimonyLaw | None:
    of_zero = float(objects.log_reward[0]) + int(steps[0]) / config.forest.temperature
    return references.exact_parsimony(config, problem, of_zero)


def _points(
    config: Config,
    problem: Problem,
    trained: Trained,
    objects: Objects,
    searched: Searched | None,
) -> tuple[Tensor, Tensor]:
    """log R and log p of trees of the sampler and (where there is one) of the search."""
    generator = problem.generator(config.seed, "log p")

    def some(trees: Trees) -> Trees:
        return trees[torch.randint(len(trees), (TEST_TREES // 2,), generator=generator)]

    chosen = [some(objects.trees)] + ([some(searched.found.trees)] if searched else [])
    n_draws = 1 if config.forest.order == "sorted" else BACKWARD_DRAWS
    return learned.log_probability(problem, trained, concatenated(chosen), n_draws, generator)


def _stage_figures(config: Config, s: Stages) -> Figures:
    """Every stage counted to the same limit: the best of anything plus the slack."""
    limit, n = s.limit_of + config.within, s.cost.n_evaluations
    found = s.search.found if s.search is not None else None
    best = float(found.best) if found is not None else None
    many = float((found.steps <= limit).sum()) if found is not None else None
    figures = {
        "best_parsimony": Figure(s.every.best, n=n, baseline=best),
        "n_distinct_best": Figure(s.every.within(limit), n=n, baseline=many),
    }
    stages = {"raw": s.raw, "training": s.training, "local_search": s.local}
    for name, memory in stages.items():
        if memory is not None:
            figures[f"best_parsimony_{name}"] = Figure(memory.best, baseline=best)
            figures[f"n_distinct_best_{name}"] = Figure(memory.within(limit), baseline=many)
    steps = s.raw_steps.double()
    error = float(steps.std()) / math.sqrt(len(steps)) if len(steps) > 1 else None
    figures["mean_parsimony_raw"] = Figure(float(steps.mean()), error, len(steps))
    return figures


def _law_figures(config: Config, s: Stages) -> Figures:
    weights, n = s.objects.log_weight, len(s.objects.trees)
    samples = WeightedSamples(weights[:, None], -s.objects.log_reward, weights)
    bound = mean_log_weight(weights)
    figures = {
        **_distance(config, s),
        "elbo": Figure(bound.value, bound.stderr, n),
        "ess_fraction": Figure(samples.ess_fraction(), n=n),
        "n_topologies": Figure(len(s.seen.topologies), n=n),
        **evaluation.correlation_figures(*s.points),
        **_of_posterior(),
    }
    return figures


def _distance(config: Config, s: Stages) -> Figures:
    n = len(s.objects.trees)
    if s.law is None:
        why = f"more than {config.enumerate_up_to} taxa: the topologies are not enumerated"
        return {name: Figure(None, why=why) for name in ("topology_tvd", "log_partition_error")}
    estimate = importance_log_partition(s.objects.log_weight)
    weighted = tables(s.objects.trees, torch.softmax(s.objects.log_weight, 0)).topologies
    floor = total_variation_floor(s.law.table.frequency, n)
    raw = topology_distance(s.seen.topologies, s.law.table)
    return {
        "topology_tvd": Figure(raw, n=n, floor=floor),
        "topology_tvd_weighted": Figure(topology_distance(weighted, s.law.table), n=n, floor=floor),
        "log_partition_error": Figure(
            abs(estimate.value - s.law.log_partition), estimate.stderr, n
        ),
    }


def _write(config: Config, problem: Problem, folder: RunFolder, s: Stages) -> LabelledTree:
    path = folder.samples
    shares = torch.softmax(s.objects.log_weight, 0)
    outputs.write_trees(config, problem, path / "trees.trees", s.objects.trees, shares)
    others = {"sampler": s.seen.splits}
    if s.search is not None:
        others["search"] = _most(s.search.found.trees, s.search.found.steps)
    return _write_best(config, problem, path, s.every.trees, s.every.steps, others)


def _write_best(
    config: Config,
    problem: Problem,
    path: Path,
    trees: Trees,
    steps: Tensor,
    others: dict[str, SplitTable],
) -> LabelledTree:
    outputs.write_best(config, problem, path, trees, steps)
    most = _most(trees, steps)
    return outputs.write_best_summaries(config, problem, path, most, others)


def _most(trees: Trees, steps: Tensor) -> SplitTable:
    """Splits of the most parsimonious trees; edges without changes are none."""
    return split_table(trees[(steps == steps.min()).nonzero().squeeze(1)], longer_than=0.0)


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int, stem: str) -> Path:
    """`STEM.trees`: `n` more trees of the policy, with weights. Raises InputError for a search."""
    if config.method == "search":
        raise InputError("a parsimony search draws no samples: run it again with more evaluations")
    trained = learned.train(config, problem, folder)
    objects, _ = learned.draw(config, problem, trained, n, stem)
    shares = torch.softmax(objects.log_weight, 0)
    return outputs.write_trees(
        config, problem, folder.samples / f"{stem}.trees", objects.trees, shares
    )
