"""The virial: a test of samples that needs no reference.

    < x . grad u > = number of degrees of freedom

for any density exp(-u) that vanishes at infinity, by partial integration. On mean-free systems the
degrees of freedom are those of the mean-free space. Clausius (1870).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.problem import Estimate
from workbench.samples import WeightedSamples


def virial(
    x: Float[Tensor, "sample *event"], force: Float[Tensor, "sample *event"]
) -> Float[Tensor, "sample"]:
    """-x . force of each sample [sample], float64, in kT; `x` centred for a mean-free law."""
    if x.shape != force.shape:
        raise InputError(
            f"Positions {tuple(x.shape)} and forces {tuple(force.shape)} differ in shape: take the "
            "forces at these positions."
        )
    return -(x.detach().double() * force.detach().double()).flatten(1).sum(1)


def mean_virial(samples: WeightedSamples, force: Float[Tensor, "sample *event"]) -> Estimate:
    """Weighted mean virial with its bootstrap error over chains; compare with the degrees of
    freedom."""
    return samples.expectation(virial(samples.x, force).cpu())
