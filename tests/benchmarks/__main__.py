"""`python -m tests.benchmarks [NAME...]`: every speed comparison, into ./benchmarks.json.

A comparison is a module `bench_NAME.py` beside this file with `run() -> dict`: one entry per figure, in
one of the two forms of `workbench.runs.metrics.write_benchmarks`. Each module runs in a process of its
own with one thread, so that none inherits another's caches or memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from workbench.errors import InputError, nearest
from workbench.runs.metrics import write_benchmarks
from workbench.training.processes import WorkerPool, import_function

OUT = Path("benchmarks.json")


def names() -> list[str]:
    return sorted(
        path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")
    )


def run_one(name: str) -> dict[str, Any]:
    """Called in a worker process."""
    return import_function(f"tests.benchmarks.bench_{name}:run")()


def main(chosen: list[str]) -> int:
    known = names()
    figures: dict[str, Any] = {}
    try:
        for name in chosen:
            if name not in known:
                raise InputError(f'unknown benchmark "{name}"{nearest(name, known)}: see {known}')
        for name in chosen or known:
            print(f"{name} ...", file=sys.stderr, flush=True)
            with WorkerPool("tests.benchmarks.__main__:run_one", 1) as pool:
                figures |= pool.map([(name,)])[0]
            write_benchmarks(OUT, figures)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    for name, figure in figures.items():
        low, high = figure["spread"]
        kind = "ratio" if "ratio" in figure else "rate"
        print(f"{name}: {kind} {figure[kind]:.4g} ({low:.4g} to {high:.4g}) {figure['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
