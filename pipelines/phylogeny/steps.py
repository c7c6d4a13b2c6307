"""The pipeline: sample -> compare -> evaluate -> write -> report."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.lifecycle import finish
from pipelines.phylogeny import evaluation, parsimony, posterior
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem
from workbench.runs.folder import RunFolder


def work(config: Config, problem: Problem, folder: RunFolder) -> None:
    """Everything from the first step to the report; what is done already is not done again."""
    for warning in problem.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    module = posterior if config.target == "posterior" else parsimony
    figures, sections, counts = module.run(config, problem, folder)
    finish(
        config,
        folder,
        figures,
        sections,
        evaluation,
        alignment=problem.source,
        alignment_sha256=problem.sha256,
        **counts,
    )


def more_samples(config: Config, problem: Problem, folder: RunFolder, n: int) -> Path:
    """`n` more trees, in a file of their own."""
    stem = f"more-{len(list(folder.samples.glob('more-*.trees'))) + 1}"
    module = posterior if config.target == "posterior" else parsimony
    return module.more_samples(config, problem, folder, n, stem)
