"""The options of the pipeline: the problem, the graphs, the solvers beside it, and the GFlowNet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.options import CommonOptions
from workbench.errors import InputError
from workbench.gflownet.options import GFlowNetConfig

TaskName = Literal["mis", "clique", "mds", "cut"]
SolverName = Literal["cp_sat", "kamis", "tabu"]


@dataclass(frozen=True, kw_only=True)
class Config(CommonOptions, GFlowNetConfig):
    """Diverse, near-optimal independent sets, cliques, dominating sets or cuts, beside classical solvers."""

    task: TaskName = "mis"
    """mis: maximum independent set; clique; mds: minimum dominating set; cut: maximum cut."""
    train: str = "rb-small"
    """Graphs to learn from: a family (rb-small, ba-small, ...), a well-known graph, or a file."""
    test: str = "rb-small"
    """Graphs to solve: the same choice; a family is drawn with seeds that training never sees."""
    format: Literal["auto", "dimacs", "metis", "edge-list", "graphml"] = "auto"
    """Format of files; auto tells it from the name."""
    n_train: int = 400
    """Graphs of a family to learn from."""
    n_test: int = 20
    """Graphs of a family to solve."""
    fix_in: tuple[str, ...] = ()
    """Vertices of a test file that have to be in the set (for cut: on its side)."""
    fix_out: tuple[str, ...] = ()
    """Vertices of a test file that must not be in the set."""
    n_validation: int = 32
    """Held-out graphs of the training family for looks in training."""
    per_graph: int = 8
    """Trajectories on each graph of a training batch."""
    samples: int = 20
    """Sets drawn for each test graph, of which the best counts."""
    draws: int = 1000
    """Sets drawn where all optima of a test graph can be listed: how many of them are found."""
    solvers: tuple[SolverName, ...] = ("cp_sat", "kamis", "tabu")
    """Solvers beside greedy and local search; those that do not know the task are left out."""
    trained: str = ""
    """A finished run whose policy is taken as it is, with its network: nothing is trained."""
    known: str = ""
    """The solutions.jsonl of an earlier run: what it holds of other solvers on these graphs is not computed
    again."""
    time_limit: float = 10.0
    """Seconds for CP-SAT, KaMIS and tabu search on each graph."""
    search_seconds: float = 1.0
    """Seconds of local search on each graph, from every kind of start; from the policy's sets less what drawing
    them took."""
    n_evaluations: int = 10
    """Looks at the held-out graphs in training; not counted as its cost."""

    def __post_init__(self) -> None:
        CommonOptions.__post_init__(self)
        GFlowNetConfig.__post_init__(self)
        for name in (
            "n_train",
            "n_test",
            "n_validation",
            "per_graph",
            "samples",
            "draws",
            "n_evaluations",
        ):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name)}: give 1 or more")
        if self.known and not Path(self.known).is_file():
            raise InputError(f"--known {self.known} is no file: give the solutions.jsonl of a run")
        for name in ("time_limit", "search_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {getattr(self, name):g}: give seconds above 0")
        self._check_objective()

    def _check_objective(self) -> None:
        if self.objective == "modified-db":
            raise InputError(
                "--objective modified-db needs objects that may stop at every state: take db"
            )
        if self.objective == "forward-kl":
            raise InputError(
                "--objective forward-kl learns from given objects and there are none: take log-variance"
            )
        if self.temperature.kind == "conditional":
            raise InputError(
                "--temperature.kind conditional is not for graphs, on which log Z depends already: take "
                "annealed or fixed"
            )
        if self.network.tabular:
            raise InputError("--network.tabular has no row for a new graph: leave it out")
        if self.ensemble.heads > 1:
            raise InputError(
                "--ensemble.heads is above 1 and the graph network has one head: take 1"
            )

    @property
    def label(self) -> str:
        return f"{self.task}-{self.test.rsplit('/', 1)[-1]}"
