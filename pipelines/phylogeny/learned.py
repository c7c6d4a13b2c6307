"""The GFlowNet of trees: training, draws, importance estimates, probabilities of given trees."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.best_trees import BestTrees
from domains.phylogeny.forest_options import ForestOptions
from domains.phylogeny.phylogfn import PhyloGFN
from domains.phylogeny.trees import Trees, concatenated
from pipelines.phylogeny.drawn import Cost
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from workbench.gflownet import algorithm, rollout
from workbench.gflownet.evaluation import importance_log_partition, mean_log_weight
from workbench.runs.folder import RunFolder
from workbench.training.fit import fit
from workbench.training.progress import track

CHUNK = 256
LOOK = 512  # importance samples of one look in training


@dataclass
class Spent:
    """What training took so far, without looks at its quality."""

    n_evaluations: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained sampler.

    policy   with averaged weights
    seen     the best trees that training made (parsimony)
    cost     of training
    """

    phylo: PhyloGFN
    policy: Any
    seen: BestTrees | None
    cost: Cost
    n_trajectories: int


@dataclass(frozen=True, eq=False)
class Objects:
    """Trees of the policy itself: log R, and importance weights log R P_B / P_F."""

    trees: Trees
    log_reward: Float[Tensor, "tree"]
    log_weight: Float[Tensor, "tree"]


@dataclass(eq=False)
class Recorded:
    """An environment whose finished objects are shown to `best`."""

    wrapped: Any
    phylo: PhyloGFN
    best: BestTrees = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        if name in ("wrapped", "phylo", "best"):  # while a copy is being made
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def log_reward(self, state: Any) -> Tensor:
        self.best.add(self.phylo.trees_of(state))
        return self.wrapped.log_reward(state)


def build(config: Config, problem: Problem) -> PhyloGFN:
    """The untrained sampler of the options."""
    options = ForestOptions(
        **asdict(config.forest), length_rate=config.length_rate, gaps=config.gaps
    )
    model = problem.target.model(problem.target.start) if config.target == "posterior" else None
    generator = problem.generator(config.seed, "policy")
    return PhyloGFN.build(problem.patterns, config.target, model, options, generator)


def n_evaluations(config: Config, phylo: PhyloGFN) -> float:
    """Likelihoods, or parsimony scores, computed so far."""
    if config.target == "posterior":
        return phylo.n_likelihood_evaluations
    return phylo.n_fitch_evaluations


def train(config: Config, problem: Problem, folder: RunFolder) -> Trained:
    phylo = build(config, problem)
    environment: Any = phylo.environment
    best = None
    if config.target == "parsimony":
        best = BestTrees(problem.patterns, config.gaps, config.within, config.n_kept)
        environment = Recorded(environment, phylo, best)
    generator = problem.generator(config.seed, "training")
    state = algorithm.init(config, environment, generator, policy=phylo.policy)

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        inner, _, spent = state
        began, before = time.process_time(), n_evaluations(config, phylo)
        inner, info = algorithm.step(config, environment, inner)
        spent.cpu_seconds += time.process_time() - began
        spent.n_evaluations += n_evaluations(config, phylo) - before
        return (inner, *state[1:]), info

    def monitor(state: Any) -> Mapping[str, float]:
        inner, best, spent = state
        values = _quality(config, problem, phylo, inner.average.module, inner.steps_done)
        values |= {"n_trajectories": inner.n_trajectories, **asdict(spent)}
        if best is not None and best.best is not None:
            values |= {"best_parsimony": best.best, "n_distinct_best": len(best)}
        return values

    fitted = fit(
        (state, best, Spent(n_evaluations(config, phylo))),
        step,
        config.steps,
        name="training",
        folder=folder,
        log_every=max(1, config.steps // 200),
        checkpoint_every=max(1, config.steps // config.n_evaluations),
        monitor=monitor,
    )
    inner, best, spent = fitted.state
    cost = Cost(round(spent.n_evaluations), fitted.seconds, fitted.cpu_seconds)
    return Trained(phylo, inner.average.module, best, cost, inner.n_trajectories)


def _quality(
    config: Config, problem: Problem, phylo: PhyloGFN, policy: Any, step: int
) -> dict[str, float]:
    """What is logged on the way."""
    generator = problem.generator(config.seed, f"look {step}")
    weights = torch.cat([part.log_weight for part in _parts(phylo, policy, LOOK, generator)])
    estimate = importance_log_partition(weights)
    return {
        "log_partition_estimate": estimate.value,
        "log_partition_stderr": estimate.stderr,
        "elbo": mean_log_weight(weights).value,
    }


@torch.no_grad()
def _parts(phylo: PhyloGFN, policy: Any, n: int, generator: torch.Generator) -> Iterator[Objects]:
    """`n` objects in chunks; trajectories, which hold every subtree they passed, are not kept."""
    for start in range(0, n, CHUNK):
        drawn = algorithm.sample(
            phylo.environment, policy, min(CHUNK, n - start), generator, chunk=CHUNK
        )
        weight = phylo.log_weights(drawn, policy).double()
        yield Objects(phylo.trees_of(drawn.final), drawn.log_reward.double(), weight)


def draw(
    config: Config, problem: Problem, trained: Trained, n: int, stage: str
) -> tuple[Objects, Cost]:
    """`n` trees of the policy itself, none of them dropped, and what they took."""
    wall, cpu, before = (
        time.perf_counter(),
        time.process_time(),
        n_evaluations(config, trained.phylo),
    )
    chunks = _parts(trained.phylo, trained.policy, n, problem.generator(config.seed, stage))
    parts = list(track(chunks, "sampling", -(-n // CHUNK)))
    objects = Objects(
        concatenated([part.trees for part in parts]),
        torch.cat([part.log_reward for part in parts]),
        torch.cat([part.log_weight for part in parts]),
    )
    spent = round(n_evaluations(config, trained.phylo) - before)
    return objects, Cost(spent, time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(frozen=True, eq=False)
class Repeats:
    """Independent importance estimates of log Z, `n_importance` objects each, and what all of them took."""

    values: Float[Tensor, "repeat"]
    cost: Cost


def log_partition_repeats(
    config: Config, problem: Problem, trained: Trained, folder: RunFolder
) -> Repeats:
    """`n_repeats` estimates in a checkpointed loop."""
    phylo, policy = trained.phylo, trained.policy

    def step(state: Any) -> tuple[Any, Mapping[str, float]]:
        values, spent, generator = state
        before = n_evaluations(config, phylo)
        parts = _parts(phylo, policy, config.n_importance, generator)
        estimate = importance_log_partition(torch.cat([part.log_weight for part in parts]))
        spent += n_evaluations(config, phylo) - before
        values = torch.cat([values, torch.tensor([estimate.value], dtype=torch.float64)])
        return (values, spent, generator), {"log_partition_estimate": estimate.value}

    fitted = fit(
        (torch.zeros(0, dtype=torch.float64), 0.0, problem.generator(config.seed, "importance")),
        step,
        config.n_repeats,
        name="importance",
        folder=folder,
        log_every=1,
        checkpoint_every=1,
    )
    values, spent, _ = fitted.state
    return Repeats(values, Cost(round(spent), fitted.seconds, fitted.cpu_seconds))


@torch.no_grad()
def log_probability(
    problem: Problem, trained: Trained, trees: Trees, n_draws: int, generator: torch.Generator
) -> tuple[Float[Tensor, "tree"], Float[Tensor, "tree"]]:
    """log R and log p of given trees, from `n_draws` backward trajectories each; log p is biased low where
    a tree can be built in several orders."""
    phylo, policy = trained.phylo, trained.policy
    objects = phylo.objects(trees)
    ratios = []
    for _ in range(n_draws):
        behaviour = policy.backward_behaviour(len(trees), generator)
        back = rollout.backward(phylo.environment, behaviour, objects, generator)
        ratios.append(back.log_reward.double() - phylo.log_weights(back, policy).double())
    log_p = torch.logsumexp(torch.stack(ratios), 0) - math.log(n_draws)
    return back.log_reward.double(), log_p
