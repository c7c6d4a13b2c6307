"""Weighted samples from a learned score: the probability-flow ordinary differential equation.

    dx/dt = f(x, t) = -(1/2) g(t)^2 s(x, t)                    t from noise (1) to data (0)
    log q(x_0) = log N(x_1; 0, h(1) + l^2) + int_0^1 div f dt
    log w = -u(x_0) - log q(x_0),   E_q[w] = Z

(Song et al., 2021, arXiv 2011.13456, with the sign that follows from the reverse equation; a public iDEM
code integrates the opposite one). The flow has a density, so its samples carry importance weights,
which those of the stochastic equation do not; they are a second set of samples, not the raw ones.

The divergence is exact (one vector-Jacobian product per dimension) or Hutchinson's estimate with fixed
random signs per sample. The estimate is unbiased for log q, so it is not for the weight: exp of a noisy
number is too large on average. For a mean-free energy positions, prior and divergence are those of
the mean-free subspace: log Z is with respect to its Lebesgue measure, rotations included (the gauge).

Classical Runge-Kutta of fourth order in float64 on `n_steps` uniform steps of t.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.diffusion.generation import Score, prior_samples
from workbench.diffusion.options import Divergence, FlowConfig
from workbench.diffusion.schedule import GeometricSchedule
from workbench.problem import Energy, project
from workbench.samples import WeightedSamples

EXACT_UP_TO = 16


def divergence_kind(config: FlowConfig, energy: Energy) -> Divergence:
    """Which divergence `config` means for this energy."""
    if config.divergence is not None:
        return config.divergence
    return "exact" if math.prod(energy.event_shape) <= EXACT_UP_TO else "hutchinson"


def flow_samples(
    config: FlowConfig,
    score: Score,
    energy: Energy,
    schedule: GeometricSchedule,
    length: float,
    n: int,
    generator: torch.Generator,
    chunk: int = 512,
) -> WeightedSamples:
    """`n` samples of the probability flow with importance weights, in float64.

    `score` must accept float64. `length` is the one of the prior's variance h(1) + length^2."""
    xs, log_qs = [], []
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        x = prior_samples(energy, schedule, length, size, generator, torch.float64)
        log_q = gaussian_log_density(energy, x, schedule.final_variance + length**2)
        probes = _probes(config, energy, size, generator)
        x, change = _integrate(score, schedule, x, probes, config.n_steps, 1.0, 0.0)
        # Going down in time `change` is the integral from 1 to 0.
        xs.append(project(energy, x))
        log_qs.append(log_q - change)
    x, log_q = torch.cat(xs), torch.cat(log_qs)
    u = energy.energy(x)
    return WeightedSamples(x=x, energy=u, log_weights=-u - log_q)


def flow_log_density(
    config: FlowConfig,
    score: Score,
    energy: Energy,
    schedule: GeometricSchedule,
    length: float,
    x: Float[Tensor, "batch *event"],
    generator: torch.Generator,
) -> Float[Tensor, "batch"]:
    """log q of given data points, by the flow from t = 0 to t = 1."""
    x = project(energy, x.double())
    probes = _probes(config, energy, len(x), generator)
    end, change = _integrate(score, schedule, x, probes, config.n_steps, 0.0, 1.0)
    return gaussian_log_density(energy, end, schedule.final_variance + length**2) + change


def gaussian_log_density(
    energy: Energy, x: Float[Tensor, "batch *event"], variance: float
) -> Float[Tensor, "batch"]:
    """log N(x; 0, variance) on the space of the energy, of dimension `degrees_of_freedom` for a
    mean-free energy."""
    dim = energy.degrees_of_freedom if energy.mean_free else math.prod(energy.event_shape)
    squared = x.flatten(1).square().sum(1)
    return -0.5 * squared / variance - 0.5 * dim * math.log(2.0 * math.pi * variance)


def _probes(
    config: FlowConfig, energy: Energy, n: int, generator: torch.Generator
) -> Float[Tensor, "probe n *event"]:
    """Vectors v with sum_v v (J v) = trace of J: a basis, or scaled random signs. J is zero along the
    translations of a mean-free energy, so that a basis of the rest is enough."""
    if divergence_kind(config, energy) == "exact":
        basis = _basis(energy).to(generator.device)
        return basis[:, None].expand(len(basis), n, *energy.event_shape)
    shape, device = (config.probes, n, *energy.event_shape), generator.device
    signs = torch.randint(0, 2, shape, generator=generator, device=device)
    return (2.0 * signs.double() - 1.0) / math.sqrt(config.probes)


def _basis(energy: Energy) -> Float[Tensor, "dim *event"]:
    """An orthonormal basis of the space the density lives on."""
    dim = math.prod(energy.event_shape)
    if not energy.mean_free:
        return torch.eye(dim, dtype=torch.float64).view(dim, *energy.event_shape)
    n, space = energy.event_shape
    centring = torch.eye(n, dtype=torch.float64) - 1.0 / n
    # Its eigenvalues are 0, for the mean, and n - 1 times 1.
    rest = torch.linalg.eigh(centring).eigenvectors[:, 1:].T
    return torch.kron(rest, torch.eye(space, dtype=torch.float64)).view(-1, n, space)


def _integrate(
    score: Score,
    schedule: GeometricSchedule,
    x: Tensor,
    probes: Tensor,
    n_steps: int,
    start: float,
    stop: float,
) -> tuple[Tensor, Tensor]:
    """The end point of the flow and the integral of div f from `start` to `stop` along it."""
    step = (stop - start) / n_steps
    total = x.new_zeros(len(x))
    rate = _rate(score, schedule, probes)
    # Not t + step: rounding would carry the last time below zero, where there is no noise level.
    times = [start + (stop - start) * (k / n_steps) for k in range(n_steps + 1)]
    for t, after in itertools.pairwise(times):
        middle = 0.5 * (t + after)
        v1, d1 = rate(x, t)
        v2, d2 = rate(x + 0.5 * step * v1, middle)
        v3, d3 = rate(x + 0.5 * step * v2, middle)
        v4, d4 = rate(x + step * v3, after)
        x = x + step / 6.0 * (v1 + 2.0 * v2 + 2.0 * v3 + v4)
        total = total + step / 6.0 * (d1 + 2.0 * d2 + 2.0 * d3 + d4)
    return x, total


def _rate(
    score: Score, schedule: GeometricSchedule, probes: Tensor
) -> Callable[[Tensor, float], tuple[Tensor, Tensor]]:
    """f and its divergence: one evaluation of the score, and a backward pass through it per probe."""

    def rate(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            s = score(x, x.new_full((len(x),), t))
        trace = x.new_zeros(len(x))
        for probe in probes:
            (product,) = torch.autograd.grad(s, x, probe, retain_graph=True)
            trace += (product * probe).flatten(1).sum(1)
        half = -0.5 * float(schedule.rate(torch.tensor(t, dtype=torch.float64)))
        return half * s.detach(), half * trace

    return rate
