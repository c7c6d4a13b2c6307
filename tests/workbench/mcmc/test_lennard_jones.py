"""Parallel tempering of Lennard-Jones clusters against independent long runs and the virial.

Mean energies of independent code: LJ-13 -42.93 +- 0.02, LJ-55 -325.51 +- 0.10 (kT).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from domains.molecules import LennardJones
from domains.molecules.lennard_jones import icosahedral_cluster
from workbench.mcmc import collect, diagnostics, hmc, relax, tempering
from workbench.mcmc.diagnostics import Diagnosis


def relaxed_starts(energy: LennardJones, n: int, generator: torch.Generator) -> Tensor:
    start = energy.initial(n, generator).double()
    return relax.relax(relax.Config(n_steps=200), energy, start).x.float()


def observables(
    energy: LennardJones, config: tempering.Config, plan: collect.Config, x: Tensor, seed: int
) -> tuple[Diagnosis, Diagnosis, Diagnosis]:
    """Energy, radius of gyration and virial of the target rung."""
    generator = torch.Generator().manual_seed(seed)
    done = collect.run(plan, tempering, config, energy, x, generator)
    kept, u = collect.target_traces(tempering, config, done)
    force = energy.energy_and_force(kept.flatten(0, 1))[1].view_as(kept)
    virial = -(kept * force).double().sum((-2, -1))
    radius = kept.double().square().sum(-1).mean(-1).sqrt()
    diagnose = diagnostics.diagnose
    return diagnose(u), diagnose(radius), diagnose(virial)


def assert_near(diagnosis: Diagnosis, exact: float, stderr: float = 0.0) -> None:
    mean = diagnosis.mean
    assert abs(mean.value - exact) < 5 * math.hypot(mean.stderr, stderr), (mean, exact)


def test_lj13(generator: torch.Generator) -> None:
    energy = LennardJones(13)
    config = tempering.Config(n_rungs=3, beta_min=0.7, move=hmc.Config(n_warmup=300))
    x = relaxed_starts(energy, 64, generator)
    u, radius, virial = observables(energy, config, collect.Config(200, 3), x, seed=1)
    assert_near(u, -42.93, 0.02)
    assert_near(virial, 36.0)
    assert u.mean.stderr < 0.2 and max(u.r_hat, radius.r_hat) < 1.05


@pytest.mark.slow
@pytest.mark.parametrize("start", ["icosahedron", "random"])
def test_lj55(start: str, generator: torch.Generator) -> None:
    energy = LennardJones(55)
    move = hmc.Config(n_leapfrog=15, n_warmup=300)
    config = tempering.Config(n_rungs=6, beta_min=0.7, move=move)
    if start == "random":
        x = relaxed_starts(energy, 16, generator)
    else:
        x = icosahedral_cluster(2).float().repeat(16, 1, 1)
    u, radius, virial = observables(energy, config, collect.Config(500, 4), x, seed=1)
    assert_near(u, -325.51, 0.10)
    assert_near(virial, 162.0)
    assert u.mean.stderr < 0.3 and max(u.r_hat, radius.r_hat) <= 1.02
