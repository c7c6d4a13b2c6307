"""The files of a run's samples, in the formats that other programs of the field read.

trees.trees             NEXUS, every tree with its weight
run1.t, run1.p          the same trees as they were drawn, in the manner of MrBayes
reference.run1.t, ...   the reference chains after their warm-up
consensus.tre           majority rule, with supports
map.tre                 most probable topology with mean lengths; maximum clade credibility where rooted
credible_set.trees      the topologies that hold 95 % of the probability
split_frequencies.tsv   every split, beside its frequencies in the reference
best.trees              the most parsimonious trees found, distinct
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domains.phylogeny.consensus import (
    LabelledTree,
    majority_consensus,
    maximum_clade_credibility,
    supported_tree,
)
from domains.phylogeny.labelled_rooting import labelled_at_midpoint, labelled_at_outgroup
from domains.phylogeny.mrbayes_files import (
    write_consensus,
    write_parameter_samples,
    write_runs,
    write_split_table,
    write_topology_probabilities,
    write_tree_samples,
)
from domains.phylogeny.rooting import root_at_midpoint, root_near_outgroup
from domains.phylogeny.summaries import (
    SplitTable,
    frequencies_in,
    mean_tree,
    normalised_weights,
    with_splits_of,
)
from domains.phylogeny.tree_files import write_nexus_trees
from domains.phylogeny.trees import Trees, split_keys, topology_keys
from pipelines.phylogeny.chains import Chains
from pipelines.phylogeny.drawn import Drawn, Tables
from pipelines.phylogeny.options import Config
from pipelines.phylogeny.prepare import Problem


def is_rooted(config: Config) -> bool:
    return bool(config.outgroup) or config.midpoint


def rooted(config: Config, problem: Problem, trees: Trees) -> tuple[Trees, Tensor]:
    """The trees with the root that the options ask for, and the old number of each edge."""
    if config.midpoint:
        return root_at_midpoint(trees)
    return root_near_outgroup(trees, problem.names, config.outgroup)


def write_trees(
    config: Config,
    problem: Problem,
    path: Path,
    trees: Trees,
    weights: Float[Tensor, "tree"] | None = None,
    labels: Sequence[str] | None = None,
) -> Path:
    """A NEXUS file, rooted as asked."""
    asked = is_rooted(config)
    shown = rooted(config, problem, trees)[0] if asked else trees
    write_nexus_trees(path, shown, problem.names, labels=labels, weights=weights, rooted=asked)
    return path


def write_drawn(config: Config, problem: Problem, folder: Path, stem: str, drawn: Drawn) -> Path:
    """`STEM.trees` with weights; returns it."""
    shares = normalised_weights(len(drawn.trees), drawn.shares)
    return write_trees(config, problem, folder / f"{stem}.trees", drawn.trees, shares)


def write_run(problem: Problem, folder: Path, stem: str, drawn: Drawn) -> None:
    """`STEM.t` and `STEM.p`: the trees as they were drawn, without weights."""
    generations = list(range(1, len(drawn.trees) + 1))
    write_tree_samples(folder / f"{stem}.t", drawn.trees, problem.names, generations)
    write_parameter_samples(
        folder / f"{stem}.p",
        generations,
        drawn.log_likelihood,
        drawn.log_prior,
        drawn.trees.lengths.sum(1),
        problem.target.specification,
        drawn.parameters,
    )


def write_chains(config: Config, problem: Problem, folder: Path, name: str, chains: Chains) -> None:
    """`NAME.runK.t` and `.p`, or `runK.t` and `.p` for the name ""."""
    write_runs(
        folder, name, chains.kept, problem.names, problem.target.specification, config.chain.steps
    )


def consensus_tree(config: Config, problem: Problem, splits: SplitTable) -> LabelledTree:
    tree = majority_consensus(splits, problem.names)
    if config.midpoint:
        return labelled_at_midpoint(tree)
    return labelled_at_outgroup(tree, config.outgroup) if config.outgroup else tree


def best_tree(
    config: Config, problem: Problem, drawn: Drawn, seen: Tables
) -> tuple[Trees, Float[Tensor, "1 edge"]]:
    """The maximum clade credibility tree where rooted, else the most probable topology (of equals, that of
    the most probable tree) with its mean lengths; and its supports."""
    if is_rooted(config):
        trees, _ = rooted(config, problem, drawn.trees)
        row, frequency = maximum_clade_credibility(trees, drawn.trusted)
        supports = torch.full((1, 2 * problem.n_taxa - 2), torch.nan, dtype=torch.float64)
        # The last inner node is the root, which every tree has.
        supports[0, problem.n_taxa :] = frequency[:-1]
        return trees[[row]], supports
    table = seen.topologies
    equal = table.keys[table.frequency >= table.frequency[0] * (1 - 1e-9)]
    keys = topology_keys(drawn.trees)
    rows = torch.isin(keys, equal).nonzero().squeeze(1)
    top = int(keys[rows[drawn.log_posterior[rows].argmax()]])
    tree = mean_tree(drawn.trees, top, drawn.trusted)
    labelled = supported_tree(tree, seen.splits, problem.names, split_keys(tree)[0])
    return tree, labelled.supports[None, :-1]


def write_summaries(
    config: Config,
    problem: Problem,
    folder: Path,
    drawn: Drawn,
    seen: Tables,
    others: dict[str, SplitTable],
) -> LabelledTree:
    """Consensus, best tree, credible set and split frequencies; returns the consensus.

    others  further samples whose split frequencies stand beside"""
    consensus = consensus_tree(config, problem, seen.splits)
    write_consensus(folder / "consensus.tre", consensus, is_rooted(config))
    tree, supports = best_tree(config, problem, drawn, seen)
    rooted_here = is_rooted(config)
    label = ["mcc" if rooted_here else "map"]
    write_nexus_trees(
        folder / "map.tre", tree, problem.names, labels=label, supports=supports, rooted=rooted_here
    )
    write_topology_probabilities(
        folder / "credible_set.trees", drawn.trees, seen.topologies, problem.names, config.credible
    )
    _write_splits(problem, folder, seen.splits, others)
    return consensus


def write_best(
    config: Config,
    problem: Problem,
    folder: Path,
    trees: Trees,
    steps: Int64[Tensor, "tree"],
) -> Path:
    """`best.trees`: named by their steps; lengths are the changes that may lie on an edge."""
    labels = [f"tree_{i + 1}_steps_{n}" for i, n in enumerate(steps.tolist())]
    return write_trees(config, problem, folder / "best.trees", trees, labels=labels)


def write_best_summaries(
    config: Config,
    problem: Problem,
    folder: Path,
    most: SplitTable,
    others: dict[str, SplitTable],
) -> LabelledTree:
    """Consensus and split frequencies of the most parsimonious trees; returns the consensus."""
    consensus = consensus_tree(config, problem, most)
    write_consensus(folder / "consensus.tre", consensus, is_rooted(config))
    _write_splits(problem, folder, most, others)
    return consensus


def _write_splits(
    problem: Problem, folder: Path, every: SplitTable, others: dict[str, SplitTable]
) -> None:
    for other in others.values():
        every = with_splits_of(every, other)
    columns = {name: frequencies_in(every, other) for name, other in others.items()}
    write_split_table(folder / "split_frequencies.tsv", every, problem.names, others=columns)
