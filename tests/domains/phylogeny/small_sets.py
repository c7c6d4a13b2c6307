"""Small alignments that the tests of samplers share."""

from __future__ import annotations

from pathlib import Path

import torch

from domains.phylogeny.alignment import read_alignment
from domains.phylogeny.patterns import Patterns

SIX_TAXA = (
    "Acraea_andromacha",
    "Catonephele_acontius",
    "Eueides_vibilia",
    "Libytheana_carinenta",
    "Panacea_divalis",
    "Vila_semistalachtis",
)
# Posterior of the three topologies that matter and log marginal likelihood (JC69, Exp(10) lengths, uniform
# topologies), by importance sampling: small_exact.DS5_6taxa of phylogeny/reference.json.
SIX_TAXA_POSTERIOR = (0.841724, 0.127721, 0.030551)
SIX_TAXA_LOG_MARGINAL, SIX_TAXA_LOG_MARGINAL_STDERR = -1481.9615, 0.00418


def six_taxa(path_of_ds5: Path) -> Patterns:
    return Patterns.from_alignment(read_alignment(path_of_ds5)).take(SIX_TAXA)


def random_patterns(n_taxa: int, n_patterns: int, generator: torch.Generator) -> Patterns:
    """Bases, ambiguous ones, gaps and unknowns at random, with weights of 1 to 3."""
    masks = torch.tensor([1, 2, 4, 8, 1, 2, 4, 8, 5, 10, 15, 16, 32], dtype=torch.uint8)
    states = masks[torch.randint(len(masks), (n_taxa, n_patterns), generator=generator)]
    weights = torch.randint(1, 4, (n_patterns,), generator=generator).double()
    names = tuple(f"taxon_{i}" for i in range(n_taxa))
    return Patterns(names, states, weights, int(weights.sum()))


def related_patterns(n_taxa: int, n_sites: int, generator: torch.Generator) -> Patterns:
    """Sequences of which each is copied from an earlier one, with every fifth site drawn anew."""
    bases = 2 ** torch.randint(4, (n_taxa, n_sites), generator=generator)
    drawn_anew = torch.rand(n_taxa, n_sites, generator=generator) < 0.2
    for taxon in range(1, n_taxa):
        parent = int(torch.randint(taxon, (1,), generator=generator))
        bases[taxon] = torch.where(drawn_anew[taxon], bases[taxon], bases[parent])
    names = tuple(f"taxon_{i}" for i in range(n_taxa))
    return Patterns(names, bases.to(torch.uint8), torch.ones(n_sites).double(), n_sites)
