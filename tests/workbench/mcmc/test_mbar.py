"""MBAR on exact draws of tempered Gaussians, where Z(beta) = (2 pi / beta)^(d/2)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.workbench.mcmc.targets import DoubleWell
from workbench.errors import InputError
from workbench.mcmc import collect, hmc, mbar, tempering

BETAS = torch.tensor([1.0, 0.6, 0.3], dtype=torch.float64)


def tempered_draws(
    n_kept: int, n_ladders: int, dim: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    beta = BETAS.repeat(n_ladders)
    noise = torch.randn(n_kept, len(beta), dim, generator=generator, dtype=torch.float64)
    x = noise / beta.sqrt()[None, :, None]
    ladder = torch.arange(n_ladders).repeat_interleave(len(BETAS))
    return x, 0.5 * x.square().sum(-1), beta, ladder


@pytest.mark.parametrize("n_ladders", [1, 16])
def test_gaussian_free_energies(n_ladders: int, generator: torch.Generator) -> None:
    dim = 6
    draws = tempered_draws(4000 // n_ladders, n_ladders, dim, generator)
    result = mbar.reweight(mbar.Config(), *draws)
    exact = -0.5 * dim * BETAS.log()
    assert torch.equal(result.betas, BETAS)
    assert float(result.log_partition[0]) == 0.0 and float(result.stderr[0]) == 0.0
    error = (result.log_partition - exact).abs()
    assert bool((error[1:] < 5 * result.stderr[1:]).all()) and float(result.stderr.max()) < 0.1
    ratio = result.samples.log_partition()
    assert abs(ratio.value + float(exact[-1])) < 5 * float(result.stderr[-1])


def test_every_rung_adds_to_the_target(generator: torch.Generator) -> None:
    x, energy, beta, ladder = tempered_draws(500, 16, 2, generator)
    samples = mbar.reweight(mbar.Config(), x, energy, beta, ladder).samples
    mean = samples.mean_energy()
    assert abs(mean.value - 1.0) < 5 * mean.stderr
    assert samples.ess() > 1.5 * 500 * 16
    assert samples.chain is not None and samples.chain.unique().tolist() == list(range(16))


def test_error_is_the_spread_over_repeats(generator: torch.Generator) -> None:
    results = [
        mbar.reweight(mbar.Config(), *tempered_draws(40, 8, 3, generator)) for _ in range(25)
    ]
    spread = torch.stack([r.log_partition for r in results]).std(0)
    quoted = torch.stack([r.stderr for r in results]).mean(0)
    assert torch.allclose(quoted[1:], spread[1:], rtol=0.45)


def test_subsampled_solution_weights_all_samples(generator: torch.Generator) -> None:
    draws = tempered_draws(2000, 8, 2, generator)
    result = mbar.reweight(mbar.Config(n_solve=3000), *draws)
    assert len(result.samples) == 2000 * 24
    assert abs(float(result.log_partition[-1]) + float(BETAS[-1].log())) < 0.1


def test_with_tempering(generator: torch.Generator) -> None:
    energy = DoubleWell()
    move = hmc.Config(step_size=0.3, n_leapfrog=3, n_warmup=100)
    config = tempering.Config(n_rungs=4, beta_min=0.2, n_kept_rungs=4, move=move)
    x = energy.initial(32, generator)
    done = collect.run(collect.Config(150, 2), tempering, config, energy, x, generator)
    seen = tempering.observe(config, done.sampler)
    result = mbar.reweight(mbar.Config(), done.x, done.energy, seen.beta, seen.ladder)
    mean_x, mean_u, log_z = energy.exact()
    for rung, beta in enumerate(result.betas.tolist()):
        exact = energy.exact(beta)[2] - log_z
        error = abs(float(result.log_partition[rung]) - exact)
        assert error <= 5 * float(result.stderr[rung])
    u, first = result.samples.mean_energy(), result.samples.expectation(result.samples.x[:, 0])
    assert abs(u.value - mean_u) < 5 * u.stderr and abs(first.value - mean_x) < 5 * first.stderr


def test_refusals(generator: torch.Generator) -> None:
    x, energy, beta, ladder = tempered_draws(50, 4, 2, generator)
    with pytest.raises(InputError, match="too few"):
        mbar.reweight(mbar.Config(), x, energy, beta, ladder)
    with pytest.raises(InputError, match="several rungs"):
        mbar.reweight(mbar.Config(), x, energy, torch.ones_like(beta), ladder)
