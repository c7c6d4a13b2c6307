"""Where the root of an unrooted tree is drawn: on the edge of an outgroup, or at the midpoint.

An outgroup must be one side of an edge; the root goes to the middle of that edge. The midpoint is halfway
between the two tips that are farthest apart (J. S. Farris, "Estimating phylogenetic trees from distance
matrices", Am. Nat. 106, 645 (1972)): on a clock-like tree it is the root.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domains.phylogeny import _tree_kernels
from domains.phylogeny.trees import Trees, reroot_with_source
from workbench.errors import InputError, nearest


def root_at_outgroup(
    trees: Trees, names: Sequence[str], outgroup: Sequence[str]
) -> tuple[Trees, Int64[Tensor, "tree edge"]]:
    """The trees rooted in the middle of the edge that separates `outgroup` from all other tips, and the
    old number of the edge above each new node (see `reroot_with_source`).

    Raises InputError for an unknown name, for an outgroup of no or all tips, and where the outgroup is not
    one side of an edge (the message names the first such tree).
    """
    at = _node_of(trees, outgroup_tips(names, outgroup))
    missing = (at < 0).nonzero()
    if len(missing):
        raise InputError(
            f"tree {int(missing[0]) + 1} has no edge with {', '.join(outgroup)} alone on one side: "
            "name one taxon, or taxa that form a group"
        )
    whole = _edge_length(trees, at)
    return reroot_with_source(trees, at, whole / 2)


def root_near_outgroup(
    trees: Trees, names: Sequence[str], outgroup: Sequence[str]
) -> tuple[Trees, Int64[Tensor, "tree edge"]]:
    """As `root_at_outgroup`, but trees in which the outgroup is not one side of an edge are rooted at its
    first taxon: for samples, which may hold any tree. Raises InputError for a bad outgroup."""
    at = _node_of(trees, outgroup_tips(names, outgroup))
    at = torch.where(at < 0, names.index(outgroup[0]), at)
    return reroot_with_source(trees, at, _edge_length(trees, at) / 2)


def outgroup_tips(names: Sequence[str], outgroup: Sequence[str]) -> Bool[Tensor, "taxon"]:
    """Which tips are the outgroup. Raises InputError for an unknown name and for none or all of them."""
    for name in outgroup:
        if name not in names:
            hint = nearest(name, names)
            raise InputError(f'outgroup "{name}" is not a taxon{hint}: name taxa of the alignment')
    inside = torch.tensor([name in outgroup for name in names])
    if not 0 < int(inside.sum()) < len(names):
        raise InputError(f"the outgroup has {int(inside.sum())} taxa: name some, and not all")
    return inside


def root_at_midpoint(trees: Trees) -> tuple[Trees, Int64[Tensor, "tree edge"]]:
    """The trees rooted halfway between the two tips that are farthest apart, and the old number of the
    edge above each new node (see `reroot_with_source`)."""
    at, below = _tree_kernels.midpoints(trees.children.numpy(), trees.lengths.double().numpy())
    return reroot_with_source(
        trees, torch.from_numpy(at), torch.from_numpy(below).to(trees.lengths.dtype)
    )


def _node_of(trees: Trees, inside: Tensor) -> Int64[Tensor, "tree"]:
    """The node [tree] whose edge has the tips `inside` [taxon], and only these, on one side; -1 where
    there is none."""
    n_taxa, n_inside = trees.n_taxa, int(inside.sum())
    counts = torch.zeros(len(trees), 2 * n_taxa - 1, dtype=torch.int64)
    sizes = torch.zeros_like(counts)
    counts[:, :n_taxa], sizes[:, :n_taxa] = inside.long(), 1
    for k in range(n_taxa - 1):
        pair = trees.children[:, k]
        counts[:, n_taxa + k] = counts.gather(1, pair).sum(1)
        sizes[:, n_taxa + k] = sizes.gather(1, pair).sum(1)
    all_of_it = (counts == n_inside) & (sizes == n_inside)
    none_of_it = (counts == 0) & (sizes == n_taxa - n_inside)
    fits = (all_of_it | none_of_it)[:, :-1]
    return torch.where(fits.any(1), fits.int().argmax(1), -1)


def _edge_length(trees: Trees, at: Tensor) -> Float[Tensor, "tree"]:
    """Length [tree] of the unrooted edge above node `at`."""
    ends = trees.children[:, -1]
    at_root = (ends == at[:, None]).any(1)
    own = trees.lengths.gather(1, at[:, None]).squeeze(1)
    return torch.where(at_root, trees.lengths.gather(1, ends).sum(1), own)
