"""How many different good sets a sampler finds: on graphs whose optima can all be listed, and on the others.

Coverage    share of the optima among the draws
Uniformity  total variation of the draws that are optimal from the uniform law over optima; its floor is that
            of as many draws of that law
Law         total variation of the exact law of the policy from R^beta / Z, where all states can be listed
Spread      mean Hamming distance between different near-optimal sets, per vertex
Near-optimal: within 1 % of the best known value, and at least one unit weight.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from domains.graphs.enumerable import MOST_VERTICES, Enumerated, optima
from domains.graphs.environment import SetBuilding
from domains.graphs.policy import GraphPolicy
from domains.graphs.solvers import Solver
from pipelines.graphs import training
from workbench.errors import InputError
from workbench.gflownet import evaluation, exact

FEWEST_OPTIMA = 2
MOST_LISTED = 16  # vertices of a graph whose states are listed for the exact law
MOST_COMPARED = 200  # different sets between which distances are measured
NEAR = 0.01


@dataclass(frozen=True)
class Found:
    """Draws against the list of all optima of one graph."""

    n_optima: int
    coverage: float
    uniformity: float | None
    uniformity_floor: float | None


@dataclass(frozen=True)
class Diversity:
    """n_optimal     different sets among the draws that have the best known value
    n_near         different near-optimal sets; `near_per_second` of drawing
    spread         see above; None for fewer than two
    listed         against all optima, for the policy and for restarts of greedy; None where they
                   cannot be listed
    law_distance   see above
    """

    n_optimal: int
    n_near: int
    near_per_second: float
    spread: float | None
    listed: Found | None
    listed_greedy: Found | None
    law_distance: float | None


def diversity(
    policy: GraphPolicy,
    environment: SetBuilding,
    best: float,
    n_few: int,
    n_many: int,
    generator: torch.Generator,
    random: np.random.Generator,
) -> Diversity:
    """`n_many` draws where the optima can be listed, `n_few` where not. `best` is the best known value."""
    graph = environment.graphs.graphs[0]
    task, solver = environment.task, Solver(environment.task, graph)
    small = graph.n_vertices <= MOST_VERTICES
    n = n_many if small else n_few
    began = time.process_time()
    drawn = training.sets(policy, environment, n, generator).numpy()
    seconds = time.process_time() - began
    listed = listed_greedy = None
    if small:
        value, all_optima = optima(task, graph)
        best = float(value)
        if len(all_optima) >= FEWEST_OPTIMA:
            listed = _against(all_optima, drawn)
            listed_greedy = _against(all_optima, solver.greedy(solver.noise(n, random)))
    worse = task.sign * (best - solver.values(drawn))
    unit = float(environment.unit[0])
    distinct_near = np.unique(drawn[worse <= max(NEAR * abs(best), unit) + 1e-9], axis=0)
    distinct_best = np.unique(drawn[worse <= 1e-9], axis=0)
    return Diversity(
        len(distinct_best),
        len(distinct_near),
        len(distinct_near) / seconds,
        _spread(distinct_near[:MOST_COMPARED]),
        listed,
        listed_greedy,
        law_distance(policy, environment) if graph.n_vertices <= MOST_LISTED else None,
    )


def _against(
    all_optima: Bool[np.ndarray, "optimum vertex"], drawn: Bool[np.ndarray, "set vertex"]
) -> Found:
    place = {row.tobytes(): i for i, row in enumerate(all_optima)}
    numbers = [place[key] for row in drawn if (key := row.tobytes()) in place]
    n = len(all_optima)
    counts = np.bincount(np.array(numbers, dtype=np.int64), minlength=n)
    coverage = float((counts > 0).mean())
    if not numbers:
        return Found(n, coverage, None, None)
    uniform = torch.full((n,), 1.0 / n, dtype=torch.float64)
    law = torch.from_numpy(counts / len(numbers))
    floor = evaluation.total_variation_floor(uniform, len(numbers))
    return Found(n, coverage, evaluation.total_variation(law, uniform), floor)


def _spread(sets: Bool[np.ndarray, "set vertex"]) -> float | None:
    if len(sets) < 2:
        return None
    as_numbers = sets.astype(np.float64)
    both = as_numbers @ as_numbers.T
    size = as_numbers.sum(1)
    distance = size[:, None] + size[None] - 2 * both
    n = len(sets)
    return float(distance.sum() / (n * (n - 1)) / sets.shape[1])


@torch.no_grad()
def law_distance(policy: GraphPolicy, environment: SetBuilding) -> float | None:
    """Exact total variation of the policy's law from R^beta / Z; None where there are too many states."""
    try:
        space = Enumerated(environment.task, environment.graphs.graphs[0])
    except InputError:
        return None
    graph = exact.state_graph(space)
    table = exact.tabulate(graph, policy.on(space).forward_log_probs)
    law = exact.log_visits(graph, table).exp()[graph.terminal]
    target = (policy.beta * graph.log_reward[graph.terminal]).softmax(0)
    return evaluation.total_variation(law, target)
