"""One optimiser step with clipped gradients, and an exponential average of weights."""

from __future__ import annotations

import copy
import math
from typing import Any, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GradientInfo(TypedDict):
    loss: float
    gradient_norm: float


def apply_gradients(
    loss: Float[Tensor, ""],
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    max_norm: float,
) -> GradientInfo:
    """Backpropagate `loss`, clip the gradient of `module` to `max_norm` and step.

    `gradient_norm` is the norm before clipping. Where it or the loss is not finite the weights are
    left as they are: `fit` stops on the returned figures.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(module.parameters(), max_norm))
    value = float(loss.detach())
    if math.isfinite(value) and math.isfinite(norm):
        optimiser.step()
    return {"loss": value, "gradient_norm": norm}


class Ema:
    """Exponential moving average of a module's weights, in a module of its own.

        shadow <- d * shadow + (1 - d) * weights,    d = min(decay, (1 + n) / (10 + n))

    after n updates: the warm-up forgets the random start quickly. Buffers are copied. `Ema` can be
    a member of a checkpointed state.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.n_updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        for mean, weight in zip(self.module.parameters(), module.parameters(), strict=True):
            mean.lerp_(weight, 1.0 - decay)
        for copied, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            copied.copy_(buffer)
        self.n_updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"module": dict(self.module.state_dict()), "n_updates": self.n_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.n_updates = state["n_updates"]
