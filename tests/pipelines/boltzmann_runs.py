"""Small runs of the boltzmann pipeline for its tests: the flags that make them small, and one call."""

from __future__ import annotations

from pathlib import Path

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
