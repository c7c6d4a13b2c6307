"""Log-variance over trajectories that share their start: the forward half of a bridge to an energy.

    z = sum_k [ log F(x_{k+1} | x_k) - log B(x_k | x_{k+1}) ] + E(x_K),    L = E_{x_0} Var_{paths | x_0} z

z is constant given x_0, and the loss zero, exactly when F(path | x_0) is proportional to B(path | x_K)
exp(-E(x_K)). The constant depends on x_0 until the bridge has converged, so pooling the variance over
starts is wrong. Richter et al., VarGrad, 2020, arXiv 2010.10436; Tamogashev and Malkin, Data-to-energy
stochastic dynamics, 2025, arXiv 2509.26364. Gradients flow through log F alone; trajectories may come from
anywhere.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def conditional_variance(
    log_forward: Float[Tensor, "start path"],
    log_backward: Float[Tensor, "start path"],
    energy: Float[Tensor, "start path"],
) -> Float[Tensor, ""]:
    """Mean over starts of the variance over the paths of each (biased by (n-1)/n, as a loss may be)."""
    z = log_forward - log_backward + energy
    return (z - z.mean(1, keepdim=True)).square().mean()
