"""Samples of trees as files in the manner of MrBayes 3.2, which Tracer, FigTree, SplitsTree and AWTY read.

    NAME.runK.t    every sampled tree of run K, with a translate table
    NAME.runK.p    Gen, LnL, LnPr, TL and the model's parameters, tab-separated, as many rows as trees
    NAME.con.tre   majority-rule consensus with supports as `prob` and mean lengths
    NAME.trprobs   distinct topologies with probability `p` and cumulated `P`, as weighted trees
    NAME.parts.tsv splits as patterns of dots and stars, with frequencies and lengths

(F. Ronquist et al., "MrBayes 3.2: efficient Bayesian phylogenetic inference and model choice across a
large model space", Syst. Biol. 61, 539 (2012).)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.consensus import LabelledTree
from domains.phylogeny.model_parameters import to_values
from domains.phylogeny.model_strings import ModelSpecification
from domains.phylogeny.models import EXCHANGES, STATES
from domains.phylogeny.newick import format_newick, quoted_names
from domains.phylogeny.summaries import SplitTable, TopologyTable
from domains.phylogeny.tree_mcmc import Trace
from domains.phylogeny.trees import Trees
from workbench.errors import InputError
from workbench.runs.files import write_text

_COLUMNS = {
    "kappa": ("kappa",),
    "exchangeabilities": tuple(f"r({pair[0]}<->{pair[1]})" for pair in EXCHANGES),
    "frequencies": tuple(f"pi({state})" for state in STATES),
    "invariant": ("pinvar",),
    "shape": ("alpha",),
}


def write_runs(
    folder: Path,
    name: str,
    trace: Trace,
    names: Sequence[str],
    specification: ModelSpecification,
    steps_per_round: int,
) -> list[Path]:
    """`NAME.runK.t` and `NAME.runK.p` of every ladder of a trace (`runK.t`, `runK.p` for the name ""); returns
    the paths."""
    n_rounds, n_ladders = trace.log_posterior.shape
    generations = [(i + 1) * steps_per_round for i in range(n_rounds)]
    paths = []
    for ladder in range(n_ladders):
        stem = f"{name}.run{ladder + 1}".removeprefix(".")
        trees = folder / f"{stem}.t"
        write_tree_samples(trees, trace.ladder_trees(ladder), names, generations)
        table = folder / f"{stem}.p"
        write_parameter_samples(
            table,
            generations,
            trace.log_likelihood[:, ladder, 0],
            trace.log_prior[:, ladder, 0],
            trace.tree_length[:, ladder, 0],
            specification,
            trace.parameters[:, ladder, 0],
        )
        paths += [trees, table]
    return paths


def write_tree_samples(
    path: Path, trees: Trees, names: Sequence[str], generations: Sequence[int]
) -> None:
    """A `.t` file. Raises `InputError` where trees and generations differ in number."""
    _check_rows(len(trees), len(generations))
    newicks = _by_number(trees)
    rows = [
        f"   tree gen.{generation} = [&U] {newick}"
        for generation, newick in zip(generations, newicks, strict=True)
    ]
    write_text(path, "\n".join(["#NEXUS", "[Param: tree]", *_tree_block(names, rows), ""]))


def write_parameter_samples(
    path: Path,
    generations: Sequence[int],
    log_likelihood: Float[Tensor, "tree"],
    log_prior: Float[Tensor, "tree"],
    tree_length: Float[Tensor, "tree"],
    specification: ModelSpecification,
    parameters: Float[Tensor, "tree parameter"],
) -> None:
    """A `.p` file. Raises `InputError` where its columns differ in length."""
    _check_rows(len(log_likelihood), len(generations))
    header = ["Gen", "LnL", "LnPr", "TL"]
    for parameter in specification.free:
        header += _COLUMNS[parameter]
    lines = ["[ID: 0000000000]", "\t".join(header)]
    columns = torch.stack([log_likelihood, log_prior, tree_length], 1).tolist()
    for generation, row, z in zip(generations, columns, parameters, strict=True):
        values = [*row]
        for parameter, given in to_values(specification, z).items():
            values += _shares(given) if parameter == "exchangeabilities" else given
        lines.append("\t".join([str(generation), *(f"{value:.6e}" for value in values)]))
    write_text(path, "\n".join([*lines, ""]))


def write_consensus(path: Path, tree: LabelledTree, rooted: bool = False) -> None:
    """A `.con.tre` file: supports as `[&prob=...]` after each inner node, as FigTree shows them."""
    numbers = [str(tip + 1) for tip in range(len(tree.names))]
    below, texts = tree.children(), [*numbers, *[""] * (len(tree.parent) - len(numbers))]
    for node in tree.postorder(below):
        support, parent = float(tree.supports[node]), int(tree.parent[node])
        if below[node]:
            texts[node] = f"({','.join(texts[child] for child in below[node])})"
            if support == support:  # not NaN
                texts[node] += f"[&prob={support:.6f}]"
        if parent >= 0:
            texts[node] += f":{float(tree.lengths[node]):.8g}"
    root = int((tree.parent < 0).nonzero()[0])
    rows = [f"   tree con_50_majrule = [&{'R' if rooted else 'U'}] {texts[root]};"]
    write_text(path, "\n".join(["#NEXUS", *_tree_block(tree.names, rows), ""]))


def write_topology_probabilities(
    path: Path, trees: Trees, table: TopologyTable, names: Sequence[str], level: float = 0.95
) -> None:
    """A `.trprobs` file: the topologies of the credible set, most probable first."""
    kept = slice(0, table.credible(level))
    cumulated = table.frequency.cumsum(0).tolist()
    bare = trees[table.first[kept]]
    bare = Trees(bare.children, torch.full_like(bare.lengths, torch.nan))
    rows = [
        f"   tree tree_{i + 1} [p = {float(table.frequency[i]):.6f}, P = {cumulated[i]:.6f}] = "
        f"[&W {float(table.frequency[i]):.9f}] {newick}"
        for i, newick in enumerate(_by_number(bare))
    ]
    write_text(path, "\n".join(["#NEXUS", *_tree_block(names, rows), ""]))


def write_split_table(
    path: Path,
    table: SplitTable,
    names: Sequence[str],
    minimum_frequency: float = 0.01,
    others: dict[str, Float[Tensor, "split"]] | None = None,
) -> None:
    """Splits by decreasing frequency, tab-separated: a star for every taxon on the side without the first
    one, and columns of `others` (frequencies in further samples, in the order of the table)."""
    header = ["split", "frequency", "mean_length", "sd_length", "n_taxa", *(others or {}), "taxa"]
    lines = ["\t".join(header)]
    for row in range(len(table)):
        extra = [float(column[row]) for column in (others or {}).values()]
        if max([float(table.frequency[row]), *extra]) < minimum_frequency:
            continue
        inside = table.members[row].tolist()
        values = [table.frequency[row], table.mean_length[row], table.sd[row]]
        members = [name for name, member in zip(names, inside, strict=True) if member]
        lines.append(
            "\t".join(
                [
                    "".join("*" if member else "." for member in inside),
                    *(f"{float(value):.6g}" for value in values),
                    str(sum(inside)),
                    *(f"{value:.6g}" for value in extra),
                    ",".join(members),
                ]
            )
        )
    write_text(path, "\n".join([*lines, ""]))


def _by_number(trees: Trees) -> list[str]:
    return format_newick(trees, [str(tip + 1) for tip in range(trees.n_taxa)])


def _tree_block(names: Sequence[str], rows: Sequence[str]) -> list[str]:
    quoted = quoted_names(names)
    last = len(quoted)
    table = [f"      {i} {name}{';' if i == last else ','}" for i, name in enumerate(quoted, 1)]
    return ["begin trees;", "   translate", *table, *rows, "end;"]


def _shares(rates: Sequence[float]) -> list[float]:
    """Exchangeabilities relative to GT as shares of their sum, as MrBayes writes them."""
    total = sum(rates) + 1.0
    return [rate / total for rate in (*rates, 1.0)]


def _check_rows(n_trees: int, n_generations: int) -> None:
    if n_trees != n_generations:
        raise InputError(f"{n_trees} trees and {n_generations} generations: give one for each")
