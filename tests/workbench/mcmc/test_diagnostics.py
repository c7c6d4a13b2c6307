"""R-hat, effective sample sizes and standard errors on processes with known answers."""

from __future__ import annotations

import math

import pytest
import torch

from workbench.errors import InputError
from workbench.mcmc import diagnostics


def ar1(n_kept: int, n_chains: int, rho: float, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(n_kept, n_chains, generator=generator, dtype=torch.float64)
    rows = [noise[0]]
    for row in noise[1:]:
        rows.append(rho * rows[-1] + math.sqrt(1 - rho**2) * row)
    return torch.stack(rows)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_autoregressive_chains(rho: float, generator: torch.Generator) -> None:
    """Inefficiency of AR(1) is (1 + rho) / (1 - rho); both errors agree with it."""
    values = ar1(4000, 16, rho, generator)
    result = diagnostics.diagnose(values)
    inefficiency = (1 + rho) / (1 - rho)
    assert result.inefficiency == pytest.approx(inefficiency, rel=0.1)
    exact = math.sqrt(inefficiency / values.numel())
    assert result.mean.stderr == pytest.approx(exact, rel=0.5)
    assert result.stderr_batch == pytest.approx(exact, rel=0.15)
    assert abs(result.mean.value) < 5 * exact
    assert result.r_hat < 1.01


def test_r_hat_flags_stuck_chains(generator: torch.Generator) -> None:
    values = torch.randn(400, 8, generator=generator, dtype=torch.float64)
    assert diagnostics.split_r_hat(values) < 1.01
    stuck = values.clone()
    stuck[:, 0] += 5
    assert diagnostics.split_r_hat(stuck) > 1.05
    wide = values.clone()
    wide[:, 0] *= 8  # same mean, other spread: only the folded ranks see it
    assert diagnostics.split_r_hat(wide) > 1.05
    drifting = values + torch.linspace(-1, 1, 400)[:, None]
    assert diagnostics.split_r_hat(drifting) > 1.05


def test_chains_that_stand_still() -> None:
    frozen = torch.arange(4.0).repeat(20, 1)
    assert diagnostics.split_r_hat(frozen) == math.inf
    assert diagnostics.split_r_hat(torch.ones(20, 4)) == 1.0


def test_one_chain_uses_batch_means(generator: torch.Generator) -> None:
    values = ar1(10_000, 1, 0.5, generator)
    result = diagnostics.diagnose(values)
    assert result.mean.stderr == result.stderr_batch
    assert result.mean.stderr == pytest.approx(math.sqrt(3 / 10_000), rel=0.3)


def test_refusals() -> None:
    with pytest.raises(InputError, match="at least 8"):
        diagnostics.diagnose(torch.zeros(4, 4))
    with pytest.raises(InputError, match="not finite"):
        diagnostics.split_r_hat(torch.full((20, 2), torch.nan))
    with pytest.raises(InputError, match="one chain"):
        diagnostics.between_chains_stderr(torch.zeros(20, 1))
