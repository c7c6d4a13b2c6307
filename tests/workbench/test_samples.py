"""Weighted samples against closed forms: importance sampling between Gaussians, AR(1) chains."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from workbench.errors import InputError
from workbench.samples import WeightedSamples, systematic_indices

# The second where the shape checks of jaxtyping are switched on: they come first.
WRONG_SHAPE = (InputError, TypeCheckError)


def importance_samples(n: int, generator: torch.Generator, scale: float = 1.3) -> WeightedSamples:
    """N(0, scale^2) reweighted to exp(-x^2/2): log Z = log sqrt(2 pi), E[x^2] = 1."""
    x = scale * torch.randn(n, 1, generator=generator, dtype=torch.float64)
    energy = 0.5 * x.square().sum(1)
    log_q = -0.5 * (x / scale).square().sum(1) - math.log(scale * math.sqrt(2 * math.pi))
    return WeightedSamples(x, energy, -energy - log_q)


def test_importance_sampling_between_gaussians(generator: torch.Generator) -> None:
    samples = importance_samples(40_000, generator)
    log_z = samples.log_partition()
    assert abs(log_z.value - 0.5 * math.log(2 * math.pi)) < 5 * log_z.stderr
    second = samples.expectation(samples.x[:, 0].square())
    assert abs(second.value - 1.0) < 5 * second.stderr
    # Kish: E[w]^2 / E[w^2] = sqrt(2 s^2 - 1) / s^2 for these two Gaussians.
    assert samples.ess_fraction() == pytest.approx(math.sqrt(2 * 1.69 - 1) / 1.69, abs=0.01)
    assert samples.ess() == pytest.approx(40_000 * samples.ess_fraction())
    assert samples.weights().sum() == pytest.approx(1.0)


def test_errors_agree_with_the_delta_method(generator: torch.Generator) -> None:
    samples = importance_samples(20_000, generator)
    weights, values = samples.weights(), samples.x[:, 0].square()
    centred = values - (weights * values).sum()
    delta = float((weights * centred).square().sum().sqrt())
    assert samples.expectation(values).stderr == pytest.approx(delta, rel=0.15)
    relative = math.sqrt((1 / samples.ess_fraction() - 1) / len(samples))
    assert samples.log_partition().stderr == pytest.approx(relative, rel=0.15)


def test_error_is_the_spread_over_repeats(generator: torch.Generator) -> None:
    repeats = [importance_samples(500, generator).log_partition() for _ in range(100)]
    spread = torch.tensor([r.value for r in repeats]).std()
    quoted = torch.tensor([r.stderr for r in repeats]).mean()
    assert float(quoted) == pytest.approx(float(spread), rel=0.2)


def ar1(n_steps: int, n_chains: int, rho: float, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(n_steps, n_chains, generator=generator, dtype=torch.float64)
    rows = [noise[0]]
    for row in noise[1:]:
        rows.append(rho * rows[-1] + math.sqrt(1 - rho**2) * row)
    return torch.stack(rows)


@pytest.mark.parametrize("n_chains", [2, 64])
def test_chain_errors_see_autocorrelation(n_chains: int, generator: torch.Generator) -> None:
    rho, n_steps = 0.9, 16_000 // n_chains
    values = ar1(n_steps, n_chains, rho, generator).flatten()
    chain = torch.arange(n_chains).repeat(n_steps)
    samples = WeightedSamples(values[:, None], values, None, chain)
    exact = math.sqrt((1 + rho) / (1 - rho) / len(values))
    assert samples.mean_energy().stderr == pytest.approx(exact, rel=0.5)
    blind = WeightedSamples(values[:, None], values).mean_energy().stderr
    assert blind < 0.35 * exact


def test_large_offset_keeps_its_digits(generator: torch.Generator) -> None:
    noise = torch.randn(5000, generator=generator, dtype=torch.float64)
    samples = WeightedSamples(noise[:, None], noise)
    plain, moved = samples.expectation(noise), samples.expectation(noise + 1e9)
    assert moved.stderr == pytest.approx(plain.stderr, rel=1e-4)


def test_pareto_k(generator: torch.Generator) -> None:
    tail = torch.rand(20_000, generator=generator, dtype=torch.float64)
    x = tail[:, None]
    heavy = WeightedSamples(x, tail, -0.9 * torch.log(tail))
    assert heavy.pareto_k() == pytest.approx(0.9, abs=0.15)
    light = WeightedSamples(x, tail, -0.2 * torch.log(tail))
    assert light.pareto_k() == pytest.approx(0.2, abs=0.15)
    assert WeightedSamples(x, tail).pareto_k() is None


def test_systematic_resampling(generator: torch.Generator) -> None:
    weights = torch.tensor([[0.5, 0.0, 0.25, 0.25, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    index = systematic_indices(weights, 8, generator)
    counts = torch.stack([torch.bincount(row, minlength=5) for row in index])
    assert counts.tolist() == [[4, 0, 2, 2, 0], [0, 8, 0, 0, 0]]
    samples = importance_samples(20_000, generator)
    equal = samples.resample(20_000, generator)
    assert equal.log_weights is None
    assert float(equal.x.square().mean()) == pytest.approx(1.0, abs=0.05)


def test_histogram_is_a_density(generator: torch.Generator) -> None:
    samples = importance_samples(50_000, generator)
    edges = torch.linspace(-1.0, 1.0, 9, dtype=torch.float64)
    density, stderr = samples.histogram(samples.x[:, 0], edges)
    cdf = 0.5 * (1 + torch.erf(edges / math.sqrt(2)))
    exact = torch.diff(cdf) / torch.diff(edges)
    assert bool(((density - exact).abs() < 5 * stderr).all())


def test_zero_weights_do_not_count(generator: torch.Generator) -> None:
    samples = importance_samples(1000, generator)
    assert samples.log_weights is not None
    dead = torch.full((1000,), -torch.inf, dtype=torch.float64)
    both = WeightedSamples(
        torch.cat([samples.x, samples.x]),
        torch.cat([samples.energy, samples.energy]),
        torch.cat([samples.log_weights, dead]),
    )
    assert both.ess() == pytest.approx(samples.ess())
    expected = samples.log_partition().value - math.log(2)
    assert both.log_partition().value == pytest.approx(expected)


def test_refusals(generator: torch.Generator) -> None:
    x, energy = torch.zeros(3, 2), torch.zeros(3)
    with pytest.raises(InputError, match="row 1"):
        WeightedSamples(x, torch.tensor([0.0, torch.nan, 0.0]))
    with pytest.raises(InputError, match="log weights"):
        WeightedSamples(x, energy, torch.tensor([0.0, torch.inf, 0.0]))
    with pytest.raises(InputError, match="every weight is zero"):
        WeightedSamples(x, energy, torch.full((3,), -torch.inf))
    with pytest.raises(WRONG_SHAPE):
        WeightedSamples(x, torch.zeros(4))
    with pytest.raises(InputError, match="no samples"):
        WeightedSamples(x[:0], energy[:0])
    with pytest.raises(InputError, match="log Z"):
        WeightedSamples(x, energy).log_partition()
    with pytest.raises(InputError, match="at least two"):
        WeightedSamples(x[:1], energy[:1]).mean_energy()
    with pytest.raises(InputError, match="at least one"):
        WeightedSamples(x, energy).resample(0, generator)
    with pytest.raises(InputError, match="each of the 3 samples"):
        WeightedSamples(x, energy).expectation(torch.zeros(2))
