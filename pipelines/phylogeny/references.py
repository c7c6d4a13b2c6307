"""What trees are compared with: exact laws of few taxa, parsimony search, MrBayes and IQ-TREE."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from domains.phylogeny import comparators, exact_posterior, mrbayes_model, parsimony_search
from domains.phylogeny.comparators import MrBayesConfig
from domains.phylogeny.exact_posterior import ExactPosterior
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.parsimony_search import Found
from domains.phylogeny.summaries import TopologyTable
from domains.phylogeny.topologies import all_topologies
from domains.phylogeny.trees import Trees, concatenated, topology_keys
from pipelines.phylogeny.drawn import Cost, Tables, tables
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from workbench.errors import InputError
from workbench.problem import Estimate

EXACT_SAMPLES = 100_000  # an error of some 0.004 nat


def exact_law(config: Config, problem: Problem) -> ExactPosterior | None:
    """The posterior over all topologies; None for too many taxa or a model with free parameters."""
    if problem.n_taxa > config.enumerate_up_to or problem.target.specification.free:
        return None
    settings = exact_posterior.Config(n_samples=EXACT_SAMPLES, rate=config.length_rate)
    generator = problem.generator(config.seed, "exact")
    return exact_posterior.enumerate_posterior(settings, problem.likelihood(), generator)


@dataclass(frozen=True, eq=False)
class ParsimonyLaw:
    """exp(-steps / temperature) over all topologies: its table, and log Z with log R of `log_reward`."""

    table: TopologyTable
    steps: Tensor
    log_partition: float


def exact_parsimony(
    config: Config, problem: Problem, log_reward_of_zero: float
) -> ParsimonyLaw | None:
    """The law of few taxa. `log_reward_of_zero` is log R of a tree of no steps."""
    if problem.n_taxa > config.enumerate_up_to:
        return None
    children = all_topologies(problem.n_taxa)
    steps = Parsimony(problem.patterns, config.gaps).score(children)
    log_reward = log_reward_of_zero - steps.double() / config.forest.temperature
    log_partition = float(log_reward.logsumexp(0))
    share = (log_reward - log_partition).exp()
    lengths = torch.zeros(len(children), 2 * problem.n_taxa - 2, dtype=torch.float64)
    keys = topology_keys(Trees(children, lengths))
    order = torch.argsort(share, descending=True, stable=True)
    return ParsimonyLaw(TopologyTable(keys[order], share[order], order), steps, log_partition)


@dataclass(frozen=True, eq=False)
class Searched:
    """A parsimony search and the time it took."""

    found: Found
    cost: Cost


def search(
    config: Config,
    problem: Problem,
    stage: str,
    n_evaluations: int,
    start: Trees | None = None,
) -> Searched:
    """A search of its own, or (with `start`) climbs from given trees and the plateau around them."""
    settings = parsimony_search.Config(
        n_ratchet=config.search.ratchet if start is None else 0,
        slack=config.within,
        n_kept=config.n_kept,
        max_evaluations=max(n_evaluations, problem.n_taxa**2),
        plateau_share=config.search.plateau,
        random_starts=start is None,
    )
    planes = parsimony_search.site_planes(problem.patterns, config.gaps)
    wall, cpu = time.perf_counter(), time.process_time()
    found = parsimony_search.search(settings, planes, problem.generator(config.seed, stage), start)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return Searched(found, Cost(found.n_evaluations, *spent))


@dataclass(frozen=True, eq=False)
class Program:
    """What another program gave: `line` says how it went, the rest may be missing."""

    name: str
    line: str
    seen: Tables | None = None
    log_marginal_likelihood: Estimate | None = None
    log_likelihood: float | None = None


def run_programs(config: Config, problem: Problem) -> list[Program]:
    """MrBayes (samples and stepping stones) and IQ-TREE (the most likely tree) under the same model;
    each says so where it is absent, stopped or not asked."""
    if config.programs.generations == 0 or config.target == "parsimony":
        return []
    return [_mrbayes(config, problem), _iqtree(config, problem)]


def _mrbayes(config: Config, problem: Problem) -> Program:
    options = config.programs
    target = problem.target
    settings = MrBayesConfig(
        mrbayes_model.settings(target.specification, target.counted, config.length_rate),
        n_generations=options.generations,
        sample_every=max(1, options.generations // 1000),
        seed=config.seed + 1,
        limit_seconds=options.limit_seconds,
    )
    try:
        sample = comparators.mrbayes_sample(settings, problem.patterns)
        stones = comparators.mrbayes_marginal_likelihood(settings, problem.patterns)
    except InputError as error:
        return Program("MrBayes", f"MrBayes: {error}.")
    line = (
        f"MrBayes: two runs of 4 chains, {options.generations:,} generations, {sample.seconds:.0f} s; "
        f"stepping stones {stones.value:.3f} ± {stones.stderr:.3f}."
    )
    seen = tables(concatenated(sample.trees))
    return Program("MrBayes", line, seen, stones)


def _iqtree(config: Config, problem: Problem) -> Program:
    try:
        found = comparators.iqtree_search(
            problem.patterns,
            problem.target.specification.text,
            config.seed + 1,
            config.programs.limit_seconds,
        )
    except InputError as error:
        return Program("IQ-TREE", f"IQ-TREE: {error}.")
    line = (
        f"IQ-TREE: most likely tree {found.log_likelihood:.4f}, {found.seconds:.1f} s (the marginal "
        "likelihood is lower: it averages over trees and lengths)."
    )
    return Program("IQ-TREE", line, log_likelihood=found.log_likelihood)
