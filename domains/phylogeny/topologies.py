"""Unrooted binary topologies: drawn uniformly, or all of them listed.

Tip k can be added to each of the 2k-3 edges of a tree of k tips, and every labelled topology arises from
exactly one sequence of such choices: (2n-5)!! topologies for n tips (J. Felsenstein, "The number of
evolutionary trees", Syst. Zool. 27, 27 (1978)).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from torch import Tensor

from domains.phylogeny import _tree_kernels
from workbench.errors import InputError

LARGEST_ENUMERATED = 8


def log_n_topologies(n_taxa: int) -> float:
    """log (2n-5)!!, the number of unrooted binary topologies of `n_taxa` >= 3 labelled tips."""
    return math.fsum(math.log(2 * k - 5) for k in range(4, n_taxa + 1))


def random_topologies(
    n_taxa: int, n_trees: int, generator: torch.Generator
) -> Int64[Tensor, "tree internal 2"]:
    """`children` of uniformly drawn unrooted topologies, in canonical form."""
    _check(n_taxa)
    n_places = torch.arange(3, 2 * n_taxa - 3, 2)
    uniform = torch.rand(n_trees, max(n_taxa - 3, 0), generator=generator, dtype=torch.float64)
    places = (uniform * n_places).long()
    return torch.from_numpy(_tree_kernels.insert_tips(places.numpy(), n_taxa))


def all_topologies(n_taxa: int) -> Int64[Tensor, "tree internal 2"]:
    """`children` of every unrooted topology of 3 to 8 tips, each once, in canonical form.

    Raises InputError for more tips: there would be more than 100,000.
    """
    _check(n_taxa)
    if n_taxa > LARGEST_ENUMERATED:
        raise InputError(
            f"{n_taxa} taxa have {math.exp(log_n_topologies(n_taxa)):.3g} topologies: "
            f"list them for at most {LARGEST_ENUMERATED}"
        )
    axes = [torch.arange(2 * k + 3) for k in range(n_taxa - 3)]
    grid = torch.meshgrid(*axes, indexing="ij") if axes else []
    places = torch.stack([axis.flatten() for axis in grid], 1) if axes else torch.zeros(1, 0).long()
    return torch.from_numpy(_tree_kernels.insert_tips(places.contiguous().numpy(), n_taxa))


def _check(n_taxa: int) -> None:
    if n_taxa < 3:
        raise InputError(f"{n_taxa} taxa have no unrooted tree: give 3 or more")
