"""The figures of metrics.json: each with its error, floor, baseline and reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.synthetic.law import Law, log_p_by_importance, some_objects
from pipelines.synthetic.options import Config
from pipelines.synthetic.prepare import Problem
from pipelines.synthetic.references import Baseline
from pipelines.synthetic.training import Objects
from workbench.gflownet import evaluation
from workbench.gflownet.states import select
from workbench.metrics.floors import multinomial_floor
from workbench.runs.metrics import Figure
from workbench.samples import WeightedSamples

Figures = dict[str, Figure]

TEST_OBJECTS = 256
BACKWARD_DRAWS = 32
FLOOR_DRAWS = 20
UNLISTED = "the states are too many to be listed"

MEANINGS = {
    "total_variation": "exact total variation of the learned law from R / Z; floor: of n true samples",
    "total_variation_samples": "the same of the law that n samples show",
    "jensen_shannon": "Jensen-Shannon divergence of the learned law from R / Z",
    "log_partition": "log Z as the objective learns it, or by importance where it learns none",
    "log_partition_error": "distance of it from the exact value",
    "log_partition_importance": "log of the mean of R P_B / P_F over the samples",
    "elbo": "lower bound of log Z; the distance is KL(learned || true) over trajectories",
    "eubo": "upper bound of log Z; the distance is KL(true || learned): large where modes are missed",
    "log_p_correlation": "correlation of log p with log R over objects",
    "log_p_slope": "slope of log p on log R; a wrong temperature shows here alone",
    "mean_log_reward": "mean log R of the samples",
    "modes_found": "modes among the samples; reference: expected of as many true samples",
    "ess_fraction": "Kish effective sample size of the importance weights over n",
    "n_trajectories": "trajectories made for training",
    "n_reward_evaluations": "rewards computed in training and sampling, partial ones included",
    "seconds": "training and sampling, without looks at the law, and evaluation",
    "cpu_seconds": "the same in processor time",
    "seconds_total": "everything",
}
HIGHER_IS_BETTER = ("modes_found", "ess_fraction")


@dataclass(frozen=True)
class Comparison:
    """Everything the figures are made from.

    law             of the trained policy, where all states can be listed
    points          log R^beta and log p of objects, see `log_law_points`
    log_partition   as the objective learns it
    """

    config: Config
    problem: Problem
    law: Law | None
    objects: Objects
    points: tuple[Float[Tensor, "object"], Float[Tensor, "object"]]
    log_partition: float
    baseline: Baseline | None
    generator: torch.Generator


def evaluate(c: Comparison) -> Figures:
    """All figures of the sampler; those that cannot be had say why."""
    return _distances(c) | _log_partition(c) | _against_reward(c) | _objects(c)


def _distances(c: Comparison) -> Figures:
    n, target, base = len(c.objects.log_reward), c.problem.target, c.baseline
    names = ("total_variation", "total_variation_samples", "jensen_shannon")
    if target is None or c.law is None:
        return {name: Figure(None, n=n, why=UNLISTED) for name in names}
    seen = sample_law(c)
    floor = evaluation.total_variation_floor(target, n)
    learned = c.law.probabilities
    has_law = base is not None and base.law is not None
    theirs = base.law if has_law else None  # type: ignore[union-attr]
    tv = None if theirs is None else evaluation.total_variation(theirs, target)
    js = None if theirs is None else evaluation.jensen_shannon(theirs, target)
    js_floor = multinomial_floor(
        lambda p, _: evaluation.jensen_shannon(p, target), target, n, n, c.generator, FLOOR_DRAWS
    )
    return {
        "total_variation": Figure(
            evaluation.total_variation(learned, target), n=n, floor=floor, baseline=tv
        ),
        "total_variation_samples": Figure(
            evaluation.total_variation(seen, target), n=n, floor=floor
        ),
        "jensen_shannon": Figure(
            evaluation.jensen_shannon(learned, target),
            n=n,
            floor=js_floor.value,
            baseline=js,
            unit="nat",
        ),
    }


def sample_law(c: Comparison) -> Float[Tensor, "state"]:
    """Shares of the drawn objects by state number."""
    numbers = c.problem.synthetic.index(c.objects.state).cpu()
    return evaluation.empirical_law(numbers, c.problem.synthetic.n_states)


def _log_partition(c: Comparison) -> Figures:
    truth, weights = c.problem.log_partition, c.objects.log_weight
    n = len(weights)
    by_weights = evaluation.importance_log_partition(weights)
    lower = evaluation.mean_log_weight(weights)
    why = None if truth is not None else "log Z of this space is not known"
    error = None if truth is None else abs(c.log_partition - truth)
    exact = c.law is not None
    return {
        "log_partition": Figure(c.log_partition, reference=truth),
        "log_partition_error": Figure(error, why=why),
        "log_partition_importance": Figure(by_weights.value, by_weights.stderr, n, reference=truth),
        "elbo": Figure(
            c.law.elbo if c.law is not None else lower.value,
            None if exact else lower.stderr,
            None if exact else n,
            reference=truth,
        ),
        "eubo": Figure(c.law.eubo, reference=truth)
        if c.law is not None
        else Figure(None, reference=truth, why="true objects cannot be drawn: " + UNLISTED),
        "ess_fraction": Figure(_weighted(c.objects).ess_fraction(), n=n),
    }


def _weighted(objects: Objects) -> WeightedSamples:
    weights = objects.log_weight
    return WeightedSamples(torch.zeros(len(weights), 1), -objects.log_reward, weights)


def log_law_points(
    config: Config,
    problem: Problem,
    policy: Any,
    law: Law | None,
    objects: Objects,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "object"], Float[Tensor, "object"]]:
    """log R^beta and log p of objects: all of them where they can be listed, else drawn and uniformly
    random ones by importance."""
    if law is not None and problem.graph is not None:
        at = problem.graph.terminal
        return problem.graph.log_reward[at], law.log_p[at]
    chosen = some_objects(problem, objects.state, TEST_OBJECTS, generator)
    log_p = log_p_by_importance(config, problem, policy, chosen, BACKWARD_DRAWS, generator)
    return problem.beta * problem.synthetic.log_reward(chosen), log_p


def _against_reward(c: Comparison) -> Figures:
    log_reward, log_p = c.points
    correlation, slope = evaluation.correlation_and_slope(log_p, log_reward)
    n = len(log_p)
    return {
        "log_p_correlation": Figure(correlation, n=n, reference=1.0),
        "log_p_slope": Figure(slope, n=n, reference=1.0),
    }


def _objects(c: Comparison) -> Figures:
    n, environment = len(c.objects.log_reward), c.problem.synthetic
    reward = c.objects.log_reward
    found = evaluation.modes_found(environment.mode(c.objects.state), environment.n_modes)
    base = c.baseline
    expected, spread, mean = _expectations(c, n)
    return {
        "mean_log_reward": Figure(
            float(reward.mean()),
            float(reward.std()) / math.sqrt(n) if n > 1 else None,
            n,
            baseline=base.mean_log_reward if base else None,
            reference=mean,
        ),
        "modes_found": Figure(
            found,
            spread or None,
            n,
            baseline=base.modes_found if base else None,
            reference=expected,
        ),
    }


def _expectations(c: Comparison, n: int) -> tuple[float | None, float | None, float | None]:
    """Modes that `n` true samples find, the deviation of their number, and the true mean log R."""
    if c.problem.graph is None or c.problem.target is None:
        return float(c.problem.synthetic.n_modes), None, None
    at = c.problem.graph.terminal.nonzero().squeeze(1)
    law = c.problem.target[at]
    objects = select(c.problem.graph.states, at)
    mode = c.problem.synthetic.mode(objects)
    share = torch.zeros(c.problem.synthetic.n_modes, dtype=torch.float64)
    share.index_add_(0, mode[mode >= 0], law[mode >= 0])
    missed = torch.exp(n * torch.log1p(-share))
    spread = float((missed * (1 - missed)).sum().sqrt())
    if spread < 1e-6:  # true samples find them all
        spread = 0.0
    mean = float((law * c.problem.synthetic.log_reward(objects)).sum())
    return evaluation.expected_modes(share, n), spread, mean
