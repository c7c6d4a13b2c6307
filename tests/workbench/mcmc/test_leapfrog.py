"""The compiled move and the one in tensor operations are the same move."""

from __future__ import annotations

import pytest
import torch

from tests.workbench.mcmc.targets import Cliff, HarmonicParticles, Target, correlated_gaussian
from workbench.mcmc.leapfrog import Drive, Outcome, Place, trajectory_compiled, trajectory_torch


def both(
    energy: Target,
    inverse_mass: list[float],
    n_leapfrog: int,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> tuple[Place, Outcome, Outcome]:
    n = 200
    like = {"generator": generator, "dtype": torch.float64}
    x = energy.initial(n, generator).to(dtype) * 0.3
    place = Place(x, *energy.energy_and_force(x))
    drive = Drive(
        step=(0.3 + torch.rand(n, **like)).to(dtype),
        beta=torch.rand(n, **like).to(dtype),
        inverse_mass=torch.tensor(inverse_mass, dtype=dtype),
        noise=torch.randn(x.shape, **like).to(dtype),
        draw=torch.empty(n, dtype=torch.float64).exponential_(generator=generator),
    )
    args = (energy, place, drive, n_leapfrog)
    return place, trajectory_compiled(*args), trajectory_torch(*args)


@pytest.mark.parametrize("n_leapfrog", [1, 5])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 2e-4)])
@pytest.mark.parametrize(
    "energy, inverse_mass",
    [
        (correlated_gaussian(), [1.0]),
        (correlated_gaussian(), [1.0, 0.5, 2.0]),
        (HarmonicParticles(), [0.7]),
        (HarmonicParticles(), [1.0, 3.0, 0.3, 1.0, 9.0]),
    ],
)
def test_compiled_is_torch(
    energy: Target,
    inverse_mass: list[float],
    dtype: torch.dtype,
    tolerance: float,
    n_leapfrog: int,
    generator: torch.Generator,
) -> None:
    place, ours, theirs = both(energy, inverse_mass, n_leapfrog, dtype, generator)
    assert torch.allclose(ours.probability, theirs.probability, atol=tolerance)
    accepted = (ours.place.x != place.x).flatten(1).any(1)
    assert 10 < int(accepted.sum()) < 195
    for name in ("x", "energy", "force"):
        a, b = getattr(ours.place, name), getattr(theirs.place, name)
        assert a.dtype == dtype and torch.allclose(a, b, atol=tolerance, rtol=tolerance)
        kept = getattr(place, name)
        assert torch.equal(a[~accepted], kept[~accepted])
    assert int(ours.n_nonfinite) == int(theirs.n_nonfinite) == 0


def test_both_count_what_is_not_finite(generator: torch.Generator) -> None:
    energy = Cliff()
    place, ours, theirs = both(energy, [1.0], 2, torch.float64, generator)
    assert int(ours.n_nonfinite) == int(theirs.n_nonfinite) > 5
    assert torch.equal(ours.probability == 0, theirs.probability == 0)
    assert bool(torch.isfinite(ours.place.x[torch.isfinite(place.energy)]).all())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_no_bad_energy_is_accepted(bad: float, generator: torch.Generator) -> None:
    class Bad(Target):
        event_shape = (2,)

        def energy_and_force(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.full((len(x),), bad).to(x), -x

    n = 20
    place = Place(torch.zeros(n, 2), torch.zeros(n), torch.zeros(n, 2))
    drive = Drive(
        torch.ones(n), torch.ones(n), torch.ones(1), torch.ones(n, 2), torch.ones(n).double()
    )
    for trajectory in (trajectory_compiled, trajectory_torch):
        outcome = trajectory(Bad(), place, drive, 1)
        assert int(outcome.n_nonfinite) == n and not bool(outcome.probability.any())
        assert not bool(outcome.place.x.any())


def test_inputs_are_left_alone(generator: torch.Generator) -> None:
    energy = HarmonicParticles()
    x = energy.initial(8, generator)
    place = Place(x, *energy.energy_and_force(x))
    before = [t.clone() for t in (place.x, place.energy, place.force)]
    drive = Drive(
        step=torch.full((8,), 0.2).double(),
        beta=torch.ones(8).double(),
        inverse_mass=torch.ones(1).double(),
        noise=torch.randn(8, 5, 2, generator=generator).double(),
        draw=torch.ones(8).double(),
    )
    noise = drive.noise.clone()
    trajectory_compiled(energy, place, drive, 3)
    assert all(
        torch.equal(a, b) for a, b in zip(before, (place.x, place.energy, place.force), strict=True)
    )
    assert torch.equal(noise, drive.noise)
