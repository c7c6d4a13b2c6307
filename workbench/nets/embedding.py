"""Sinusoidal features of a scalar such as diffusion time."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoidal(
    value: Float[Tensor, "batch"], n_features: int, max_frequency: float = 64.0
) -> Float[Tensor, "batch feature"]:
    """Sines and cosines of a value in [0, 1] at geometric frequencies from 1 to `max_frequency` half
    turns (Vaswani et al., Attention is all you need, 2017, arXiv 1706.03762). `n_features` is even."""
    exponents = torch.linspace(0.0, 1.0, n_features // 2, device=value.device, dtype=value.dtype)
    angle = math.pi * value[:, None] * max_frequency**exponents
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
