"""Small runs of the boltzmann pipeline for its tests: the flags that make them small, and one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines import cli

IDEM = [
    "--idem.steps",
    "20",
    "--idem.steps-per-round",
    "10",
    "--idem.samples-per-round",
    "16",
    "--idem.batch",
    "16",
    "--idem.draws",
    "8",
    "--idem.sde-steps",
    "8",
    "--idem.network.width",
    "8",
    "--idem.network.layers",
    "1",
    "--flow.n-steps",
    "4",
    "--flow.probes",
    "1",
    "--n-samples",
    "40",
]
CHAINS = [
    "--chain.chains",
    "8",
    "--chain.kept",
    "12",
    "--chain.warmup",
    "20",
    "--chain.leapfrog",
    "3",
    "--chain.rungs",
    "2",
]
SMC = ["--smc.batches", "16", "--smc.particles", "32", "--smc.moves", "1"]
MD = [
    "--md.chains",
    "2",
    "--md.equilibration-ps",
    "0.1",
    "--md.save-every-ps",
    "0.02",
    "--n-samples",
    "20",
]
SMALL = [*IDEM, *CHAINS, *SMC, *MD[:-2]]
VACUUM = "alanine-dipeptide-vacuum"


def run(out: Path, *flags: str) -> int:
    """Exit code of `workbench boltzmann run` at small size."""
    return cli.main(["boltzmann", "run", "--preset", "smoke", *SMALL, *flags, "--out", str(out)])


def blank_picture(_: object, folder: Path, name: str) -> Path:
    """In place of `plotting.save`, which takes most of a small run's time."""
    folder.mkdir(exist_ok=True)
    for suffix in ("svg", "png"):
        (folder / f"{name}.{suffix}").write_bytes(b"")
    return folder / f"{name}.png"


def metrics(out: Path) -> dict[str, Any]:
    figures = json.loads((out / "metrics.json").read_text())
    assert figures.pop("schema_version") == 1
    return figures


def untimed(out: Path) -> dict[str, Any]:
    """The figures without those that measure time: what a resumed run must reproduce."""
    return {name: value for name, value in metrics(out).items() if "seconds" not in name}
