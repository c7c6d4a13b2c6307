"""A trained bridge: velocity, score and growth as functions of position and time in data units.

    d x = v dt                                   the flow
    d x = (v + g^2 / 2 score) dt + g dW          forward in time, for any diffusion g
    d x = (-v + g^2 / 2 score) dt' + g dW        backward, t' = -t

all have the same marginals where score = grad log p_t. `score` is always in 1 / length: the scaling of the
network (`options.ScoreScaling`) ends here, so that no factor sigma^2 / 2 can be applied twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.bridge.couplings.plan import Plan
from workbench.bridge.frame import Frame
from workbench.bridge.options import ScoreScaling
from workbench.errors import InputError


class Networks(nn.Module):
    """The networks of a bridge in the frame: `velocity`, and where learned `score` and `growth`."""

    def __init__(
        self, velocity: nn.Module, score: nn.Module | None = None, growth: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.velocity, self.score, self.growth = velocity, score, growth


@dataclass
class BridgeModel:
    """frame, networks   what was learned
    relative_sigma    diffusion of the reference, frame lengths per square root of the mean interval
    score_scaling     what the score network puts out
    plans             the couplings it was trained on, one per interval
    note              what a report must say of it, if anything
    """

    frame: Frame
    networks: Networks
    relative_sigma: float
    score_scaling: ScoreScaling = "drift"
    plans: Sequence[Plan] = field(default_factory=tuple)
    note: str | None = None

    @property
    def sigma(self) -> float:
        """Diffusion of the reference, data unit per square root of the time unit."""
        return self.relative_sigma * self.frame.length / self.frame.interval**0.5

    @property
    def has_score(self) -> bool:
        return self.networks.score is not None

    @property
    def has_growth(self) -> bool:
        return self.networks.growth is not None

    def velocity(
        self, x: Float[Tensor, "batch feature"], t: float | Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch feature"]:
        """Data unit per time unit."""
        factor = self.frame.length / self.frame.interval
        return self._in_frame(self.networks.velocity, x, t) * factor

    def score(
        self, x: Float[Tensor, "batch feature"], t: float | Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch feature"]:
        """grad log p_t in 1 / data unit. Raises InputError where no score was learned."""
        if self.networks.score is None:
            raise InputError("this bridge has no score: train it with the method sf2m")
        factor = 1.0 if self.score_scaling == "plain" else 2.0 / self.relative_sigma**2
        return self._in_frame(self.networks.score, x, t) * (factor / self.frame.length)

    def growth(
        self, x: Float[Tensor, "batch feature"], t: float | Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch"]:
        """d log mass / dt in 1 / time unit. Raises InputError where no growth was learned."""
        if self.networks.growth is None:
            raise InputError("this bridge has no growth: train it with the method unbalanced")
        return self._in_frame(self.networks.growth, x, t)[:, 0] / self.frame.interval

    def drift(
        self, x: Float[Tensor, "batch feature"], t: float | Float[Tensor, "batch"], diffusion: float
    ) -> Float[Tensor, "batch feature"]:
        """Forward drift at diffusion g, data unit per square root of the time unit; g = 0 is the flow."""
        v = self.velocity(x, t)
        return v if diffusion == 0 else v + 0.5 * diffusion**2 * self.score(x, t)

    def backward_drift(
        self, x: Float[Tensor, "batch feature"], t: float | Float[Tensor, "batch"], diffusion: float
    ) -> Float[Tensor, "batch feature"]:
        """d x / d t of the mean going backward, v - g^2 / 2 score: step by a negative dt."""
        v = self.velocity(x, t)
        return v if diffusion == 0 else v - 0.5 * diffusion**2 * self.score(x, t)

    def _in_frame(self, network: nn.Module, x: Tensor, t: float | Tensor) -> Tensor:
        """The network at frame coordinates, in its own precision and place; the result in that of `x`."""
        time = torch.as_tensor(t, dtype=torch.float64, device=x.device).expand(len(x))
        z, s = self.frame.position(x), self.frame.time(time)
        weight = next(network.parameters(), x)
        return network(z.to(weight), s.to(weight)).to(x)

    def state_dict(self) -> dict[str, Any]:
        """The weights alone: frame, plans and options are made again from the data."""
        return dict(self.networks.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state)
