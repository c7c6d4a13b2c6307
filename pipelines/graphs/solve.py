"""`workbench graphs solve`: a trained run applied to a user's graph.

Sets are drawn from the run's policy until there are `--samples` of them, or for `--time-limit` seconds; each is
then improved to a local optimum, and a search goes on from the best ones for `--search-seconds`, unless that
is left out. The best sets, all different, are printed with the vertices' own names, and written to `--out` as
JSON lines.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.arguments import Parser
from workbench.errors import InputError

if TYPE_CHECKING:
    import argparse

    import numpy as np

    from domains.graphs.environment import SetBuilding
    from domains.graphs.policy import GraphPolicy

FORMATS = ("auto", "dimacs", "metis", "edge-list", "graphml")
BATCH = 20


def main(argv: Sequence[str]) -> None:
    """Run the command. Raises InputError for bad input."""
    arguments = _parser().parse(argv)
    _check(arguments)
    from domains.graphs.environment import SetBuilding
    from pipelines.graphs import training
    from pipelines.graphs.options import Config
    from pipelines.graphs.prepare import TASKS, adopted, fixed_by_name, graphs_of
    from pipelines.options import overlay
    from workbench.runs.folder import read_config

    pipeline, values = read_config(arguments.run)
    if pipeline != "graphs":
        raise InputError(
            f"{arguments.run} is a run of {pipeline}: give one of `workbench graphs run`"
        )
    config = adopted(overlay(Config(), values))
    if arguments.task not in (None, config.task):
        raise InputError(
            f"{arguments.run} was trained for {config.task}, not {arguments.task}: train one for it with "
            f"`workbench graphs run --task {arguments.task}`"
        )
    (graph, *_) = graphs_of(arguments.input, arguments.format, 1, 0)
    graph = fixed_by_name(graph, arguments.fix_in, arguments.fix_out)
    for note in graph.notes:
        print(f"warning: {note}", file=sys.stderr)
    environment = SetBuilding(TASKS[config.task], [graph])
    policy = training.load_policy(config, environment, arguments.run)
    _show(arguments, environment, *_solved(arguments, environment, policy))


def _parser() -> Parser:
    parser = Parser("graphs solve", "Near-optimal sets of one graph from a trained run.")
    add = parser.add_argument
    add("--input", required=True, help="DIMACS, METIS, edge list, GraphML, or a well-known graph")
    add("--run", type=Path, required=True, help="the run folder")
    add("--task", help="mis, clique, mds or cut: checked against the run")
    add("--format", default="auto", help="auto (default), dimacs, metis, edge-list, graphml")
    add("--samples", type=int, default=20, help="sets to draw (default 20)")
    add("--time-limit", type=float, help="draw for so many seconds instead")
    add("--search-seconds", type=float, default=0.5, help="search from them so long (default 0.5)")
    add("--keep", type=int, default=10, help="different sets to give, best first (default 10)")
    add("--no-local-search", action="store_true", help="the policy's sets as they are")
    add("--fix-in", nargs="+", default=[], metavar="VERTEX", help="vertices that have to be in")
    add("--fix-out", nargs="+", default=[], metavar="VERTEX", help="vertices that must not be in")
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="write the sets as JSON lines")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    if arguments.format not in FORMATS:
        raise InputError(f"--format is {arguments.format}: one of {', '.join(FORMATS)}")
    for name in ("samples", "keep"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} is {getattr(arguments, name)}: give 1 or more")
    if arguments.time_limit is not None and not arguments.time_limit > 0:
        raise InputError(f"--time-limit is {arguments.time_limit:g}: give seconds above 0")
    if not arguments.search_seconds >= 0:
        raise InputError(
            f"--search-seconds is {arguments.search_seconds:g}: give 0 or more seconds"
        )


def _solved(
    arguments: argparse.Namespace, environment: SetBuilding, policy: GraphPolicy
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Different sets and their values, best first; how many were drawn, and the seconds it took."""
    import numpy as np
    import torch

    from domains.graphs.long_search import searched, starts_from
    from domains.graphs.solvers import Solver
    from pipelines.graphs import training

    solver = Solver(environment.task, environment.graphs.graphs[0])
    generator = torch.Generator().manual_seed(arguments.seed)
    found: dict[bytes, Any] = {}
    began, drawn = time.perf_counter(), 0
    while True:
        left = arguments.samples - drawn if arguments.time_limit is None else BATCH
        chosen = training.sets(policy, environment, min(BATCH, left), generator).numpy()
        drawn += len(chosen)
        if not arguments.no_local_search:
            chosen = solver.improved(chosen)
        found |= {row.tobytes(): row for row in chosen}
        seconds = time.perf_counter() - began
        if (
            drawn >= arguments.samples
            if arguments.time_limit is None
            else seconds >= arguments.time_limit
        ):
            break
    sets = np.stack(list(found.values()))
    if not arguments.no_local_search:
        random = np.random.default_rng(arguments.seed)
        starts = starts_from(solver, sets, random)
        best, _ = searched(solver, starts, random, arguments.search_seconds)
        seconds += best.seconds
        assert best.chosen is not None
        sets = np.unique(np.concatenate([sets, best.chosen[None]]), axis=0)
    values = solver.values(sets)
    order = np.argsort(-environment.task.sign * values, kind="stable")[: arguments.keep]
    return sets[order], values[order], drawn, seconds


def _show(
    arguments: argparse.Namespace,
    environment: SetBuilding,
    sets: np.ndarray,
    values: np.ndarray,
    drawn: int,
    seconds: float,
) -> None:
    graph = environment.graphs.graphs[0]
    name = "gflownet" if arguments.no_local_search else "gflownet_local_search"
    records: list[dict[str, Any]] = [
        {
            "graph": graph.name,
            "solver": name,
            "value": float(value),
            "vertices": graph.named(row.nonzero()[0].tolist()),
        }
        for row, value in zip(sets, values, strict=True)
    ]
    if arguments.out is not None:
        try:
            arguments.out.write_text("".join(json.dumps(record) + "\n" for record in records))
        except OSError as error:
            raise InputError(f"cannot write --out {arguments.out}: {error.strerror}") from error
    if arguments.json:
        from pipelines.console import print_json

        print_json({"drawn": drawn, "seconds": seconds, "sets": records})
        return
    print(f"graph     {graph.name}: {graph.n_vertices:,} vertices, {graph.n_edges:,} edges")
    print(f"task      {environment.task.title}")
    print(f"drawn     {drawn:,} sets in {seconds:.2f} s; the {len(records)} best different ones:")
    for record in records:
        print(f"{record['value']:>10g}  {' '.join(map(str, record['vertices']))}")
