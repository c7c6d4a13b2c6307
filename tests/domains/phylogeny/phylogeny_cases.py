"""Shared by tests of likelihood, parsimony and priors: random alignments and trees, reference values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from domains.phylogeny.alignment import read_alignment
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.priors import TreePrior
from domains.phylogeny.tree_files import read_trees
from domains.phylogeny.trees import Trees, rerooted

MODELS = [
    "JC",
    "JC+G4{0.4}",
    "JC+I{0.3}",
    "K80{2.0}",
    "HKY{2.5}+F{0.3,0.2,0.25,0.25}+G4{0.5}",
    "GTR{1.5,3.0,0.8,1.2,4.1}+F{0.3,0.2,0.2,0.3}+I{0.2}+G4{0.7}",
]


def random_patterns(n_taxa: int, n_patterns: int, generator: torch.Generator) -> Patterns:
    """Columns of random bases with some ambiguity codes, gaps and unknowns; weights 1 to 20."""
    bases = 2 ** torch.randint(4, (n_taxa, n_patterns), generator=generator)
    codes = torch.tensor([5, 10, 14, 15, 16, 32])
    odd = codes[torch.randint(len(codes), bases.shape, generator=generator)]
    rare = torch.rand(bases.shape, generator=generator) < 0.2
    weights = torch.randint(1, 21, (n_patterns,), generator=generator).double()
    states = torch.where(rare, odd, bases).to(torch.uint8)
    return Patterns(tuple(f"t{i}" for i in range(n_taxa)), states, weights, int(weights.sum()))


def random_trees(n_taxa: int, n_trees: int, generator: torch.Generator) -> Trees:
    """Drawn from the prior, then rooted somewhere else: children in no canonical order."""
    trees = TreePrior().draw(n_taxa, n_trees, generator)
    at = torch.randint(n_taxa, 2 * n_taxa - 3, (n_trees,), generator=generator)
    at = torch.where(at == 2 * n_taxa - 3, 0, at)
    length = trees.lengths.gather(1, at[:, None])[:, 0]
    return rerooted(trees, at, 0.3 * length)


def reference(find: Callable[[str], Path]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(find("phylogeny/reference.json").read_text())
    return content


def reference_trees(
    find: Callable[[str], Path], folder: Path
) -> Iterator[tuple[str, Patterns, Trees, dict[str, Any]]]:
    """(data set, patterns, the tree, its reference values) of every listed tree."""
    for name, data in reference(find)["datasets"].items():
        patterns = dataset(find, name)
        for tree in data["trees"].values():
            yield name, patterns, tree_of(tree["newick"], patterns, folder), tree


def dataset(find: Callable[[str], Path], name: str) -> Patterns:
    return Patterns.from_alignment(read_alignment(find(f"phylogeny/{name}.fasta")))


def tree_of(newicks: str, patterns: Patterns, folder: Path) -> Trees:
    """Trees of Newick text, one a line."""
    path = folder / "trees.nwk"
    path.write_text(newicks)
    return read_trees(path, patterns.names).trees


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())
