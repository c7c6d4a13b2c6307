"""Reversible nucleotide substitution models: rate matrix, rate categories, transition probabilities.

    Q_ij = r_ij pi_j / mu   (i != j),   rows sum to zero,   mu such that -sum_i pi_i Q_ii = 1
    P_c(t) = exp(rho_c t Q)             one substitution per site per unit of length, on average

States are A, C, G, T; exchangeabilities r are in the order AC, AG, AT, CG, CT, GT (as IQ-TREE's). Rate
heterogeneity is the discrete gamma with the mean of each category (Yang, Maximum likelihood phylogenetic
estimation from DNA sequences with variable rates over sites, 1994), and a share of invariant sites. With
both, rates are divided by (1 - share), so that a branch length is the mean over all sites, as in IQ-TREE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv
from torch import Tensor

from workbench.errors import InputError

STATES = "ACGT"
EXCHANGES = ("AC", "AG", "AT", "CG", "CT", "GT")
ROWS, COLUMNS = (0, 0, 0, 1, 1, 2), (1, 2, 3, 2, 3, 3)
# Relative step of the central difference of category rates in the shape.
SHAPE_STEP = 1e-5
SMALLEST_SHAPE = 0.01


@dataclass(frozen=True, eq=False)
class SubstitutionModel:
    """A model whose parameters all have values; float64 tensors on one device, with or without graph.
    A model is equal to itself only.

    exchangeabilities  [6] AC, AG, AT, CG, CT, GT; only their ratios matter
    frequencies        [4] A, C, G, T; sum to one
    category_rates     [category]; the mean over all sites, invariant ones included, is one
    category_weights   [category]; sum to 1 - `invariant`
    invariant          share of sites that never change
    """

    exchangeabilities: Float[Tensor, "6"]
    frequencies: Float[Tensor, "4"]
    category_rates: Float[Tensor, "category"]
    category_weights: Float[Tensor, "category"]
    invariant: Float[Tensor, ""]
    name: str = "custom"

    @property
    def n_categories(self) -> int:
        return len(self.category_rates)

    def rate_matrix(self) -> Float[Tensor, "4 4"]:
        """Q, one substitution per site and unit of length."""
        exchange = self.exchangeabilities.new_zeros(4, 4)
        rows = torch.tensor(ROWS, device=exchange.device)
        columns = torch.tensor(COLUMNS, device=exchange.device)
        exchange = exchange.index_put((rows, columns), self.exchangeabilities)
        off_diagonal = (exchange + exchange.T) * self.frequencies
        leaving = off_diagonal.sum(-1)
        return (off_diagonal - torch.diag(leaving)) / (self.frequencies * leaving).sum()

    def transition(self, lengths: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch category 4 4"]:
        """P(t) [from, to] of edges of the given lengths, differentiable in lengths and parameters."""
        scaled = lengths[..., None] * self.category_rates
        return torch.linalg.matrix_exp(scaled[..., None, None] * self.rate_matrix())

    def to(self, device: torch.device | str) -> SubstitutionModel:
        """The same model on another device."""
        moved: dict[str, Any] = {
            key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def has_equal_rates(self) -> bool:
        """True for JC69 with any rate categories, for which P(t) has a closed form."""
        return all(
            bool((values == values[0]).all())
            for values in (self.exchangeabilities, self.frequencies)
        )


def substitution_model(
    *,
    exchangeabilities: Tensor | list[float] | tuple[float, ...] = (1.0,) * 6,
    frequencies: Tensor | list[float] | tuple[float, ...] = (0.25,) * 4,
    shape: Tensor | float | None = None,
    n_categories: int = 4,
    invariant: Tensor | float = 0.0,
    name: str = "custom",
) -> SubstitutionModel:
    """A model from its parameters; `shape = None` means one rate for all variable sites.

    Tensors keep their graph: the log-likelihood of `torch_likelihood` can be differentiated in them.
    Raises `InputError` for rates or frequencies that are not positive, frequencies that do not sum to
    one, a shape below 0.01, or a share of invariant sites outside [0, 1).
    """
    rates, pi, share = (_float64(values) for values in (exchangeabilities, frequencies, invariant))
    if rates.shape != (6,) or not bool((rates > 0).all() & rates.isfinite().all()):
        raise InputError(f"six positive exchangeabilities are needed, not {rates.tolist()}")
    if pi.shape != (4,) or not bool((pi > 0).all()) or abs(float(pi.detach().sum()) - 1.0) > 1e-6:
        raise InputError(
            f"four positive frequencies that sum to one are needed, not {pi.tolist()}: a state that "
            "never occurs is left out by giving it a small frequency such as 0.001"
        )
    if not 0.0 <= float(share.detach()) < 1.0:
        raise InputError(
            f"the share of invariant sites must be in [0, 1), not {float(share.detach())}"
        )
    if shape is None:
        relative = torch.ones(1, dtype=torch.float64, device=rates.device)
    else:
        relative = gamma_rates(_float64(shape), n_categories)
    return SubstitutionModel(
        exchangeabilities=rates,
        frequencies=pi,
        category_rates=relative / (1.0 - share),
        category_weights=(1.0 - share) * torch.full_like(relative, 1.0 / len(relative)),
        invariant=share,
        name=name,
    )


def gamma_rates(shape: Float[Tensor, ""], n_categories: int) -> Float[Tensor, "category"]:
    """Mean rate of each of `n_categories` equally likely slices of a gamma law with mean one.

    Differentiable in the shape, by a central difference of the exact rates (error about 1e-9).
    Raises `InputError` for a shape below 0.01 or fewer than one category.
    """
    if n_categories < 1:
        raise InputError(f"at least 1 rate category is needed, not {n_categories}")
    value = float(shape.detach())
    if not SMALLEST_SHAPE <= value < float("inf"):
        raise InputError(
            f"the shape of the gamma law must be at least {SMALLEST_SHAPE}, not {value}"
        )
    rates: Tensor = _GammaRates.apply(shape, n_categories)
    return rates


def _slice_means(shape: float, n_categories: int) -> NDArray[np.float64]:
    inner = np.arange(1, n_categories) / n_categories
    # The mean of a slice is a difference of the distribution function with shape + 1.
    below = gammainc(shape + 1.0, gammaincinv(shape, inner))
    means: NDArray[np.float64] = np.diff(np.concatenate(([0.0], below, [1.0]))) * n_categories
    return means


class _GammaRates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: Tensor, n_categories: int) -> Tensor:
        value = float(shape)
        step = SHAPE_STEP * value
        higher, lower = (_slice_means(value + s, n_categories) for s in (step, -step))
        slope = torch.as_tensor((higher - lower) / (2.0 * step), device=shape.device)
        ctx.save_for_backward(slope)
        return torch.as_tensor(_slice_means(value, n_categories), device=shape.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (slope * gradients[0]).sum(), None


def _float64(values: Tensor | float | list[float] | tuple[float, ...]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)
