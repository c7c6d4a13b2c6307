"""Lennard-Jones and double-well clusters against finite differences, the torch path and known minima."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.molecules import DoubleWell, LennardJones
from domains.molecules.lennard_jones import icosahedral_cluster
from workbench.errors import InputError
from workbench.problem import Energy

ENERGIES = [LennardJones(13), LennardJones(55), LennardJones(7, pairs="unordered"), DoubleWell(4)]


def configurations(energy: Energy, n: int, generator: torch.Generator) -> torch.Tensor:
    """Jittered lattice points: no clash, so that relative errors mean something."""
    n_particles, n_space = energy.event_shape
    side = int(np.ceil(n_particles ** (1.0 / n_space)))
    grid = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * n_space)
    jitter = torch.randn((n, *energy.event_shape), generator=generator, dtype=torch.float64)
    return 1.1 * grid[:n_particles] + 0.05 * jitter


@pytest.mark.parametrize("energy", ENERGIES, ids=lambda e: e.name)
class TestPairEnergies:
    def test_is_an_energy(self, energy):
        assert isinstance(energy, Energy)

    @pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
    def test_kernel_equals_torch_at_any_batch_size(self, energy, n, generator):
        x = configurations(energy, n, generator)
        kernel_energy, kernel_force = energy.energy_and_force(x)
        torch_energy, torch_force = energy.energy_and_force_torch(x)
        assert torch.allclose(kernel_energy, torch_energy, rtol=1e-10, atol=1e-10)
        assert torch.allclose(kernel_force, torch_force, rtol=1e-9, atol=1e-9)

    def test_force_is_minus_the_gradient(self, energy, generator):
        x = configurations(energy, 4, generator)
        direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        slope = (energy.energy(x + step * direction) - energy.energy(x - step * direction)) / (
            2 * step
        )
        expected = -(energy.energy_and_force(x)[1] * direction).sum((-2, -1))
        assert torch.allclose(slope, expected, rtol=1e-6, atol=1e-6)

    def test_single_precision(self, energy, generator):
        x = configurations(energy, 8, generator)
        e64, f64 = energy.energy_and_force(x)
        e32, f32 = energy.energy_and_force(x.float())
        assert e32.dtype == f32.dtype == torch.float32
        assert torch.allclose(e32.double(), e64, rtol=1e-4, atol=1e-3)
        assert (f32.double() - f64).abs().max() < 1e-3 * f64.abs().max()

    def test_invariant_to_translation_rotation_and_permutation(self, energy, generator):
        x = configurations(energy, 4, generator)
        n_particles, n_space = energy.event_shape
        square = torch.randn((n_space, n_space), generator=generator, dtype=torch.float64)
        rotation = torch.linalg.qr(square)[0]
        order = torch.randperm(n_particles, generator=generator)
        moved = x[:, order] @ rotation.T + 3.0
        assert torch.allclose(energy.energy(moved), energy.energy(x), rtol=1e-9, atol=1e-8)

    def test_runs_on_another_device(self, energy):
        x = torch.empty((3, *energy.event_shape), device="meta")
        e, f = energy.energy_and_force(x)
        assert e.shape == (3,) and f.shape == x.shape and e.device.type == "meta"


def test_coinciding_particles_are_infinite_not_silent():
    energy, _ = LennardJones(3).energy_and_force(torch.zeros((1, 3, 3)))
    assert not torch.isfinite(energy).any()


def test_ordered_pairs_count_each_pair_twice(generator):
    x = configurations(LennardJones(13), 3, generator)
    ordered = LennardJones(13, pairs="ordered").energy(x)
    unordered = LennardJones(13, epsilon=2.0, pairs="unordered").energy(x)
    assert torch.equal(ordered, unordered)


def test_icosahedron_of_13_is_the_known_minimum():
    """LJ-13 without tether: global minimum -44.3268 epsilon (Cambridge Cluster Database)."""
    energy = LennardJones(13, pairs="unordered", oscillator=1e-12)
    x = icosahedral_cluster(1)[None]
    best = min(float(energy.energy(scale * x)) for scale in np.linspace(0.9, 1.1, 2001))
    assert best == pytest.approx(-44.3268, abs=1e-3)
    assert len(icosahedral_cluster(2)) == 55


@pytest.mark.parametrize(
    ("energy", "file", "expected", "tolerance"),
    [
        (LennardJones(13), "lj13_reference.npy", -43.00, 0.35),
        (DoubleWell(4), "dw4_reference.npy", -22.45, 0.1),
    ],
    ids=["lj13", "dw4"],
)
def test_reference_files_follow_this_convention(energy, file, expected, tolerance, reference_data):
    """The virial <x . grad u> of the public LJ-13 set is 36 = its degrees of freedom only with ordered
    pairs; that of the DW-4 set is known to be about 5.5 instead of 6."""
    x = torch.from_numpy(np.load(reference_data(f"boltzmann/{file}"))).double()
    x = x.reshape(-1, *energy.event_shape)
    x = x - x.mean(dim=1, keepdim=True)
    u, force = energy.energy_and_force(x)
    virial = -(x * force).sum((-2, -1))
    error = virial.std() / len(virial) ** 0.5
    assert float(u.mean()) == pytest.approx(expected, abs=tolerance)
    assert abs(float(virial.mean()) - energy.degrees_of_freedom) < 0.3 + 5 * float(error)


def test_bad_parameters_name_the_remedy():
    with pytest.raises(InputError, match="at least 2"):
        LennardJones(1)
    with pytest.raises(InputError, match="positive"):
        LennardJones(13, oscillator=0.0)
    with pytest.raises(InputError, match="ordered"):
        LennardJones(13, pairs="both")  # type: ignore[arg-type]
