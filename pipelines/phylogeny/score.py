"""`workbench phylogeny score`: log-likelihood and parsimony of given trees.

Every tree of the file is scored under one substitution model. What is given stays fixed: branch lengths,
and model parameters in braces. `--optimise lengths` finds the best branch lengths, `--optimise all` also
the parameters of the model that have no value, for each tree. Without it such parameters take the
default values that are printed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.arguments import Parser
from workbench.errors import InputError

if TYPE_CHECKING:
    import argparse

    from domains.phylogeny.alignment import Alignment
    from domains.phylogeny.model_strings import ModelSpecification, Values
    from domains.phylogeny.optimise import Optimised
    from domains.phylogeny.patterns import Patterns
    from domains.phylogeny.tree_files import TreeFile

GAPS = ("missing", "fifth-state")
OPTIMISE = ("none", "lengths", "all")


@dataclass(frozen=True)
class Scores:
    """What is known of each tree, and what was done to know it.

    log_likelihood   None where the tree has no branch lengths and none were optimised
    parsimony        Fitch steps
    values           model parameters of each tree that are not fixed by the model string
    """

    model: str
    fixed: str
    optimised: str
    log_likelihood: list[float | None]
    parsimony: list[int]
    tree_length: list[float | None]
    converged: list[bool]
    values: list[dict[str, Values]]
    result: Optimised


def main(argv: Sequence[str]) -> None:
    """Run the command. Raises InputError for bad input."""
    arguments = _parser().parse(argv)
    _check(arguments)
    from domains.phylogeny.alignment import read_alignment
    from domains.phylogeny.patterns import Patterns
    from domains.phylogeny.rooting import root_at_outgroup
    from domains.phylogeny.tree_files import read_trees

    alignment = read_alignment(arguments.alignment)
    if arguments.partition is not None:
        alignment = alignment.take_sites(arguments.partition)
    patterns = Patterns.from_alignment(alignment)
    trees = read_trees(arguments.tree, alignment.names)
    if arguments.outgroup:  # refused before the work and not after it
        root_at_outgroup(trees.trees, trees.names, arguments.outgroup)
    warnings = [*alignment.warnings, *trees.warnings]
    scores = score(patterns, trees, arguments, warnings)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if arguments.out is not None:
        _write(arguments, trees, scores)
    if arguments.json:
        print(json.dumps(_as_json(trees, scores, arguments), indent=2, allow_nan=False), flush=True)
    else:
        _print(alignment, patterns, trees, scores, arguments)


def _parser() -> Parser:
    parser = Parser("phylogeny score", "Log-likelihood and parsimony of every tree of a file.")
    add = parser.add_argument
    add("--alignment", type=Path, required=True, help="FASTA, PHYLIP or NEXUS")
    add("--tree", type=Path, required=True, help="Newick or NEXUS, one tree or many")
    add(
        "--model",
        default="JC69",
        help="as in IQ-TREE: JC, K80, F81, HKY, GTR, +F, +I, +G4 (default JC69)",
    )
    add("--gaps", default="missing", help="gaps in parsimony: missing (default) or fifth-state")
    add("--optimise", default="none", help="none (default), lengths, or all: lengths and model")
    add("--partition", help="score one set of sites that the NEXUS file declares (charset)")
    add(
        "--out",
        type=Path,
        help="write the scored trees: NEXUS, or Newick for .nwk, .tre, .tree, .newick",
    )
    add("--outgroup", nargs="+", help="root the written trees at these taxa")
    add("--midpoint", action="store_true", help="root the written trees at the midpoint")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    for name, known in (("gaps", GAPS), ("optimise", OPTIMISE)):
        if getattr(arguments, name) not in known:
            raise InputError(f"--{name} is {getattr(arguments, name)}: one of {', '.join(known)}")
    if arguments.outgroup and arguments.midpoint:
        raise InputError("--outgroup and --midpoint both say where the root is: give one of them")
    if (arguments.outgroup or arguments.midpoint) and arguments.out is None:
        raise InputError("a root changes no score: give --out FILE to write the rooted trees")


def score(
    patterns: Patterns, file: TreeFile, arguments: argparse.Namespace, warnings: list[str]
) -> Scores:
    """Scores of all trees; what the user should know is added to `warnings`."""
    from domains.phylogeny.model_strings import parse_model
    from domains.phylogeny.parsimony import Parsimony

    specification = parse_model(arguments.model)
    result, scored = _likelihoods(patterns, specification, file, arguments.optimise, warnings)
    if arguments.gaps == "fifth-state":
        warnings.append(
            "gaps count as a fifth state: each site of a gap costs a step of its own, so most steps of "
            "a gappy alignment are gap steps"
        )
    steps = Parsimony(patterns, arguments.gaps).score(file.trees.children)
    lengths = result.trees.lengths.sum(1).tolist()
    free = list(specification.free) if arguments.optimise == "all" else []
    optimised = ["branch lengths"] * (arguments.optimise != "none") + free
    for i, converged in enumerate(result.converged.tolist()):
        if not converged:
            warnings.append(f"tree {i + 1}: the optimisation did not settle; its score is a bound")
    return Scores(
        specification.text,
        _fixed(specification, result.values[0], arguments.optimise),
        ", ".join(optimised) or "nothing",
        [value if known else None for value, known in zip(_finite(result), scored, strict=True)],
        steps.tolist(),
        [length if known else None for length, known in zip(lengths, scored, strict=True)],
        result.converged.tolist(),
        list(result.values),
        result,
    )


def _finite(result: Optimised) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in result.log_likelihood.tolist()]


def _likelihoods(
    patterns: Patterns,
    specification: ModelSpecification,
    file: TreeFile,
    optimise: str,
    warnings: list[str],
) -> tuple[Optimised, list[bool]]:
    """Log-likelihoods, and which trees could be scored."""
    import torch

    from domains.phylogeny.likelihood import TreeLikelihood, counted_frequencies
    from domains.phylogeny.optimise import Optimised, optimise_all, optimise_lengths

    trees = file.trees
    everything = [True] * len(trees)
    if optimise == "all":
        return optimise_all(patterns, specification, trees), everything
    counted = specification.counted
    start = specification.starts(counted_frequencies(patterns) if counted else (0.25,) * 4)
    if specification.free:
        said = "; ".join(f"{name} = {_numbers(start[name])}" for name in specification.free)
        warnings.append(
            f"not estimated, default values used: {said} (give them in braces, or --optimise all)"
        )
    likelihood = TreeLikelihood(patterns, specification.build(start))
    if optimise == "lengths":
        best = optimise_lengths(likelihood, trees)
        return Optimised(
            best.trees, best.log_likelihood, (start,) * len(trees), best.converged
        ), everything
    has_lengths = ~trees.lengths.isnan().any(1)
    values = torch.full((len(trees),), torch.nan, dtype=torch.float64)
    values[has_lengths] = likelihood.log_likelihood(trees[has_lengths])
    if not bool(has_lengths.all()):
        which = _listed((~has_lengths).nonzero().squeeze(1).tolist(), len(trees))
        warnings.append(
            f"{which} edges without a length and so no log-likelihood: use --optimise lengths"
        )
    if bool((values == -torch.inf).any()):
        which = _listed((values == -torch.inf).nonzero().squeeze(1).tolist(), len(trees))
        warnings.append(f"{which} edges of length zero between different sequences: impossible")
    settled = torch.ones(len(trees), dtype=torch.bool)
    return Optimised(trees, values, (start,) * len(trees), settled), has_lengths.tolist()


def _listed(rows: list[int], n_trees: int) -> str:
    if n_trees == 1:
        return "the tree has"
    named = ", ".join(str(row + 1) for row in rows[:10]) + (", ..." if len(rows) > 10 else "")
    return f"tree {named} has" if len(rows) == 1 else f"trees {named} have"


def _fixed(specification: ModelSpecification, values: dict[str, Values], optimise: str) -> str:
    """What was not optimised, with its values."""
    said = ["branch lengths as given"] if optimise == "none" else []
    said += [
        f"{name} = {_numbers(numbers)} (given)" for name, numbers in specification.fixed.items()
    ]
    if specification.counted:
        said.append(f"frequencies = {_numbers(values['frequencies'])} (counted)")
    if optimise != "all":
        said += [f"{name} = {_numbers(values[name])} (default)" for name in specification.free]
    return ", ".join(said) or "nothing"


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:.5g}" for value in values)


def _as_json(file: TreeFile, scores: Scores, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return [
        {
            "tree": i + 1,
            "name": file.labels[i] or None,
            "log_likelihood": scores.log_likelihood[i],
            "parsimony": scores.parsimony[i],
            "tree_length": scores.tree_length[i],
            "model": scores.model,
            "gaps": arguments.gaps,
            "fixed": scores.fixed,
            "optimised": scores.optimised,
            "converged": scores.converged[i],
            "parameters": {name: list(values) for name, values in scores.values[i].items()},
        }
        for i in range(len(file.trees))
    ]


def _print(
    alignment: Alignment,
    patterns: Patterns,
    file: TreeFile,
    scores: Scores,
    arguments: argparse.Namespace,
) -> None:
    print(
        f"alignment   {arguments.alignment} ({alignment.file_format}): {patterns.n_taxa} taxa, "
        f"{patterns.n_sites} sites, {patterns.states.shape[1]} patterns"
    )
    print(f"trees       {arguments.tree}: {len(file.trees)}")
    print(f"model       {scores.model}")
    print(f"fixed       {scores.fixed}")
    print(f"optimised   {scores.optimised}")
    print(f"gaps        missing in the likelihood, {arguments.gaps} in parsimony\n")
    print(f"{'tree':>6}  {'log-likelihood':>16}  {'parsimony':>9}  {'tree length':>11}  name")
    for i in range(len(file.trees)):
        value, length = scores.log_likelihood[i], scores.tree_length[i]
        shown = "-" if value is None else f"{value:.4f}"
        total = "-" if length is None else f"{length:.5f}"
        line = f"{i + 1:>6}  {shown:>16}  {scores.parsimony[i]:>9}  {total:>11}  {file.labels[i]}"
        print(line.rstrip())
        if arguments.optimise == "all":
            for name, numbers in scores.values[i].items():
                print(f"{'':>8}{name} = {_numbers(numbers)}")


def _write(arguments: argparse.Namespace, file: TreeFile, scores: Scores) -> None:
    from domains.phylogeny.rooting import root_at_midpoint, root_at_outgroup
    from domains.phylogeny.tree_files import write_newick, write_nexus_trees

    trees, supports = scores.result.trees, file.supports
    rooted = arguments.midpoint or bool(arguments.outgroup)
    if rooted:
        if arguments.midpoint:
            trees, source = root_at_midpoint(trees)
        else:
            trees, source = root_at_outgroup(trees, file.names, arguments.outgroup)
        supports = supports.gather(1, source)
    try:
        if arguments.out.suffix in (".nwk", ".tre", ".tree", ".newick"):
            write_newick(arguments.out, trees, file.names, supports, rooted)
        else:
            labels = [label or f"tree_{i + 1}" for i, label in enumerate(file.labels)]
            weights = None if bool((file.weights == 1).all()) else file.weights
            write_nexus_trees(
                arguments.out, trees, file.names,
                labels=labels, weights=weights, supports=supports, rooted=rooted,
            )  # fmt: skip
    except OSError as error:
        raise InputError(f"cannot write --out {arguments.out}: {error.strerror}") from error
