"""The report: what was sampled, how, the figures, and what a reader should look at."""

from __future__ import annotations

import torch
from torch import Tensor

from domains.phylogeny import figures as trees_drawn
from domains.phylogeny.consensus import LabelledTree
from pipelines.phylogeny.evaluation import Comparison, best_estimate
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from workbench.metrics import figures as draw
from workbench.metrics.figures import Curve
from workbench.problem import Estimate
from workbench.runs.folder import RunFolder
from workbench.runs.plotting import save
from workbench.runs.report import FigureFile, Section, Table
from workbench.runs.verdicts import format_value

NO_ESTIMATE = "-"


def posterior_sections(c: Comparison, consensus: LabelledTree, folder: RunFolder) -> list[Section]:
    """What the report shows under the table of figures, with the pictures written to the folder."""
    consensus_text = (
        "Majority-rule consensus; numbers are posterior probabilities of the splits in percent, lengths are "
        "means over the trees that have the split."
    )
    picture = trees_drawn.tree_figure(consensus, rooting(c.config))
    return [
        Section("What was sampled", description(c.config, c.problem)),
        Section("How", [*c.drawn.lines, *_references(c)]),
        Section("Consensus tree", figures=[saved(folder, picture, "consensus", consensus_text)]),
        Section("Beside other ways", lines=_beside(c), table=_table(c)),
        Section("Splits and probabilities", figures=_agreement(c, folder)),
        Section("On the way", figures=_on_the_way(c, folder)),
    ]


def description(config: Config, problem: Problem) -> list[str]:
    """The alignment and the law of the trees."""
    lines = [f"Alignment {problem.source}."]
    if config.target == "posterior":
        lines.append(
            f"Posterior of unrooted trees under {problem.target.specification.text}: uniform topologies, "
            f"independent exponential lengths of mean {1 / config.length_rate:g} substitutions per site on "
            f"the {2 * problem.n_taxa - 3} edges. Gaps and unknown bases are missing data."
        )
    else:
        lines.append(
            f"Unrooted topologies by their Fitch steps, gaps as {config.gaps.replace('-', ' ')}; the "
            f"GFlowNet's law is exp(-steps / {config.forest.temperature:g})."
        )
    return lines + [f"Warning: {warning}." for warning in problem.warnings]


def rooting(config: Config) -> str:
    """How drawn and written trees are rooted, in words."""
    if config.midpoint:
        return "rooted at the midpoint"
    return f"rooted at {', '.join(config.outgroup)}" if config.outgroup else "unrooted"


def how_learned(config: Config) -> str:
    return (
        f"GFlowNet that joins subtrees: objective {config.objective}, {config.steps:,} gradient steps on "
        f"{config.batch} fresh trajectories each; exploration epsilon {config.exploration.epsilon:g}, replay "
        f"{config.replay.kind}, local search of {config.local_search.rounds} rounds, temperature "
        f"{config.temperature.kind}."
    )


def _references(c: Comparison) -> list[str]:
    lines = [how_learned(c.config)] if c.is_learned else []
    chains = c.reference
    if chains is not None and c.is_learned:
        lines.append(
            f"Reference: {c.config.chain.runs} runs of {c.config.chain.rungs} Metropolis-coupled chains, "
            f"{len(chains.trace):,} rounds of {c.config.chain.steps} proposals, {chains.n_evaluations:,} "
            f"likelihoods in {chains.cpu_seconds:.3g} CPU s; the first {c.config.chain.burn_in:.0%} left out. "
            "As baseline stands what one of the runs had at as many likelihoods as the GFlowNet took."
        )
    if c.stones is not None:
        lines.append(
            f"Stepping stones: {c.config.stone.repeats} repeats of {c.config.stone.stones} stones, "
            f"{c.stones.estimate.n_likelihood_evaluations:,} likelihoods in {c.stones.cpu_seconds:.3g} CPU s."
        )
    return lines + [program.line for program in c.programs]


def _beside(c: Comparison) -> list[str]:
    if not c.is_learned:
        return []
    return [
        "An estimate from importance samples costs its likelihoods anew each time, beside the training, "
        "which is done once; a repeat of stepping stones is a whole run. The last column is the spread of "
        "one estimate times the root of its likelihoods: what compares the two at equal cost."
    ]


def _table(c: Comparison) -> Table:
    header = [
        "",
        "log marginal likelihood",
        "spread of one",
        "likelihoods of one",
        "per likelihood",
    ]
    rows = []
    own = best_estimate(c)
    if c.is_learned and c.drawn.repeats is not None and len(c.drawn.repeats) > 1:
        sd, n = float(c.drawn.repeats.std()), c.drawn.evaluations_per_repeat
        name = (
            f"GFlowNet, {c.config.n_importance:,} importance samples, {len(c.drawn.repeats)} times"
        )
        rows.append([name, _shown(own), _number(sd), f"{n:,.0f}", _number(sd * n**0.5)])
    if c.stones is not None:
        rows.append(
            [
                "stepping stones",
                _shown(c.stones.estimate.log_marginal_likelihood),
                _number(c.stones.sd),
                f"{c.stones.evaluations_per_repeat:,.0f}",
                _number(c.stones.sd_per_evaluation),
            ]
        )
    for program in c.programs:
        if program.log_marginal_likelihood is not None:
            shown = _shown(program.log_marginal_likelihood)
            rows.append([f"{program.name}, stepping stones", shown, *[NO_ESTIMATE] * 3])
    if c.exact is not None:
        shown = _shown(c.exact.log_marginal_likelihood)
        n_likelihoods = f"{c.exact.n_likelihood_evaluations:,}"
        rows.append(["enumeration", shown, NO_ESTIMATE, n_likelihoods, NO_ESTIMATE])
    return Table(header, rows)


def _shown(estimate: Estimate | None) -> str:
    return NO_ESTIMATE if estimate is None else format_value(estimate.value, estimate.stderr)


def _number(value: float) -> str:
    return f"{value:.3g}"


def _agreement(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    files = []
    least = c.config.minimum_frequency
    if c.is_learned and c.together is not None:
        picture = trees_drawn.split_frequency_figure(
            c.raw.splits, c.together.splits, minimum_frequency=least
        )
        text = (
            "Split frequencies of the GFlowNet's draws against the reference chains; pale splits are below "
            f"{least:g} in both and do not count."
        )
        files.append(saved(folder, picture, "split_frequencies", text))
    if len(c.runs) > 1:
        picture = trees_drawn.split_frequency_figure(
            c.runs[0].splits, c.runs[1].splits, ("run 1", "run 2"), least
        )
        text = "Split frequencies of two of the chains' runs: what agreement looks like here."
        files.append(saved(folder, picture, "split_frequencies_runs", text))
    if c.points is not None:
        files.append(log_p_picture(folder, *c.points, has_reference=c.reference is not None))
    return files


def log_p_picture(
    folder: RunFolder,
    log_target: Tensor,
    log_p: Tensor,
    has_reference: bool,
    others: str = "reference chains",
    xlabel: str = "log likelihood + log prior",
) -> FigureFile:
    """log p of the policy against the law it should follow, for its own trees and those of others."""
    half = len(log_target) // 2
    groups = {"sampler": slice(None)}
    if has_reference:
        groups = {"sampler": slice(0, half), others: slice(half, None)}
    picture = trees_drawn.log_probability_figure(log_target, log_p, groups, xlabel=xlabel)
    text = (
        "Probability with which the policy draws a tree (its density, where lengths belong to it) against "
        "what it should be, both as logarithms; on the line, the law is right."
    )
    return saved(folder, picture, "log_p", text)


def _on_the_way(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    files = []
    if c.is_learned:
        truth = c.exact.log_marginal_likelihood.value if c.exact is not None else None
        if truth is None and c.stones is not None:
            truth = c.stones.estimate.log_marginal_likelihood.value
        files += gap_pictures(folder, truth)
    if c.reference is not None:
        trace = c.reference.trace
        picture = trees_drawn.trace_figure(
            trace.log_posterior,
            trace.tree_length[..., 0],
            c.config.chain.steps,
            c.reference.n_warmup,
        )
        text = "The Markov chains: log posterior and tree length of each run."
        files.append(saved(folder, picture, "trace", text))
    return files


def gap_pictures(folder: RunFolder, truth: float | None) -> list[FigureFile]:
    """Estimates of log Z in training, as their distance from the truth where it is known."""
    seen = looks(folder)
    if len(seen["step"]) < 2:
        return []
    seconds = torch.tensor(seen["cpu_seconds"]).double()
    estimate, bound, error = (
        torch.tensor(seen[name]).double()
        for name in ("log_partition_estimate", "elbo", "log_partition_stderr")
    )
    label, text = "log Z", "The importance estimate of log Z and its lower bound in training"
    if truth is not None:
        estimate, bound = ((values - truth).abs() for values in (estimate, bound))
        label = "distance from log Z"
        text = (
            "How far the importance estimate and the lower bound (mean log weight) are from log Z (of a "
            "posterior: the log marginal likelihood)"
        )
    lines = {
        "importance estimate": Curve(seconds, estimate, error),
        "lower bound": Curve(seconds, bound),
    }
    xlabel = "CPU seconds of training"
    picture = draw.curves(lines, xlabel=xlabel, ylabel=label, unit="nat", log_y=truth is not None)
    text += ", against processor time; the band is one standard error."
    return [saved(folder, picture, "training", text)]


def looks(folder: RunFolder) -> dict[str, list[float]]:
    """What was logged at the looks in training, by name; NaN where a value was not finite."""
    names = ["cpu_seconds", "log_partition_estimate", "log_partition_stderr", "elbo"]
    names += ["best_parsimony", "n_evaluations"]
    records = [r for r in folder.read_log("training") if "elbo" in r["values"]]

    def column(name: str) -> list[float]:
        found = [record["values"].get(name) for record in records]
        return [float("nan") if value is None else float(value) for value in found]

    return {"step": [float(r["step"]) for r in records], **{name: column(name) for name in names}}


def saved(folder: RunFolder, figure: object, name: str, caption: str) -> FigureFile:
    path = save(figure, folder.figures, name)  # type: ignore[arg-type]
    return FigureFile(path.relative_to(folder.path), caption)
