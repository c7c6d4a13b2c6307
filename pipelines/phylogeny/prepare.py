"""From options to a problem: the alignment, its site patterns, the target, random numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import domains.phylogeny
from domains.phylogeny.alignment import Alignment, read_alignment
from domains.phylogeny.likelihood import TreeLikelihood
from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.rooting import outgroup_tips
from domains.phylogeny.tree_target import TreeTarget
from pipelines.phylogeny.options import EMBEDDED, Config
from workbench.errors import InputError, nearest
from workbench.gflownet import training_loss
from workbench.gflownet.options import NetworkConfig
from workbench.gflownet.training_loss import ON_GIVEN_OBJECTS
from workbench.training.devices import set_threads

SMALLEST = 4
FIFTH_STATE = (
    "gaps count as a fifth state: each site of a gap costs a step of its own, so most steps of a gappy "
    "alignment are gap steps"
)


@dataclass(frozen=True)
class Problem:
    """What is sampled: trees over the taxa of `patterns`.

    target     the posterior (used for its patterns alone by parsimony)
    source     the alignment in words; `sha256` of its file
    warnings   one sentence each
    """

    patterns: Patterns
    target: TreeTarget
    source: str
    sha256: str
    warnings: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.patterns.names

    @property
    def n_taxa(self) -> int:
        return self.patterns.n_taxa

    def likelihood(self) -> TreeLikelihood:
        """Of a model without free parameters, with a counter of its own."""
        return TreeLikelihood(self.patterns, self.target.model(self.target.start))

    def generator(self, seed: int, stage: str) -> torch.Generator:
        """Random numbers of one stage: stages do not depend on each other's length."""
        mixed = seed * 1_000_003 + sum(ord(c) * 131**k for k, c in enumerate(stage))
        return torch.Generator().manual_seed(mixed % 2**63)


def problem(config: Config) -> Problem:
    """Raises InputError for an alignment, model, taxon or set of sites that cannot be used."""
    set_threads(config.threads)
    path = config.alignment or embedded_alignment()
    alignment = read_alignment(path)
    if config.partition is not None:
        alignment = alignment.take_sites(config.partition)
    patterns = Patterns.from_alignment(_taken(alignment, config.taxa))
    if patterns.n_taxa < SMALLEST:
        raise InputError(
            f"{patterns.n_taxa} taxa have one unrooted tree: give at least {SMALLEST} to sample trees"
        )
    if config.outgroup:
        outgroup_tips(patterns.names, config.outgroup)
    target = TreeTarget(patterns, parse_model(config.model), config.length_rate)
    if config.method == "gflownet":
        _check_training(config, target.specification.free)
    warnings = alignment.warnings + ((FIFTH_STATE,) if config.gaps == "fifth-state" else ())
    source = (
        f"{path.name} ({alignment.file_format}): {patterns.n_taxa} taxa, {patterns.n_sites} sites, "
        f"{patterns.states.shape[1]} patterns"
    )
    return Problem(
        patterns, target, source, hashlib.sha256(path.read_bytes()).hexdigest(), warnings
    )


def _check_training(config: Config, free: tuple[str, ...]) -> None:
    """What the GFlowNet of trees cannot do, although others can."""
    if free:
        raise InputError(
            f"--model {config.model} leaves {', '.join(free)} open, which the GFlowNet does not sample: "
            "give values in braces (workbench phylogeny score --optimise all finds them), or take "
            "--method mcmc"
        )
    asked = training_loss.needs(config)
    beyond = asked.partial or asked.stop or asked.potential or asked.inflow
    if beyond or asked.prior_exponent is not None or config.objective in ON_GIVEN_OBJECTS:
        raise InputError(
            f"--objective {config.objective} needs more than the policy over trees tells: take tb, "
            "log-variance, db or subtb"
        )
    for name, chosen, only in (
        ("backward", config.backward, "uniform"),
        ("ensemble.heads", config.ensemble.heads, 1),
        ("network", config.network, NetworkConfig()),
        ("temperature.final", config.temperature.final, 1.0),
    ):
        if chosen != only:
            raise InputError(
                f"--{name} does not apply to the GFlowNet of trees: leave it out (its own options are "
                "those of --forest)"
            )
    if config.temperature.kind == "conditional":
        raise InputError("--temperature.kind conditional is not for trees: take annealed or fixed")


def embedded_alignment() -> Path:
    """The alignment that runs without one use: see `domains/phylogeny/data/SOURCES.md`."""
    return Path(domains.phylogeny.__path__[0]) / "data" / f"{EMBEDDED}.fasta"


def _taken(alignment: Alignment, taxa: tuple[str, ...]) -> Alignment:
    """The rows of `taxa`, or all of them. Raises InputError for an unknown or repeated name."""
    if not taxa:
        return alignment
    for name in taxa:
        if name not in alignment.names:
            hint = nearest(name, alignment.names)
            raise InputError(f'taxon "{name}" is not in the alignment{hint}: check --taxa')
    if len(set(taxa)) < len(taxa):
        raise InputError("--taxa names a taxon twice: name each once")
    rows = [alignment.names.index(name) for name in taxa]
    return replace(alignment, names=taxa, states=alignment.states[rows])
