"""The figures of metrics.json: each with its error, floor, baseline and reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.exact_posterior import ExactPosterior
from domains.phylogeny.summaries import (
    TopologyTable,
    asdsf,
    convergence,
    topology_distance,
)
from pipelines.phylogeny.chains import Chains, Stones
from pipelines.phylogeny.drawn import Cost, Drawn, Tables, tables
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from pipelines.phylogeny.references import Program
from workbench.gflownet.evaluation import (
    correlation_and_slope,
    mean_log_weight,
    total_variation_floor,
)
from workbench.problem import Estimate
from workbench.runs.metrics import Figure
from workbench.samples import WeightedSamples

Figures = dict[str, Figure]

MEANINGS = {
    "log_marginal_likelihood": "log probability of the alignment, over all trees and lengths",
    "log_marginal_likelihood_error": "its distance from the value by enumeration",
    "log_marginal_likelihood_sd": "spread of single estimates; baseline: of a stepping-stone repeat",
    "sd_per_evaluation": "the same times the root of the likelihoods one estimate took, training not counted",
    "best_parsimony": "fewest steps of all trees found, by whatever stage",
    "n_distinct_best": "distinct trees within the slack of the best, edges without changes collapsed",
    "best_parsimony_raw": "fewest steps among the trees that the policy alone draws",
    "n_distinct_best_raw": "distinct trees near the best among them",
    "mean_parsimony_raw": "mean steps of those draws",
    "best_parsimony_training": "fewest steps seen in training, exploration and replay included",
    "n_distinct_best_training": "distinct trees near the best seen there",
    "best_parsimony_local_search": "fewest steps after climbing from the best of both",
    "n_distinct_best_local_search": "distinct trees near the best after it",
    "topology_tvd": "total variation of the topologies drawn from the exact law; floor: of as many true draws",
    "topology_tvd_weighted": "the same with importance weights",
    "log_partition_error": "distance of log Z of the parsimony law from the exact one",
    "asdsf": "average deviation of split frequencies from the reference chains; floor: between these",
    "asdsf_weighted": "the same with importance weights",
    "log_p_correlation": "correlation of log p with the log posterior (or log reward) of given trees",
    "log_p_slope": "slope of log p on it; a wrong temperature shows here alone",
    "elbo": "lower bound of the marginal likelihood: mean log weight",
    "ess_fraction": "Kish effective sample size of the importance weights over n",
    "pareto_k": "tail of the importance weights; above 0.7 weighted figures cannot be trusted",
    "tree_length": "mean sum of the lengths, weighted where the weights can be trusted",
    "n_topologies": "distinct topologies among the trees",
    "credible_set_size": "topologies in the credible set; baseline: of the reference chains",
    "reference_r_hat": "R-hat of the log posterior along the reference chains",
    "reference_ess": "effective samples of it, all runs together",
    "n_likelihood_evaluations": "likelihoods computed in training and sampling; baseline: reference chains",
    "n_parsimony_evaluations": "trees scored in training, sampling and local search; baseline: search alone",
    "n_trajectories": "trajectories made for training",
    "seconds": "training and sampling, without looks and evaluation",
    "cpu_seconds": "the same in processor time",
    "seconds_total": "everything",
}
HIGHER_IS_BETTER = (
    "n_distinct_best",
    "n_distinct_best_raw",
    "n_distinct_best_training",
    "n_distinct_best_local_search",
    "ess_fraction",
    "reference_ess",
)
# What a run of the other target is known by.
OF_PARSIMONY = ("best_parsimony", "n_distinct_best")
OF_POSTERIOR = (
    "log_marginal_likelihood",
    "log_marginal_likelihood_error",
    "asdsf",
    "n_likelihood_evaluations",
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything the figures of a posterior are made from.

    raw, seen    tables of the trees as drawn, and with trusted weights (the same where there are none)
    points       log posterior and log p of given trees
    """

    config: Config
    problem: Problem
    drawn: Drawn
    raw: Tables
    seen: Tables
    reference: Chains | None
    stones: Stones | None
    exact: ExactPosterior | None
    programs: list[Program]
    points: tuple[Float[Tensor, "tree"], Float[Tensor, "tree"]] | None

    @property
    def is_learned(self) -> bool:
        return self.config.method == "gflownet"

    @cached_property
    def together(self) -> Tables | None:
        """Tables of all reference runs; None without a reference."""
        return None if self.reference is None else tables(self.reference.trees())

    @cached_property
    def runs(self) -> list[Tables]:
        """Tables of each reference run."""
        if self.reference is None:
            return []
        return [tables(self.reference.run_trees(run)) for run in range(self.config.chain.runs)]

    @cached_property
    def early(self) -> Tables | None:
        """What one reference run had at as many likelihoods as the sampler took."""
        if self.reference is None:
            return None
        n = self.drawn.cost.n_evaluations
        early = self.reference.early_trees(0, n, self.config.chain.burn_in)
        return None if early is None else tables(early)

    @cached_property
    def weighted(self) -> Tables:
        """Tables with importance weights, trusted or not."""
        return tables(self.drawn.trees, self.drawn.shares)


def evaluate(c: Comparison) -> Figures:
    """All figures of the sampler; those that cannot be had say why."""
    figures = _marginal_likelihood(c) | _topologies(c) | _splits(c) | _trees(c)
    if c.is_learned:
        figures |= _weights(c) | _probabilities(c)
    else:
        why = "chains do not tell with what probability they draw a tree"
        figures["log_p_correlation"] = Figure(None, why=why)
    why = "a run of --target posterior looks for no parsimonious trees"
    return figures | {name: Figure(None, why=why) for name in OF_PARSIMONY}


def best_estimate(c: Comparison) -> Estimate | None:
    """The sampler's own log marginal likelihood: over repeats, or by stepping stones for chains."""
    repeats = c.drawn.repeats
    if repeats is not None:
        error = float(repeats.std()) / math.sqrt(len(repeats)) if len(repeats) > 1 else math.nan
        return Estimate(float(repeats.mean()), error)
    return None if c.stones is None else c.stones.estimate.log_marginal_likelihood


def _marginal_likelihood(c: Comparison) -> Figures:
    value = best_estimate(c)
    name = "log_marginal_likelihood"
    if value is None:
        why = "stepping stones were switched off (--stone.stones 0)"
        return {name: Figure(None, why=why), f"{name}_error": Figure(None, why=why)}
    stones = None if c.stones is None else c.stones.estimate.log_marginal_likelihood
    truth = c.exact.log_marginal_likelihood if c.exact is not None else stones
    if not c.is_learned and c.exact is None:
        truth = None
    n = c.config.n_importance if c.is_learned else c.config.stone.rounds
    known = c.exact is not None and c.is_learned and stones is not None
    figures = {
        name: Figure(
            value.value,
            value.stderr,
            n,
            floor=truth.stderr if truth is not None else None,
            baseline=stones.value if known and stones is not None else None,
            reference=truth.value if truth is not None else None,
            unit="nat",
        ),
        f"{name}_error": _error(c, value, stones),
    }
    return figures | _spread(c)


def _error(c: Comparison, value: Estimate, stones: Estimate | None) -> Figure:
    if c.exact is None:
        return Figure(None, why=_not_enumerated(c))
    truth = c.exact.log_marginal_likelihood
    baseline = abs(stones.value - truth.value) if c.is_learned and stones is not None else None
    error = math.hypot(value.stderr, truth.stderr)
    return Figure(abs(value.value - truth.value), error, baseline=baseline, unit="nat")


def _not_enumerated(c: Comparison) -> str:
    if c.problem.target.specification.free:
        return "the model has free parameters: the posterior is not enumerated"
    return f"more than {c.config.enumerate_up_to} taxa: the topologies are not enumerated"


def _spread(c: Comparison) -> Figures:
    """Spread of one estimate, and what is left of it for the price of one likelihood."""
    stones = c.stones
    if not c.is_learned:
        if stones is None:
            return {}
        return {
            "log_marginal_likelihood_sd": Figure(stones.sd, unit="nat"),
            "sd_per_evaluation": Figure(stones.sd_per_evaluation, unit="nat"),
        }
    repeats = c.drawn.repeats
    if repeats is None or len(repeats) < 2:
        why = "one estimate has no spread: give --n-repeats 2 or more"
        return {"log_marginal_likelihood_sd": Figure(None, why=why)}
    sd = float(repeats.std())
    error = sd / math.sqrt(2 * (len(repeats) - 1))
    root = math.sqrt(c.drawn.evaluations_per_repeat)
    return {
        "log_marginal_likelihood_sd": Figure(
            sd, error, len(repeats), baseline=stones.sd if stones else None, unit="nat"
        ),
        "sd_per_evaluation": Figure(
            sd * root,
            error * root,
            len(repeats),
            baseline=stones.sd_per_evaluation if stones else None,
            unit="nat",
        ),
    }


def _topologies(c: Comparison) -> Figures:
    n = len(c.drawn.trees)
    names = ["topology_tvd"] + ["topology_tvd_weighted"] * c.is_learned
    if c.exact is None:
        return {name: Figure(None, why=_not_enumerated(c)) for name in names}
    law = c.exact.table()
    floor = total_variation_floor(law.frequency, n)
    baseline = None
    if c.is_learned and c.early is not None:
        baseline = topology_distance(c.early.topologies, law)
    raw = topology_distance(c.raw.topologies, law)
    figures = {"topology_tvd": Figure(raw, n=n, floor=floor, baseline=baseline)}
    if c.is_learned:
        distance = topology_distance(c.weighted.topologies, law)
        figures["topology_tvd_weighted"] = Figure(distance, n=n, floor=floor)
    return figures


def _splits(c: Comparison) -> Figures:
    """ASDSF of a learned sampler against the chains, or of the chains between each other."""
    least = c.config.minimum_frequency
    n = len(c.drawn.trees)
    if c.together is None:
        return {"asdsf": Figure(None, n=n, why="no reference chains were run (--reference)")}
    runs = [run.splits for run in c.runs]
    own = asdsf(runs, least) if len(runs) > 1 else None
    if not c.is_learned:
        why = "one run has no spread: give --chain.runs 2" if own is None else None
        return {"asdsf": Figure(own, n=n, why=why)}
    baseline = None
    if c.early is not None and len(runs) > 1:
        baseline = asdsf([c.early.splits, runs[1]], least)
    raw, weighted = (asdsf([t.splits, c.together.splits], least) for t in (c.raw, c.weighted))
    return {
        "asdsf": Figure(raw, n=n, floor=own, baseline=baseline),
        "asdsf_weighted": Figure(weighted, n=n, floor=own),
    }


def _trees(c: Comparison) -> Figures:
    n = len(c.drawn.trees)
    figures = {
        "tree_length": _tree_length(c),
        "n_topologies": Figure(len(c.raw.topologies), n=n),
        "credible_set_size": _credible(c, c.seen.topologies),
    }
    if c.reference is not None:
        watched = convergence(c.reference.kept, c.config.minimum_frequency).log_posterior
        figures["reference_r_hat"] = Figure(watched.r_hat)
        figures["reference_ess"] = Figure(watched.ess, n=len(c.reference.trees()))
    return figures


def _credible(c: Comparison, table: TopologyTable) -> Figure:
    baseline = None
    if c.is_learned and c.together is not None:
        baseline = c.together.topologies.credible(c.config.credible)
    size = table.credible(c.config.credible)
    return Figure(size, n=len(c.drawn.trees), baseline=baseline)


def _tree_length(c: Comparison) -> Figure:
    lengths = c.drawn.trees.lengths.sum(1)
    unit = "substitutions per site"
    if not c.is_learned:
        assert c.reference is not None
        mean = convergence(c.reference.kept, c.config.minimum_frequency).tree_length.mean
        return Figure(mean.value, mean.stderr, len(lengths), unit=unit)
    weights = c.drawn.log_weight if c.drawn.trusted is not None else None
    samples = WeightedSamples(lengths[:, None], -c.drawn.log_posterior, weights)
    ours = samples.expectation(lengths)
    if c.reference is None:
        return Figure(ours.value, ours.stderr, len(lengths), unit=unit)
    known = convergence(c.reference.kept, c.config.minimum_frequency).tree_length
    return Figure(
        ours.value,
        ours.stderr,
        len(lengths),
        floor=max(known.mean.stderr, known.stderr_batch),
        reference=known.mean.value,
        unit=unit,
    )


def _weights(c: Comparison) -> Figures:
    assert c.drawn.log_weight is not None
    n, weights = len(c.drawn.trees), c.drawn.log_weight
    samples = WeightedSamples(weights[:, None], -c.drawn.log_posterior, weights)
    bound = mean_log_weight(weights)
    return {
        "elbo": Figure(bound.value, bound.stderr, n, unit="nat"),
        "ess_fraction": Figure(samples.ess_fraction(), n=n),
        "pareto_k": Figure(samples.pareto_k(), n=n),
    }


def _probabilities(c: Comparison) -> Figures:
    assert c.points is not None
    return correlation_figures(*c.points)


def correlation_figures(log_target: Float[Tensor, "tree"], log_p: Float[Tensor, "tree"]) -> Figures:
    """log p of trees against the logarithm of the law they should follow."""
    correlation, slope = correlation_and_slope(log_p, log_target)
    return {
        "log_p_correlation": Figure(correlation, n=len(log_p), reference=1.0),
        "log_p_slope": Figure(slope, n=len(log_p), reference=1.0),
    }


def costs(cost: Cost, name: str, baseline: float | None) -> Figures:
    """What it all took."""
    return {
        name: Figure(int(cost.n_evaluations), baseline=baseline),
        "seconds": Figure(cost.seconds, unit="s"),
        "cpu_seconds": Figure(cost.cpu_seconds, unit="s"),
    }
