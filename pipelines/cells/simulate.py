"""`workbench cells simulate`: cells of a gene circuit with known answers, as an .h5ad for `cells run`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.arguments import Parser
from pipelines.cells.options import CIRCUITS
from workbench.errors import InputError

if TYPE_CHECKING:
    import argparse

DEFAULT_CELLS = 1000


def main(argv: Sequence[str]) -> None:
    """Run the command. Raises InputError for bad input."""
    arguments = _parser().parse(argv)
    _check(arguments)
    import torch

    from domains.cells.circuits import circuit
    from domains.cells.simulator import simulate, with_readouts

    generator = torch.Generator().manual_seed(arguments.seed)
    chosen = circuit(arguments.circuit)
    if arguments.knock_out:
        chosen = chosen.without(*arguments.knock_out)
    simulation = simulate(chosen, arguments.cells, generator, tuple(arguments.times) or None)
    data = simulation.anndata()
    if arguments.readouts:
        data = with_readouts(data, arguments.readouts, arguments.noise, generator)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    data.write_h5ad(arguments.out)
    times = simulation.snapshots.times.tolist()
    if arguments.json:
        about = {"file": str(arguments.out), "cells": data.n_obs, "genes": data.n_vars}
        print(json.dumps(about | {"time_key": "time", "times": times}))
        return
    shown = ", ".join(f"{time:g}" for time in times)
    print(f"{arguments.out}: {data.n_obs:,} cells x {data.n_vars:,} genes at times {shown}")
    print(f"workbench cells run --input {arguments.out} --time-key time", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser("cells simulate", "Cells of a gene circuit with known answers, as an .h5ad.")
    add = parser.add_argument
    add("--circuit", default="bifurcation", choices=CIRCUITS, help="the circuit")
    add("--cells", type=int, default=DEFAULT_CELLS, help="cells at each time")
    add("--times", type=float, nargs="*", default=[], help="default: those of the circuit")
    add("--knock-out", nargs="*", default=[], metavar="GENE", help="genes that are not made")
    add("--readouts", type=int, default=0, help="further genes that follow from the circuit's")
    add("--noise", type=float, default=0.1, help="of readouts, as a share of their spread")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--out", type=Path, required=True, metavar="FILE.h5ad", help="where to write")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    for name, least in (("cells", 5), ("readouts", 0), ("noise", 0), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise InputError(f"--{name} is {getattr(arguments, name)}: give {least} or more")
    if arguments.out.suffix != ".h5ad":
        raise InputError(f"--out is {arguments.out}: give a name that ends in .h5ad")
    if arguments.out.exists():
        raise InputError(f"{arguments.out} is there already: give another name to --out")
