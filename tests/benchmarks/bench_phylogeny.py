"""Rates on DS1 (27 taxa, 1949 sites, 934 patterns), one thread, random trees of different topologies.

    python -m tests.benchmarks phylogeny

Needs `WORKBENCH_DATA` with `phylogeny/DS1.fasta`; without it, an alignment of the same size is simulated,
which the unit says. Trees come from the prior: uniform topologies, exponential lengths of mean 0.1.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from domains.phylogeny.alignment import read_alignment
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.parsimony import Parsimony
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.priors import TreePrior

N_TAXA, N_PATTERNS = 27, 934
LIKELIHOOD_TREES, PARSIMONY_TREES, REPEATS = 512, 8192, 9


def alignment() -> tuple[Patterns, str]:
    path = Path(os.environ.get("WORKBENCH_DATA", "")) / "phylogeny" / "DS1.fasta"
    if path.is_file():
        return Patterns.from_alignment(read_alignment(path)), "DS1"
    generator = torch.Generator().manual_seed(1)
    # A common base per column with one taxon in five deviating.
    common = torch.randint(4, (1, N_PATTERNS), generator=generator)
    other = torch.randint(5, (N_TAXA, N_PATTERNS), generator=generator)
    deviates = torch.rand(N_TAXA, N_PATTERNS, generator=generator) < 0.2
    states = (2 ** torch.where(deviates, other, common)).to(torch.uint8)
    weights = torch.full((N_PATTERNS,), 2.0, dtype=torch.float64)
    names = tuple(f"taxon{i}" for i in range(N_TAXA))
    return Patterns(names, states, weights, 2 * N_PATTERNS), "simulated alignment of DS1's size"


def rate(call: Callable[[], Any], n_trees: int, unit: str) -> dict[str, Any]:
    call()
    rates = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        rates.append(n_trees / (time.process_time() - start))
    return {"rate": statistics.median(rates), "spread": [min(rates), max(rates)], "unit": unit}


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    patterns, source = alignment()
    generator = torch.Generator().manual_seed(0)
    trees = TreePrior().draw(patterns.n_taxa, LIKELIHOOD_TREES, generator)
    many = TreePrior().draw(patterns.n_taxa, PARSIMONY_TREES, generator).children
    likelihood = TreeLikelihood(patterns, parse_model("JC69").build())
    missing, fifth = Parsimony(patterns, "missing"), Parsimony(patterns, "fifth-state")
    unit = f"trees per CPU second, {source}"
    return {
        "jc69_ds1_per_cpu_second": rate(
            lambda: likelihood.log_likelihood(trees), LIKELIHOOD_TREES, unit
        ),
        "jc69_ds1_gradient_per_cpu_second": rate(
            lambda: likelihood.log_likelihood_and_gradient(trees), LIKELIHOOD_TREES, unit
        ),
        "fitch_ds1_missing_per_cpu_second": rate(
            lambda: missing.score(many), PARSIMONY_TREES, unit
        ),
        "fitch_ds1_fifth_state_per_cpu_second": rate(
            lambda: fifth.score(many), PARSIMONY_TREES, unit
        ),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
