"""Small runs of the phylogeny pipeline for its tests: the flags that make them small, and one call."""

from __future__ import annotations

from pathlib import Path

from pipelines import cli

SMALL = ["--steps", "6", "--batch", "8", "--n-samples", "60", "--n-importance", "16"]
SMALL += [
    "--n-repeats",
    "3",
    "--n-evaluations",
    "2",
    "--forest.width",
    "8",
    "--enumerate-up-to",
    "5",
]
SMALL += ["--chain.rounds", "100", "--chain.steps", "5", "--chain.rungs", "2"]
SMALL += [
    "--stone.stones",
    "3",
    "--stone.repeats",
    "2",
    "--stone.rounds",
    "20",
    "--stone.steps",
    "5",
]
SMALL += ["--search.evaluations", "3000", "--search.local", "300", "--programs.generations", "0"]
TAXA = ("Human", "Galago", "Mouse", "Cow", "Horse")


def run(out: Path, *flags: str) -> int:
    """Exit code of `workbench phylogeny run` at small size."""
    small = ["phylogeny", "run", "--preset", "smoke", *SMALL]
    return cli.main([*small, "--taxa", *TAXA, *flags, "--out", str(out)])
