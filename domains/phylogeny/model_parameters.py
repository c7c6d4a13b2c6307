"""The free parameters of a substitution model as a vector z without bounds, and their prior.

    parameter           values                        z                     prior
    kappa               ratio > 0                     log                   kappa/(1 + kappa) uniform
    exchangeabilities   AC, AG, AT, CG, CT (GT = 1)   logs                  Dirichlet(1, ..., 1) of the shares
    frequencies         A, C, G, T                    logs relative to T    Dirichlet(1, 1, 1, 1)
    invariant           share                         logit                 uniform
    shape               alpha >= 0.01                 log                   exponential, rate 1

They are those of MrBayes 3.2 (F. Ronquist et al., "MrBayes 3.2", 2012). The density of z of a Dirichlet law
with all ones over K shares x is (K-1)! prod x; those of the others are (1-x) x, and alpha e^-alpha.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.model_strings import ModelSpecification, Values
from domains.phylogeny.models import SMALLEST_SHAPE

_WIDTH = {"kappa": 1, "exchangeabilities": 5, "frequencies": 3, "invariant": 1, "shape": 1}


def width(specification: ModelSpecification) -> int:
    """How many numbers z has: zero for JC69 and where all values are given in braces."""
    return sum(_WIDTH[name] for name in specification.free)


def to_vector(
    specification: ModelSpecification, values: Mapping[str, Values]
) -> Float[Tensor, "parameter"]:
    """z of the free parameters among `values`."""
    z: list[float] = []
    for name in specification.free:
        given = values[name]
        if name == "frequencies":
            z += [math.log(share / given[3]) for share in given[:3]]
        elif name == "invariant":
            z.append(math.log(given[0] / (1.0 - given[0])))
        else:
            z += [math.log(value) for value in given[: _WIDTH[name]]]
    return torch.tensor(z, dtype=torch.float64)


def to_values(
    specification: ModelSpecification, z: Float[Tensor, "parameter"]
) -> dict[str, Values]:
    """What `specification.build` takes for its free parameters."""
    values: dict[str, Values] = {}
    at = 0
    for name in specification.free:
        part = z[at : at + _WIDTH[name]].double()
        at += _WIDTH[name]
        if name == "frequencies":
            part = torch.softmax(torch.cat([part, part.new_zeros(1)]), 0)
        elif name == "invariant":
            part = torch.sigmoid(part)
        else:
            part = part.exp()
        values[name] = tuple(part.tolist())
    return values


def log_prior(specification: ModelSpecification, z: Float[Tensor, "parameter"]) -> float:
    """Log prior density of z; minus infinity for a shape below 0.01, which no model takes."""
    total = 0.0
    for name, given in to_values(specification, z).items():
        if name == "shape":
            alpha = given[0]
            total += math.log(alpha) - alpha if alpha >= SMALLEST_SHAPE else -math.inf
            continue
        if name == "frequencies":
            shares = list(given)
        elif name == "invariant":
            shares = [given[0], 1.0 - given[0]]
        else:
            shares = [value / (sum(given) + 1.0) for value in (*given, 1.0)]
        if min(shares) <= 0.0:
            return -math.inf
        total += math.lgamma(len(shares)) + math.fsum(math.log(share) for share in shares)
    return total
