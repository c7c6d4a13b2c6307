"""MrBayes and IQ-TREE, run where they are installed, as references for our own samplers and searches.

Each run works in a temporary folder, on one thread, with taxa renamed t1, t2, ... (both programs restrict
names) and the columns of the patterns written out as often as they occur. MrBayes built with BEAGLE refuses
two sampling commands in one script, so BEAGLE is switched off and each command has a process of its own.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.characters import decode
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.tree_files import read_trees
from domains.phylogeny.trees import Trees
from workbench.errors import InputError
from workbench.problem import Estimate

_PROGRAMS = {"MrBayes": ("mb",), "IQ-TREE": ("iqtree3", "iqtree2", "iqtree")}
_PACKAGES = {"MrBayes": "mrbayes", "IQ-TREE": "iqtree"}


@dataclass(frozen=True)
class MrBayesConfig:
    """settings                 commands `lset` and `prset` (see `mrbayes_model`)
    n_generations, sample_every  of each run
    n_runs, n_chains            independent runs, Metropolis-coupled chains in each
    burn_in                     share of the samples left out
    n_steps                     stones of stepping-stone sampling
    limit_seconds               a command that takes longer is stopped
    """

    settings: tuple[str, ...]
    n_generations: int = 100_000
    sample_every: int = 100
    n_runs: int = 2
    n_chains: int = 4
    burn_in: float = 0.25
    n_steps: int = 30
    seed: int = 1
    limit_seconds: float = math.inf


@dataclass(frozen=True, eq=False)
class MrBayesSamples:
    """trees [run] after burn-in, the log-likelihoods of all samples and the seconds it took."""

    trees: list[Trees]
    log_likelihood: Float[Tensor, "sample run"]
    seconds: float


@dataclass(frozen=True, eq=False)
class IqTreeResult:
    """The most likely tree found (a batch of one), its log-likelihood and the seconds it took."""

    tree: Trees
    log_likelihood: float
    seconds: float


def installed(program: str) -> bool:
    """Is "MrBayes" or "IQ-TREE" on the PATH?"""
    return any(shutil.which(name) for name in _PROGRAMS[program])


def executable(program: str) -> str:
    """The path of "MrBayes" or "IQ-TREE". Raises `InputError` that says how to install it."""
    for name in _PROGRAMS[program]:
        path = shutil.which(name)
        if path is not None:
            return path
    raise InputError(
        f"{program} ({_PROGRAMS[program][0]}) is not on the PATH: install it (Debian: apt install "
        f"{_PACKAGES[program]}) or leave the comparison out"
    )


def mrbayes_sample(config: MrBayesConfig, patterns: Patterns) -> MrBayesSamples:
    """MCMC. Raises `InputError` where MrBayes is absent, stops with an error or takes too long."""
    command = (
        f"mcmc ngen={config.n_generations} samplefreq={config.sample_every} nruns={config.n_runs} "
        f"nchains={config.n_chains} printfreq={config.n_generations} diagnfreq={config.n_generations}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        _run_mrbayes(config, patterns, command, folder)
        seconds = time.perf_counter() - started
        stems = _stems(config.n_runs)
        names = _short_names(patterns)
        trees, traces = [], []
        for stem in stems:
            every = read_trees(folder / f"{stem}.t", names).trees
            trees.append(every[slice(int(config.burn_in * len(every)), None)])
            rows = (folder / f"{stem}.p").read_text().splitlines()[2:]
            traces.append(torch.tensor([float(row.split("\t")[1]) for row in rows]))
    return MrBayesSamples(trees, torch.stack(traces, 1).double(), seconds)


def mrbayes_marginal_likelihood(config: MrBayesConfig, patterns: Patterns) -> Estimate:
    """Stepping-stone estimate: mean over the runs and its standard error (zero for one run)."""
    command = (
        f"ss ngen={config.n_generations} samplefreq={config.sample_every} nruns={config.n_runs} "
        f"nchains={config.n_chains} nsteps={config.n_steps} printfreq={config.n_generations} "
        f"diagnfreq={config.n_generations}"
    )
    with tempfile.TemporaryDirectory() as name:
        output = _run_mrbayes(config, patterns, command, Path(name))
    rows = re.findall(r"^\s+(\d+)\s+(-\d+\.\d+)\s*$", output, re.MULTILINE)
    values = torch.tensor([float(value) for _, value in rows[-config.n_runs :]])
    if len(values) < config.n_runs:
        raise InputError(f"MrBayes printed no marginal likelihood: {_end_of(output)}")
    error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return Estimate(float(values.mean()), error)


def iqtree_search(
    patterns: Patterns, model: str = "JC", seed: int = 1, limit_seconds: float = math.inf
) -> IqTreeResult:
    """IQ-TREE's search for the most likely tree. Raises `InputError` where it is absent, fails or takes
    longer than `limit_seconds`."""
    program = executable("IQ-TREE")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alignment = folder / "data.fasta"
        alignment.write_text(_fasta(patterns), encoding="utf-8")
        arguments = (
            f"-s {alignment} -m {model} -nt 1 -seed {seed} -pre {folder / 'run'} -redo -quiet"
        )
        started = time.perf_counter()
        _run([program, *arguments.split()], folder, limit_seconds)
        seconds = time.perf_counter() - started
        report = (folder / "run.iqtree").read_text()
        found = re.search(r"Log-likelihood of the tree:\s*(-?\d+\.\d+)", report)
        if found is None:
            raise InputError(f"IQ-TREE's report has no log-likelihood: {_end_of(report)}")
        tree = read_trees(folder / "run.treefile", _short_names(patterns)).trees
    return IqTreeResult(tree, float(found.group(1)), seconds)


def _run_mrbayes(config: MrBayesConfig, patterns: Patterns, command: str, folder: Path) -> str:
    program = executable("MrBayes")
    (folder / "data.nex").write_text(_nexus(patterns), encoding="utf-8")
    script = [
        "set autoclose=yes nowarn=yes usebeagle=no",
        f"set seed={config.seed} swapseed={config.seed}",
        "execute data.nex",
        *config.settings,
        command,
    ]
    lines = ["#NEXUS", "begin mrbayes;", *(f"  {line};" for line in script), "end;", ""]
    (folder / "run.nex").write_text("\n".join(lines), encoding="utf-8")
    output = _run([program, "run.nex"], folder, config.limit_seconds)
    if "Error" in output:
        raise InputError(f"MrBayes stopped: {_end_of(output)}")
    return output


def _run(command: Sequence[str], folder: Path, limit_seconds: float) -> str:
    limit = limit_seconds if math.isfinite(limit_seconds) else None
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{Path(command[0]).name} was stopped after {limit_seconds:g} s: give it more time or less to do"
        ) from None
    if done.returncode != 0:
        problem = _end_of(done.stdout + done.stderr)
        raise InputError(f"{command[0]} ended with code {done.returncode}: {problem}")
    return done.stdout


def _end_of(output: str) -> str:
    return " ".join(output.split()[-40:])


def _stems(n_runs: int) -> list[str]:
    return [f"data.nex.run{run + 1}" for run in range(n_runs)] if n_runs > 1 else ["data.nex"]


def _short_names(patterns: Patterns) -> tuple[str, ...]:
    return tuple(f"t{tip + 1}" for tip in range(patterns.n_taxa))


def _sequences(patterns: Patterns) -> list[str]:
    repeats = patterns.weights.long()
    return [decode(row.repeat_interleave(repeats)) for row in patterns.states]


def _fasta(patterns: Patterns) -> str:
    pairs = zip(_short_names(patterns), _sequences(patterns), strict=True)
    return "".join(f">{name}\n{sequence}\n" for name, sequence in pairs)


def _nexus(patterns: Patterns) -> str:
    rows = [
        f"{name} {sequence}"
        for name, sequence in zip(_short_names(patterns), _sequences(patterns), strict=True)
    ]
    size = f"dimensions ntax={patterns.n_taxa} nchar={patterns.n_sites};"
    form = "format datatype=dna gap=- missing=?;"
    return "\n".join(["#NEXUS", "begin data;", size, form, "matrix", *rows, ";", "end;", ""])
