"""From options to a problem: the environment, its exact answers, random numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from domains.synthetic import environment as make_environment
from domains.synthetic.environment import SyntheticEnvironment
from pipelines.synthetic.options import Config
from workbench.errors import InputError
from workbench.gflownet.counted import CountedEnvironment
from workbench.gflownet.exact import StateGraph, state_graph
from workbench.gflownet.training_loss import ON_GIVEN_OBJECTS
from workbench.problem import PartialReward, Stoppable
from workbench.training.devices import set_threads

MOST_STATES = 500_000


@dataclass(frozen=True)
class Problem:
    """What is sampled: R^beta over the objects of an environment.

    graph           all states and moves with the rewards R^beta; None where there are too many
    log_partition   log of the sum of R^beta, or None where it is not known
    """

    environment: CountedEnvironment
    beta: float
    graph: StateGraph | None
    log_partition: float | None

    @property
    def synthetic(self) -> SyntheticEnvironment:
        """The environment without its counter: for evaluation and baselines."""
        return self.environment.wrapped

    @property
    def target(self) -> Float[Tensor, "state"] | None:
        """R^beta / Z of every state, 0 where it is no object."""
        return None if self.graph is None else self.graph.log_target.exp()

    def generator(
        self, seed: int, stage: str, device: torch.device | None = None
    ) -> torch.Generator:
        """Random numbers of one stage: stages do not depend on each other's length."""
        mixed = seed * 1_000_003 + sum(ord(c) * 131**k for k, c in enumerate(stage))
        return torch.Generator(device or "cpu").manual_seed(mixed % 2**63)


def problem(config: Config) -> Problem:
    """Raises InputError for an environment that cannot be had, an objective that it does not allow, or
    more states than a table can have."""
    set_threads(config.threads)
    options = {
        "hypergrid": asdict(config.grid),
        "bit-sequences": asdict(config.bits),
        "tree-building": asdict(config.tree),
    }
    inner = make_environment(config.environment, **options[config.environment])
    beta = config.temperature.final
    listed = inner.n_states <= MOST_STATES
    if config.network.tabular and not listed:
        raise InputError(
            f"{inner.name} has {inner.n_states:,} states, too many for a table: leave out "
            "--network.tabular"
        )
    _check_objective(config, inner)
    log_partition = inner.log_partition if beta == 1.0 else None
    graph = None
    if listed:
        graph = state_graph(inner)
        graph = replace(graph, log_reward=beta * graph.log_reward)
        log_partition = graph.log_partition
    return Problem(CountedEnvironment(inner), beta, graph, log_partition)


def _check_objective(config: Config, environment: SyntheticEnvironment) -> None:
    if config.objective == "modified-db" and not isinstance(environment, Stoppable):
        raise InputError(
            f"--objective modified-db needs objects that may stop at every state, and {environment.name} "
            "does not: take db, or --environment hypergrid"
        )
    if config.objective.startswith("fl-") and not isinstance(environment, PartialReward):
        raise InputError(
            f"--objective {config.objective} needs rewards of unfinished objects, and "
            f"{environment.name} has none: take {config.objective.removeprefix('fl-')}"
        )
    if config.objective in ON_GIVEN_OBJECTS and config.temperature.kind == "conditional":
        raise InputError(
            f"--objective {config.objective} follows objects of one temperature: take --objective tb, or "
            "--temperature.kind fixed"
        )
