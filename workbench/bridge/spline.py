"""Natural cubic splines through chains of cells, for multi-marginal flow matching.

Between the knots (t_k, y_k) and (t_{k+1}, y_{k+1}), h apart, with s the share that has passed:

    x(s) = (1-s) y_k + s y_{k+1} + h^2 / 6 [ ((1-s)^3 - (1-s)) b_k + (s^3 - s) b_{k+1} ]

b_k are the second derivatives at the knots, zero at both ends, a fixed linear map of the knots: one product for
a whole pool of chains. Rohbeck et al., Modeling complex system dynamics with flow matching across time and
conditions, 2025. Splines overshoot where snapshots are few and features many.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def second_derivatives(
    chain: Float[Tensor, "chain time feature"], times: Float[Tensor, "time"]
) -> Float[Tensor, "chain time feature"]:
    """The b_k of each chain on the ascending knots `times`."""
    return torch.einsum("kj,njd->nkd", _bending(torch.diff(times.double().cpu())).to(chain), chain)


def spline(
    y0: Float[Tensor, "batch feature"],
    y1: Float[Tensor, "batch feature"],
    b0: Float[Tensor, "batch feature"],
    b1: Float[Tensor, "batch feature"],
    gap: Float[Tensor, "batch"],
    s: Float[Tensor, "batch"],
) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch feature"]]:
    """Position, and velocity per unit of s, between two knots `gap` apart."""
    right, sixth = s[:, None], gap[:, None].square() / 6.0
    left = 1.0 - right
    bend = (left**3 - left) * b0 + (right**3 - right) * b1
    slope = (1.0 - 3.0 * left**2) * b0 + (3.0 * right**2 - 1.0) * b1
    return left * y0 + right * y1 + sixth * bend, y1 - y0 + sixth * slope


def _bending(gaps: Tensor) -> Float[Tensor, "time time"]:
    """The matrix that takes knot values to second derivatives."""
    n = len(gaps) + 1
    matrix = torch.zeros(n, n, dtype=torch.float64)
    if n == 2:
        return matrix
    inner = torch.diag(2.0 * (gaps[:-1] + gaps[1:]))
    inner += torch.diag(gaps[1:-1], 1) + torch.diag(gaps[1:-1], -1)
    right = torch.zeros(n - 2, n, dtype=torch.float64)
    rows = torch.arange(n - 2)
    right[rows, rows] = 6.0 / gaps[:-1]
    right[rows, rows + 1] = -6.0 / gaps[:-1] - 6.0 / gaps[1:]
    right[rows, rows + 2] = 6.0 / gaps[1:]
    matrix[1:-1] = torch.linalg.solve(inner, right)
    return matrix
