"""Trajectories of a trained bridge: the flow as an ordinary, the bridge as a stochastic equation.

    d x = v(x, t) dt                                            (torchdiffeq)
    d x = [ v + sign g(t)^2 / 2 score ] dt + g(t) dW            forward (sign +) or backward (-) in time
    d log m = growth(x, t) dt                                   along either, where growth was learned

Any g >= 0 gives the same marginals, up to the error of v and score; g = `model.sigma` is the Schrödinger
bridge. Stochastic steps are Euler-Maruyama's or Heun's (drift averaged over both ends of the step, noise as
is: weak order two for additive noise).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError


class Dynamics(Protocol):
    """What is simulated: `BridgeModel`, or anything with the same members."""

    @property
    def has_growth(self) -> bool: ...

    def velocity(self, x: Tensor, t: float) -> Tensor: ...

    def score(self, x: Tensor, t: float) -> Tensor: ...

    def growth(self, x: Tensor, t: float) -> Tensor: ...


@dataclass(frozen=True)
class Paths:
    """times [time] as asked for; x [time, path, feature]; log_mass [time, path] grown since the first
    time, None without growth."""

    times: Float[Tensor, "time"]
    x: Float[Tensor, "time path feature"]
    log_mass: Float[Tensor, "time path"] | None = None


@torch.no_grad()
def ode(
    model: Dynamics,
    x0: Float[Tensor, "path feature"],
    times: Float[Tensor, "time"],
    *,
    method: Literal["dopri5", "rk4", "euler"] = "dopri5",
    steps: int = 100,
    tolerance: float = 1e-4,
) -> Paths:
    """The flow from `x0` at the first time through all others, ascending or descending.

    steps       of rk4 and euler over the whole span
    tolerance   of dopri5, relative, and absolute in units of the rms of `x0`
    """
    from torchdiffeq import odeint

    times = _checked(times)
    at = times.to(x0.device)
    scale = float((x0 - x0.mean(0)).square().mean().sqrt()) or 1.0
    span = float(abs(times[-1] - times[0]))
    if method == "dopri5":
        options = {"rtol": tolerance, "atol": tolerance * scale}
    else:
        options = {"options": {"step_size": span / steps}}  # type: ignore[dict-item]
    if not model.has_growth:
        x = odeint(lambda t, x: model.velocity(x, float(t)), x0, at, method=method, **options)
        return Paths(times, x)

    def rate(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return model.velocity(state[0], float(t)), model.growth(state[0], float(t))

    x, log_mass = odeint(rate, (x0, x0.new_zeros(len(x0))), at, method=method, **options)
    return Paths(times, x, log_mass)


@torch.no_grad()
def sde(
    model: Dynamics,
    x0: Float[Tensor, "path feature"],
    times: Float[Tensor, "time"],
    diffusion: float | Callable[[float], float],
    generator: torch.Generator,
    *,
    steps: int = 100,
    scheme: Literal["heun", "euler"] = "heun",
) -> Paths:
    """The stochastic equation from `x0` at the first time through all others; descending times run backward.

    diffusion   g, data unit per square root of the time unit, or g(t)
    steps       between two neighbouring times
    """
    times = _checked(times)
    g = diffusion if callable(diffusion) else lambda t: float(diffusion)
    x, log_mass = x0, x0.new_zeros(len(x0))
    xs, masses = [x0], [log_mass]
    for begin, end in itertools.pairwise(times.tolist()):
        for k in range(steps):
            t, after = (begin + (end - begin) * (i / steps) for i in (k, k + 1))
            moved = _step(model, x, t, after, g, generator, scheme)
            if model.has_growth:
                middle = 0.5 * (model.growth(x, t) + model.growth(moved, after))
                log_mass = log_mass + (after - t) * middle
            x = moved
        xs.append(x)
        masses.append(log_mass)
    return Paths(times, torch.stack(xs), torch.stack(masses) if model.has_growth else None)


def _step(
    model: Dynamics,
    x: Tensor,
    t: float,
    after: float,
    g: Callable[[float], float],
    generator: torch.Generator,
    scheme: str,
) -> Tensor:
    sign = 1.0 if after > t else -1.0

    def drift(x: Tensor, t: float) -> Tensor:
        v, rate = model.velocity(x, t), g(t)
        return v if rate == 0 else v + sign * 0.5 * rate**2 * model.score(x, t)

    size = abs(after - t)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
    kick = g(0.5 * (t + after)) * size**0.5 * noise.to(x.device)
    first = drift(x, t)
    guess = x + sign * size * first + kick
    if scheme == "euler":
        return guess
    return x + sign * size * 0.5 * (first + drift(guess, after)) + kick


@torch.no_grad()
def path_energy(
    model: Dynamics,
    x0: Float[Tensor, "path feature"],
    start: float,
    end: float,
    steps: int = 50,
) -> float:
    """(t1 - t0) int E |v|^2 dt along the flow from `x0`, squared data unit: W2^2 for optimal paths."""
    edges = torch.linspace(start, end, steps + 1, dtype=torch.float64, device="cpu")
    paths = ode(model, x0, edges, method="rk4", steps=steps)
    speed = [
        float(model.velocity(x, t).double().square().sum(1).mean())
        for x, t in zip(paths.x, edges.tolist(), strict=True)
    ]
    return (end - start) * float(torch.trapezoid(edges.new_tensor(speed), edges))


def _checked(times: Tensor) -> Tensor:
    gaps = torch.diff(times)
    if len(times) < 2 or not bool((gaps > 0).all() | (gaps < 0).all()):
        raise InputError(
            f"times {times.tolist()} neither ascend nor descend: give at least two, in order"
        )
    return times
