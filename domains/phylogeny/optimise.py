"""Maximum-likelihood branch lengths, and with them the free parameters of the model.

Lengths are optimised as their square roots: the number of substitutions on an edge is nearly Poisson,
whose square root has the same spread wherever it is, so all edges have about the same curvature, 4 times
the number of sites, and length zero is an ordinary interior point. The two edges at the root are one.
Gradients in the lengths are analytic; those in the few parameters of the model are central
differences in the coordinates of `domains.phylogeny.model_parameters`; each tree gets parameters of its
own. Every variable has a range (`LONGEST`, `RANGES`): beyond it the function stays what it is at the
border, plus a parabola that leads back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.batched_lbfgs import Options, minimise
from domains.phylogeny.likelihood import TreeLikelihood, counted_frequencies
from domains.phylogeny.model_parameters import to_values, to_vector
from domains.phylogeny.model_strings import ModelSpecification, Values
from domains.phylogeny.patterns import Patterns
from domains.phylogeny.trees import Trees, unrooted_lengths

START_LENGTH = 0.1  # where the tree has none
SHORTEST_START = 1e-4  # at zero the slope in the square root vanishes and nothing would move
LONGEST = 10.0  # substitutions per site: beyond it the data say nothing more
DIFFERENCE = 1e-4  # step in z, the transformed parameters
# Unit of z: about the error with which 1000 sites determine it.
PARAMETER_UNIT = 0.1
RANGES = {  # of z: logarithms, and log-odds for the invariant share
    "kappa": (math.log(1e-3), math.log(1e3)),
    "exchangeabilities": (math.log(1e-4), math.log(1e3)),
    "frequencies": (math.log(1e-3), math.log(1e3)),
    "shape": (math.log(0.02), math.log(200.0)),
    "invariant": (-20.0, 7.0),
}
ROUNDS = 3
ENOUGH_GAIN = 1e-3


@dataclass(frozen=True)
class Optimised:
    """Trees with their best lengths, log L [tree], each tree's model parameters (by name, as
    `ModelSpecification.build` takes them), and which of them converged."""

    trees: Trees
    log_likelihood: Float[Tensor, "tree"]
    values: tuple[dict[str, Values], ...]
    converged: Tensor


def optimise_lengths(
    likelihood: TreeLikelihood, trees: Trees, options: Options | None = None
) -> Optimised:
    """The best lengths of every tree, all trees side by side, from those given (0.1 where NaN).

    No edge gets longer than 10 substitutions per site.
    """
    unit = _length_unit(likelihood)
    border = torch.tensor(math.sqrt(LONGEST) / unit, dtype=torch.float64)

    def loss(x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        part = _with_roots(trees[index], x, unit)
        value, slope = likelihood.log_likelihood_and_gradient(part)
        inner = -_slope_of_roots(slope, x, unit)
        return _fenced(x, -value, inner, -border, border)

    found = minimise(loss, _starts(trees) / unit, options)
    best = _with_roots(trees, found.x, unit)
    value = likelihood.log_likelihood(best)
    return Optimised(best, value, ({},) * len(trees), found.converged)


def optimise_all(
    patterns: Patterns,
    specification: ModelSpecification,
    trees: Trees,
    options: Options | None = None,
) -> Optimised:
    """The best lengths and free parameters of the model, for one tree after the other.

    Counted frequencies stay those of the alignment.
    """
    counted = counted_frequencies(patterns) if _needs_counts(specification) else (0.25,) * 4
    start = specification.starts(counted)
    base = TreeLikelihood(patterns, specification.build(start))
    if not specification.free:
        return optimise_lengths(base, trees, options)
    # The lengths are brought near their place first: a bad start of both can lead parameters astray.
    near = optimise_lengths(base, trees, Options(tolerance=1e-2)).trees
    parts = [
        _optimise_one(base, specification, start, near[[i]], options) for i in range(len(trees))
    ]
    return Optimised(
        Trees(trees.children, torch.cat([part.trees.lengths for part in parts])),
        torch.cat([part.log_likelihood for part in parts]),
        tuple(part.values[0] for part in parts),
        torch.cat([part.converged for part in parts]),
    )


def _needs_counts(specification: ModelSpecification) -> bool:
    return "frequencies" in specification.parameters


def _optimise_one(
    base: TreeLikelihood,
    specification: ModelSpecification,
    start: dict[str, Values],
    tree: Trees,
    options: Options | None,
) -> Optimised:
    unit = _length_unit(base)
    n_edges = tree.lengths.shape[1] - 1
    low, high = _borders(specification, start)
    length_border = torch.full((n_edges,), math.sqrt(LONGEST) / unit, dtype=torch.float64)
    x_low = torch.cat([-length_border, low / PARAMETER_UNIT])
    x_high = torch.cat([length_border, high / PARAMETER_UNIT])

    def values_at(x: Tensor) -> dict[str, Values]:
        z = (x[0, n_edges:] * PARAMETER_UNIT).clamp(low, high)
        return start | to_values(specification, z)

    def value_at(x: Tensor) -> Tensor:
        model = specification.build(values_at(x))
        return base.with_model(model).log_likelihood(_with_roots(tree, x[:, :n_edges], unit))

    def loss(x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        edges = x[:, :n_edges]
        likelihood = base.with_model(specification.build(values_at(x)))
        value, slope = likelihood.log_likelihood_and_gradient(_with_roots(tree, edges, unit))
        slopes = [_slope_of_roots(slope, edges, unit)]
        for k in range(n_edges, x.shape[1]):
            aside = torch.zeros_like(x)
            aside[0, k] = DIFFERENCE / PARAMETER_UNIT
            slopes.append((value_at(x + aside) - value_at(x - aside))[:, None] / (2 * aside[0, k]))
        return _fenced(x, -value, -torch.cat(slopes, 1), x_low, x_high)

    z = to_vector(specification, start)[None]
    x = torch.cat([_starts(tree) / unit, z / PARAMETER_UNIT], 1)
    best, converged = math.inf, torch.zeros(1, dtype=torch.bool)
    for _ in range(ROUNDS):  # a fresh history where the last one lost the trail
        found = minimise(loss, x, options)
        gained, best = best - float(found.value), float(found.value)
        x, converged = found.x, found.converged
        if gained < ENOUGH_GAIN:
            break
    final = _with_roots(tree, x[:, :n_edges], unit)
    return Optimised(final, value_at(x), (values_at(x),), converged)


def _borders(
    specification: ModelSpecification, start: dict[str, Values]
) -> tuple[Float[Tensor, "parameter"], Float[Tensor, "parameter"]]:
    """The range of each entry of z."""
    ends = [
        RANGES[name]
        for name in specification.free
        for _ in range(len(start[name]) - (name == "frequencies"))
    ]
    both = torch.tensor(ends, dtype=torch.float64)
    return both[:, 0], both[:, 1]


def _fenced(
    x: Tensor, value: Tensor, slope: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Value and slope with the parabola beyond the borders."""
    beyond = x - x.clamp(low, high)
    return value + beyond.square().sum(1) / 2, slope + beyond


def _length_unit(likelihood: TreeLikelihood) -> float:
    return 1 / math.sqrt(4 * likelihood.patterns.n_sites)


def _starts(trees: Trees) -> Float[Tensor, "tree unrooted_edge"]:
    """Square roots of the lengths of the unrooted edges."""
    lengths = unrooted_lengths(trees).double()
    lengths = torch.where(lengths.isnan(), START_LENGTH, lengths)
    return lengths.clamp(SHORTEST_START, LONGEST).sqrt()


def _with_roots(trees: Trees, x: Tensor, unit: float) -> Trees:
    """The trees with lengths (x * unit)^2, the root in the middle of its edge."""
    whole = (x * unit).square().clamp(max=LONGEST)
    sibling = trees.children[:, -1].amin(1, keepdim=True)
    half = whole.gather(1, sibling) / 2
    return Trees(trees.children, torch.cat([whole.scatter(1, sibling, half), half], 1))


def _slope_of_roots(slope: Tensor, x: Tensor, unit: float) -> Float[Tensor, "tree unrooted_edge"]:
    """The slope in x from that in the lengths. In the root's edge it is that in either half."""
    inside = (x * unit).square() < LONGEST
    return torch.where(inside, slope[:, :-1] * 2 * x * unit * unit, 0.0)
