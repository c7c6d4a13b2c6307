"""The posterior of trees: draw -> reference -> evaluate -> write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.trees import Trees, concatenated
from pipelines.phylogeny import evaluation, learned, outputs, presentation, references
from pipelines.phylogeny.chains import Chains, continue_chains, run_chains, run_stones
from pipelines.phylogeny.drawn import ENOUGH, Cost, Drawn, tables
from pipelines.phylogeny.evaluation import Comparison, Figures
from pipelines.phylogeny.learned import Objects, Trained
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.runs.report import Section

TEST_TREES = 200
BACKWARD_DRAWS = 32


def run(
    config: Config, problem: Problem, folder: RunFolder
) -> tuple[Figures, list[Section], dict[str, object]]:
    """Figures, sections of the report, and counts for the provenance."""
    trained, chains = None, None
    if config.method == "gflownet":
        trained = learned.train(config, problem, folder)
        drawn = draw_learned(config, problem, trained, folder)
        if config.reference:
            n_evaluations = drawn.cost.n_evaluations
            chains = run_chains(config, problem, folder, "reference-chains", n_evaluations)
    else:
        chains = run_chains(config, problem, folder, "chains")
        drawn = drawn_from(problem, chains)
    stones = run_stones(config, problem, folder) if config.reference or trained is None else None
    raw = tables(drawn.trees)
    comparison = Comparison(
        config,
        problem,
        drawn,
        raw,
        raw if drawn.trusted is None else tables(drawn.trees, drawn.trusted),
        chains,
        stones,
        references.exact_law(config, problem),
        references.run_programs(config, problem),
        None if trained is None else _points(config, problem, trained, drawn, chains),
    )
    consensus = _write(comparison, folder)
    figures = evaluation.evaluate(comparison)
    if trained is not None:
        figures["n_trajectories"] = Figure(trained.n_trajectories)
    total = chains.n_evaluations if trained is not None and chains is not None else None
    figures |= evaluation.costs(drawn.cost, "n_likelihood_evaluations", total)
    sections = presentation.posterior_sections(comparison, consensus, folder)
    return figures, sections, {"n_likelihood_evaluations_reference": total}


def draw_learned(config: Config, problem: Problem, trained: Trained, folder: RunFolder) -> Drawn:
    """Trees of the trained policy, and the repeats of the marginal likelihood."""
    objects, sampling = learned.draw(config, problem, trained, config.n_samples, "sampling")
    repeats = learned.log_partition_repeats(config, problem, trained, folder)
    drawn = of_objects(problem, objects, trained.cost + sampling + repeats.cost)
    return replace(
        drawn,
        repeats=repeats.values,
        evaluations_per_repeat=repeats.cost.n_evaluations / config.n_repeats,
        lines=_words(drawn),
    )


def of_objects(problem: Problem, objects: Objects, cost: Cost) -> Drawn:
    """Objects of the policy as weighted trees of the posterior."""
    log_prior = problem.target.log_tree_prior(objects.trees.lengths.sum(1))
    none = torch.zeros(len(objects.trees), 0, dtype=torch.float64)
    log_likelihood = objects.log_reward - log_prior
    return Drawn(objects.trees, log_likelihood, log_prior, none, objects.log_weight, cost)


def _words(drawn: Drawn) -> list[str]:
    n = len(drawn.trees)
    kept = "weights are used" if drawn.trusted is not None else "equal weights are used"
    return [
        f"{n:,} trees of the policy itself, without exploration; their importance weights have an "
        f"effective sample size of {drawn.ess:,.1f}. For consensus, best tree, credible set and table of "
        f"splits {kept} (weights from {ENOUGH:g} effective samples on)."
    ]


def drawn_from(problem: Problem, chains: Chains) -> Drawn:
    """Trees of Markov chains, all runs together."""
    trace = chains.kept
    n_runs = trace.log_prior.shape[1]

    def flat(values: Tensor) -> Tensor:
        return values[:, :, 0].transpose(0, 1).flatten(0, 1)

    cost = Cost(chains.n_evaluations, chains.seconds, chains.cpu_seconds)
    words = (
        f"{n_runs} runs of {chains.config.n_rungs} Metropolis-coupled chains, {len(chains.trace):,} rounds of "
        f"{chains.config.steps_per_round} proposals each, the first {chains.n_warmup:,} left out."
    )
    return Drawn(
        chains.trees(),
        flat(trace.log_likelihood),
        flat(trace.log_prior),
        flat(trace.parameters),
        None,
        cost,
        lines=[words],
    )


def _points(
    config: Config, problem: Problem, trained: Trained, drawn: Drawn, chains: Chains | None
) -> tuple[Float[Tensor, "tree"], Float[Tensor, "tree"]]:
    """Trees of the sampler and (where there are any) of the reference: log posterior and log p."""
    generator = problem.generator(config.seed, "log p")
    chosen = [_some(drawn.trees, TEST_TREES // 2, generator)]
    if chains is not None:
        chosen.append(_some(chains.trees(), TEST_TREES // 2, generator))
    n_draws = 1 if config.forest.order == "sorted" else BACKWARD_DRAWS
    return learned.log_probability(problem, trained, concatenated(chosen), n_draws, generator)


def _some(trees: Trees, n: int, generator: torch.Generator) -> Trees:
    return trees[torch.randint(len(trees), (n,), generator=generator)]


def _write(c: Comparison, folder: RunFolder) -> presentation.LabelledTree:
    config, problem, path = c.config, c.problem, folder.samples
    outputs.write_drawn(config, problem, path, "trees", c.drawn)
    others = {}
    if c.is_learned:
        outputs.write_run(problem, path, "run1", c.drawn)
        others["unweighted"] = c.raw.splits
    if c.reference is not None:
        name = "reference" if c.is_learned else ""
        outputs.write_chains(config, problem, path, name, c.reference)
        for run, seen in enumerate(c.runs):
            column = f"reference_run{run + 1}" if c.is_learned else f"run{run + 1}"
            others[column] = seen.splits
    for program in c.programs:
        if program.seen is not None:
            others[program.name.lower()] = program.seen.splits
    return outputs.write_summaries(config, problem, path, c.drawn, c.seen, others)


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int, stem: str) -> Path:
    """`STEM.trees`: `n` more trees of the policy with weights, or at least as many of the chains."""
    if config.method == "gflownet":
        trained = learned.train(config, problem, folder)
        drawn = of_objects(problem, *learned.draw(config, problem, trained, n, stem))
    else:
        chains = run_chains(config, problem, folder, "chains")
        drawn = drawn_from(problem, continue_chains(config, problem, folder, chains, n, stem))
    outputs.write_run(problem, folder.samples, stem, drawn)
    return outputs.write_drawn(config, problem, folder.samples, stem, drawn)
