"""Each kind of force against OpenMM's Reference platform, finite differences and the torch path."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import app

from domains.molecules import _force_field_math_kernels as elementary
from domains.molecules.named_molecules import named_molecule
from domains.molecules.openmm_energy import OpenMMEnergy
from domains.molecules.openmm_reference import ReferenceContext

Builder = Callable[[np.random.Generator], openmm.Force]

N_ATOMS = 9
CHAIN = [(k, k + 1) for k in range(N_ATOMS - 1)]


def bonds(rng: np.random.Generator) -> openmm.Force:
    force = openmm.HarmonicBondForce()
    for a, b in CHAIN:
        force.addBond(a, b, rng.uniform(0.1, 0.2), rng.uniform(1e3, 3e5))
    return force


def angles(rng: np.random.Generator) -> openmm.Force:
    force = openmm.HarmonicAngleForce()
    for k in range(N_ATOMS - 2):
        force.addAngle(k, k + 1, k + 2, rng.uniform(0.2, math.pi), rng.uniform(100, 500))
    return force


def periodic_torsions(rng: np.random.Generator) -> openmm.Force:
    force = openmm.PeriodicTorsionForce()
    for k in range(N_ATOMS - 3):
        for n in (1, 2, 3, 6):
            phase, strength = rng.uniform(0, 6), rng.uniform(-5, 5)
            force.addTorsion(k, k + 1, k + 2, k + 3, n, phase, strength)
    force.addTorsion(3, 2, 1, 0, 5, 0.3, 2.0)  # The first one, from its other end.
    return force


def rb_torsions(rng: np.random.Generator) -> openmm.Force:
    force = openmm.RBTorsionForce()
    for k in range(N_ATOMS - 3):
        force.addTorsion(k, k + 1, k + 2, k + 3, *rng.uniform(-10, 10, 6))
    return force


def cross_maps(rng: np.random.Generator) -> openmm.Force:
    force = openmm.CMAPTorsionForce()
    for size in (24, 7):
        force.addMap(size, rng.uniform(-5, 5, size * size))
    for k in range(N_ATOMS - 4):
        force.addTorsion(k % 2, k, k + 1, k + 2, k + 3, k + 1, k + 2, k + 3, k + 4)
    return force


def nonbonded(rng: np.random.Generator) -> openmm.Force:
    force = openmm.NonbondedForce()
    for _ in range(N_ATOMS):
        force.addParticle(rng.uniform(-1, 1), rng.uniform(0.1, 0.2), rng.uniform(0.1, 1))
    force.createExceptionsFromBonds(CHAIN, 0.83, 0.5)
    return force


def obc_built_in(rng: np.random.Generator) -> openmm.Force:
    force = openmm.GBSAOBCForce()
    for _ in range(N_ATOMS):
        force.addParticle(rng.uniform(-1, 1), rng.uniform(0.1, 0.2), rng.uniform(0.7, 0.9))
    force.setSolventDielectric(70.0)
    force.setSoluteDielectric(1.5)
    return force


def obc_expressions(model: int, surface: str | None) -> Builder:
    def build(rng: np.random.Generator) -> openmm.Force:
        from openmm.app.internal.customgbforces import GBSAOBC1Force, GBSAOBC2Force

        force = (GBSAOBC1Force, GBSAOBC2Force)[model - 1](SA=surface, solventDielectric=70.0)
        for _ in range(N_ATOMS):
            # Scaled radii above offset radii: atoms that are engulfed by a neighbour occur.
            force.addParticle([rng.uniform(-1, 1), rng.uniform(0.05, 0.2), rng.uniform(0.7, 1.4)])
        force.finalize()
        return force

    return build


def obc_engulfing(rng: np.random.Generator) -> openmm.Force:
    force = openmm.GBSAOBCForce()
    for _ in range(N_ATOMS):
        force.addParticle(rng.uniform(-1, 1), rng.uniform(0.05, 0.3), rng.uniform(0.7, 1.4))
    return force


FORCES: dict[str, Builder] = {
    "bonds": bonds,
    "angles": angles,
    "periodic torsions": periodic_torsions,
    "RB torsions": rb_torsions,
    "CMAP": cross_maps,
    "nonbonded": nonbonded,
    "OBC2 built in": obc_built_in,
    "OBC2 built in, engulfing": obc_engulfing,
    "OBC1 expressions": obc_expressions(1, "ACE"),
    "OBC2 expressions, no surface": obc_expressions(2, None),
}


def system_of(names: list[str], seed: int = 0) -> openmm.System:
    rng = np.random.default_rng(seed)
    system = openmm.System()
    for _ in range(N_ATOMS):
        system.addParticle(12.0)
    for name in names:
        system.addForce(FORCES[name](rng))
    return system


def structures(n: int, seed: int = 1) -> torch.Tensor:
    """Random chains with distances a force field meets: bonds of 0.15 nm, no two atoms closer."""
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while len(found) < n:
        steps = rng.standard_normal((N_ATOMS, 3))
        x = np.cumsum(0.15 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
        r = np.linalg.norm(x[:, None] - x, axis=-1)[np.triu_indices(N_ATOMS, 1)]
        if r.min() > 0.12:
            found.append(x)
    return torch.from_numpy(np.array(found))


def reference(system: openmm.System, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    energy, force = ReferenceContext(system).evaluate(x.double().numpy(), want_force=True)
    return torch.from_numpy(energy), torch.from_numpy(force)


def in_kj_per_mol(energy: OpenMMEnergy, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    u, f = energy.energy_and_force(x)
    return u * energy.kt_kj_per_mol, f * energy.kt_kj_per_mol


@pytest.mark.parametrize("name", FORCES)
def test_each_force_agrees_with_openmm_in_double_precision(name: str) -> None:
    system = system_of([name])
    energy = OpenMMEnergy.from_system(system, 300.0)
    assert energy._fallback is None, energy.description
    x = structures(45)  # Not a multiple of the block width.
    theirs, their_force = reference(system, x)
    ours, our_force = in_kj_per_mol(energy, x)
    # OpenMM's Reference CMAP and RB torsions compute angles by arc cosine: 1e-8 at best.
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(our_force, their_force, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(energy.energy(x), energy.energy_and_force(x)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    "names",
    [
        ["bonds", "angles", "nonbonded"],
        ["CMAP", "periodic torsions", "RB torsions", "OBC1 expressions"],
        ["nonbonded", "OBC2 built in", "angles", "bonds", "bonds", "CMAP", "CMAP"],
        ["nonbonded", "nonbonded"],
    ],
)
def test_forces_add_up(names: list[str]) -> None:
    system = system_of(names)
    energy = OpenMMEnergy.from_system(system, 300.0)
    x = structures(40)
    theirs, their_force = reference(system, x)
    ours, our_force = in_kj_per_mol(energy, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(our_force, their_force, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", FORCES)
def test_force_is_the_negative_gradient(name: str) -> None:
    energy = OpenMMEnergy.from_system(system_of([name]), 300.0)
    x = structures(3)
    _, force = energy.energy_and_force(x)
    step = 1e-6
    for atom, k in ((0, 0), (4, 1), (8, 2)):
        moved = x.clone()
        moved[:, atom, k] += step
        ahead = energy.energy(moved)
        moved[:, atom, k] -= 2 * step
        slope = (ahead - energy.energy(moved)) / (2 * step)
        torch.testing.assert_close(-slope, force[:, atom, k], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", FORCES)
def test_torch_path_agrees_and_is_differentiable(name: str) -> None:
    energy = OpenMMEnergy.from_system(system_of([name]), 300.0)
    x = structures(5)
    u, f = energy.energy_and_force(x)
    torch_u, torch_f = energy._by_torch(x, with_force=True)
    torch.testing.assert_close(torch_u, u, rtol=1e-10, atol=1e-8)
    torch.testing.assert_close(torch_f, f, rtol=1e-8, atol=1e-5)


@pytest.mark.parametrize("name", ["alanine-dipeptide", "alanine-dipeptide-vacuum"])
def test_torch_path_gives_shapes_on_the_meta_device(name: str) -> None:
    energy = named_molecule(name)
    u, f = energy.energy_and_force(torch.empty(7, 22, 3, device="meta"))
    assert u.shape == (7,) and f.shape == (7, 22, 3) and f.device.type == "meta"
    assert energy.energy(torch.empty(7, 22, 3, device="meta")).shape == (7,)


@pytest.mark.parametrize("name", FORCES)
def test_single_precision(name: str) -> None:
    energy = OpenMMEnergy.from_system(system_of([name]), 300.0)
    x = structures(40)
    u, f = energy.energy_and_force(x)
    u32, f32 = energy.energy_and_force(x.float())
    assert u32.dtype == f32.dtype == torch.float32
    assert (u32 - u).abs().max() < 1e-4 * (1 + u.abs().max())
    assert (f32 - f).abs().max() < 2e-5 * (1 + f.abs().max())


def test_a_linear_angle_keeps_energy_and_force_finite() -> None:
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 1, 2, math.pi, 400.0)
    system = openmm.System()
    for _ in range(3):
        system.addParticle(1.0)
    system.addForce(force)
    energy = OpenMMEnergy.from_system(system, 300.0)
    x = torch.tensor([[[0.0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]]], dtype=torch.float64)
    u, f = energy.energy_and_force(x)
    assert abs(float(u)) < 1e-10 and f.abs().max() < 1e-8


def test_peptide_with_cmap_from_a_force_field_file() -> None:
    """ff19SB has a CMAP per residue type, beside impropers and scaled 1-4 pairs."""
    molecule = named_molecule("alanine-dipeptide")
    field = app.ForceField("amber19-all.xml")
    system = field.createSystem(molecule.topology, constraints=None, rigidWater=False)
    energy = OpenMMEnergy.from_system(
        system, 300.0, positions_nm=molecule.positions_nm, n_workers=0
    )
    assert len(energy.parameters.map_atoms) == 1
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn((10, 22, 3), generator=generator, dtype=torch.float64)
    x = torch.from_numpy(molecule.positions_nm) + 0.005 * noise
    theirs, their_force = reference(system, x)
    ours, our_force = in_kj_per_mol(energy, x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(our_force, their_force, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elementary_functions_are_good_to_a_few_units_in_the_last_place(dtype: Any) -> None:
    import numba

    @numba.njit(**elementary.JIT)
    def run(a: Any, b: Any, c: Any, exp: Any, log: Any, atan: Any) -> None:
        for k in range(len(a)):
            exp[k] = elementary.exponential(a[k])
            log[k] = elementary.logarithm(b[k])
            atan[k] = elementary.arc_tangent_2(b[k], c[k])

    rng = np.random.default_rng(0)
    n = 20_000
    a = rng.uniform(-80, 40, n).astype(dtype)
    b = np.exp(rng.uniform(-8, 3, n)).astype(dtype)
    c = (3 * rng.standard_normal(n)).astype(dtype)
    exp, log, atan = (np.empty(n, dtype) for _ in range(3))
    run(a, b, c, exp, log, atan)
    wide = np.longdouble
    for got, exact in (
        (exp, np.exp(a.astype(wide))),
        (log, np.log(b.astype(wide))),
        (atan, np.arctan2(b.astype(wide), c.astype(wide))),
    ):
        assert np.abs(got / exact - 1).max() < 3 * np.finfo(dtype).eps
