"""`OpenMMEnergy`: the alanine dipeptide of the literature, the seam, the fallback, the refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import openmm
import pytest
import torch
from openmm import app

from domains.molecules.named_molecules import NAMED_MOLECULES, STRUCTURE, named_molecule
from domains.molecules.openmm_energy import OpenMMEnergy
from domains.molecules.openmm_fallback import FallbackError, OpenMMFallback
from domains.molecules.openmm_reference import ReferenceContext
from workbench.errors import InputError
from workbench.problem import Energy
from workbench.threaded import ThreadedEnergy

Find = Callable[[str], Path]
PRMTOP, INPCRD = "boltzmann/alanine-dipeptide.prmtop", "boltzmann/alanine-dipeptide.crd"
FRAMES = "boltzmann/alanine_dipeptide_ff96_obc1_300K_2000frames.h5"


def thermal_frames(name: str = "alanine-dipeptide", n: int = 100) -> torch.Tensor:
    energy = named_molecule(name)
    return energy.initial(n, torch.Generator().manual_seed(1)).double()


def assert_agrees_with_openmm(energy: OpenMMEnergy, x: torch.Tensor) -> None:
    system = openmm.XmlSerializer.deserialize(energy.system_xml)
    theirs, their_force = ReferenceContext(system).evaluate(x.numpy(), want_force=True)
    u, f = energy.energy_and_force(x)
    assert np.abs(u.numpy() * energy.kt_kj_per_mol - theirs).max() < 1e-5
    assert np.abs(f.numpy() * energy.kt_kj_per_mol - their_force).max() < 1e-4


@pytest.mark.parametrize("name", NAMED_MOLECULES)
def test_named_molecules_satisfy_the_seam_and_agree_with_openmm(name: str) -> None:
    energy = named_molecule(name)
    assert isinstance(energy, Energy)
    assert energy.event_shape == (22, 3) and energy.degrees_of_freedom == 63 and energy.mean_free
    assert not any("worker processes" in line for line in energy.description)
    x = energy.initial(40, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32 and x.mean(1).abs().max() < 1e-6
    before = x.clone()
    u, _ = energy.energy_and_force(x)
    assert torch.equal(x, before) and u.isfinite().all() and not u.requires_grad
    assert_agrees_with_openmm(energy, x.double())


@pytest.mark.parametrize("solvent", [None, "OBC1", "OBC2"])
def test_prmtop_route_on_thermal_frames(reference_data: Find, solvent: str | None) -> None:
    energy = OpenMMEnergy.from_amber(
        reference_data(PRMTOP), reference_data(INPCRD), implicit_solvent=solvent
    )
    with h5py.File(reference_data(FRAMES)) as file:
        x = torch.from_numpy(np.array(file["coordinates"][:50])).double()
    assert_agrees_with_openmm(energy, x)


def test_the_named_dipeptide_is_the_published_one(reference_data: Find) -> None:
    """Up to the rounding of the prmtop file, which shifts energies by up to 3e-4 kJ/mol."""
    published = OpenMMEnergy.from_amber(
        reference_data(PRMTOP), reference_data(INPCRD), implicit_solvent="OBC1"
    )
    named = named_molecule("alanine-dipeptide")
    with h5py.File(reference_data(FRAMES)) as file:
        x = torch.from_numpy(np.array(file["coordinates"][:500])).double()
    assert named.topology is not None and published.topology is not None
    assert [a.name for a in named.topology.atoms()] == [a.name for a in published.topology.atoms()]
    difference = (named.energy(x) - published.energy(x)) * named.kt_kj_per_mol
    assert difference.abs().max() < 5e-4 and difference.std() < 1e-4
    other = named_molecule("alanine-dipeptide-ff99sbildn-obc")
    assert ((other.energy(x) - published.energy(x)) * named.kt_kj_per_mol).std() > 1.0


def test_the_two_forms_of_obc_are_named_apart() -> None:
    first = " ".join(named_molecule("alanine-dipeptide").description)
    second = " ".join(named_molecule("alanine-dipeptide-ff99sbildn-obc").description)
    assert "OBC1 in the form of CustomGBForce" in first and "(mbondi2)" in first
    assert "OBC2 in the form of GBSAOBCForce" in second and "(not mbondi2)" in second
    assert "surface term 2.25936 kJ/mol/nm^2" in first


def test_virial_is_the_number_of_degrees_of_freedom(reference_data: Find) -> None:
    energy = named_molecule("alanine-dipeptide")
    with h5py.File(reference_data(FRAMES)) as file:
        x = torch.from_numpy(np.array(file["coordinates"][:])).double()
    _, force = energy.energy_and_force(x)
    virial = -((x - x.mean(1, keepdim=True)) * force).sum((1, 2))
    assert abs(virial.mean() - 63) < 5 * virial.std() / len(x) ** 0.5


def test_threads_give_the_same_numbers() -> None:
    energy = named_molecule("alanine-dipeptide-vacuum")
    x = energy.initial(301, torch.Generator().manual_seed(1))
    alone = energy.energy_and_force(x)
    shared = ThreadedEnergy(energy, 2).energy_and_force(x)
    assert torch.equal(alone[0], shared[0]) and torch.equal(alone[1], shared[1])


def test_an_empty_batch_and_a_strided_batch() -> None:
    energy = named_molecule("alanine-dipeptide")
    u, f = energy.energy_and_force(torch.empty(0, 22, 3))
    assert u.shape == (0,) and f.shape == (0, 22, 3)
    x = thermal_frames(n=8)
    strided = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert torch.equal(energy.energy(strided), energy.energy(x))


def with_unknown_force(force: openmm.Force, n_workers: int = 0) -> OpenMMEnergy:
    molecule = named_molecule("alanine-dipeptide")
    system = openmm.XmlSerializer.deserialize(molecule.system_xml)
    system.addForce(force)
    return OpenMMEnergy.from_system(
        system, 300.0, positions_nm=molecule.positions_nm, n_workers=n_workers
    )


def custom_bond() -> openmm.Force:
    force = openmm.CustomBondForce("10*(r-0.5)^4")
    force.addBond(0, 21)
    return force


def test_an_unknown_force_falls_back_exactly_and_alone() -> None:
    energy = with_unknown_force(custom_bond())
    lines = [line for line in energy.description if "worker processes (exact)" in line]
    assert len(lines) == 1 and lines[0].startswith("CustomBondForce")
    assert energy.mean_free
    assert_agrees_with_openmm(energy, thermal_frames(n=20))
    u64 = energy.energy(thermal_frames(n=20))
    assert (energy.energy(thermal_frames(n=20).float()) - u64).abs().max() < 1e-2


def test_worker_processes_give_the_same_as_this_process() -> None:
    alone, shared = with_unknown_force(custom_bond()), with_unknown_force(custom_bond(), 2)
    x = thermal_frames(n=41)
    for a, b in zip(alone.energy_and_force(x), shared.energy_and_force(x), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(alone.energy(x), shared.energy(x))
    shared.close()
    assert torch.equal(alone.energy(x), shared.energy(x))
    shared.close()


def test_a_dead_worker_is_one_clear_message_and_the_next_batch_works() -> None:
    system = openmm.System()
    system.addParticle(1.0)
    fallback = OpenMMFallback(system, n_workers=2)
    x = np.zeros((40, 1, 3))
    fallback.evaluate(x, want_force=True)
    assert fallback._pool is not None
    for worker in fallback._pool._workers:
        worker.process.kill()
    with pytest.raises(FallbackError, match="worker process"):
        fallback.evaluate(x, want_force=True)
    assert fallback.evaluate(x, want_force=True)[0].shape == (40,)
    fallback.close()


def test_workers_do_not_import_the_callers_main(tmp_path: Path) -> None:
    """A script without a guard, as a notebook cell would be."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('main runs')\n"
        "import numpy as np, openmm\n"
        "from domains.molecules.openmm_fallback import OpenMMFallback\n"
        "system = openmm.System()\n"
        "system.addParticle(1.0)\n"
        "e, f = OpenMMFallback(system, n_workers=2).evaluate(np.zeros((64, 1, 3)), True)\n"
        "print(e.shape, f.shape)\n"
    )
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": ""},
        check=True,
    )
    assert run.stdout.splitlines() == ["main runs", "(64,) (64, 1, 3)"]


def test_an_external_field_is_not_mean_free() -> None:
    force = openmm.CustomExternalForce("5*x^2")
    force.addParticle(3)
    energy = with_unknown_force(force)
    assert not energy.mean_free and energy.degrees_of_freedom == 66


@pytest.mark.parametrize("change", ["cut-off", "offset", "salt", "other expression"])
def test_features_without_a_kernel_fall_back(change: str) -> None:
    molecule = named_molecule("alanine-dipeptide")
    system = openmm.XmlSerializer.deserialize(molecule.system_xml)
    kinds = {type(f): f for f in system.getForces()}
    pairs, born = kinds[openmm.NonbondedForce], kinds[openmm.CustomGBForce]
    if change == "cut-off":
        pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    elif change == "offset":
        pairs.addGlobalParameter("lambda", 0.5)
        pairs.addParticleParameterOffset("lambda", 0, 0.1, 0.0, 0.0)
    elif change == "salt":
        text, kind = born.getEnergyTermParameters(0)
        born.setEnergyTermParameters(0, text.replace("kappa=0", "kappa=0.7"), kind)
    else:
        name, text, kind = born.getComputedValueParameters(1)
        born.setComputedValueParameters(1, name, text.replace("2.909125", "2.9"), kind)
    energy = OpenMMEnergy.from_system(
        system, 300.0, positions_nm=molecule.positions_nm, n_workers=0
    )
    assert sum("worker processes" in line for line in energy.description) == 1
    assert_agrees_with_openmm(energy, thermal_frames(n=5))


def test_system_xml_route(tmp_path: Path) -> None:
    molecule = named_molecule("alanine-dipeptide-vacuum")
    path = tmp_path / "system.xml"
    path.write_text(molecule.system_xml)
    again = OpenMMEnergy.from_system_xml(path, STRUCTURE, 310.0)
    assert again.system_sha256 == molecule.system_sha256
    x = thermal_frames(n=3)
    torch.testing.assert_close(again.energy(x) * 310, molecule.energy(x) * 300)


def test_hydrogens_are_added_when_asked(tmp_path: Path) -> None:
    lines = STRUCTURE.read_text().splitlines()
    heavy = [v for v in lines if not v.startswith("CONECT") and v[76:78].strip() != "H"]
    path = tmp_path / "heavy.pdb"
    path.write_text("\n".join(heavy))
    with pytest.raises(InputError, match=r"residue ACE.*--add-hydrogens"):
        OpenMMEnergy.from_pdb(path)
    energy = OpenMMEnergy.from_pdb(path, add_hydrogens=True)
    assert energy.event_shape == (22, 3)
    assert any("12 hydrogens added" in line for line in energy.description)


def dipeptide_system() -> tuple[openmm.System, np.ndarray]:
    molecule = named_molecule("alanine-dipeptide-vacuum")
    positions = molecule.positions_nm
    assert positions is not None
    return openmm.XmlSerializer.deserialize(molecule.system_xml), positions


def _constrained(system: openmm.System) -> None:
    system.addConstraint(0, 1, 0.1)


def _virtual(system: openmm.System) -> None:
    system.setParticleMass(0, 0.0)
    system.setVirtualSite(0, openmm.TwoParticleAverageSite(1, 2, 0.5, 0.5))


def _massless(system: openmm.System) -> None:
    system.setParticleMass(0, 0.0)


def _barostat(system: openmm.System) -> None:
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))


def _periodic(system: openmm.System) -> None:
    (pairs,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    pairs.setNonbondedMethod(openmm.NonbondedForce.PME)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_constrained, "constraints=None, rigidWater=False"),
        (_virtual, "virtual site"),
        (_massless, "mass zero"),
        (_barostat, "MonteCarloBarostat"),
        (_periodic, "nonbondedMethod=NoCutoff"),
    ],
)
def test_unsuitable_systems_are_refused_with_the_remedy(
    spoil: Callable[[openmm.System], None], message: str
) -> None:
    system, positions = dipeptide_system()
    spoil(system)
    with pytest.raises(InputError, match=message):
        OpenMMEnergy.from_system(system, 300.0, positions_nm=positions)


def test_bad_input_is_one_sentence(tmp_path: Path, reference_data: Find) -> None:
    system, positions = dipeptide_system()
    for temperature in (0.0, -3.0, float("nan")):
        with pytest.raises(InputError, match="above 0 K"):
            OpenMMEnergy.from_system(system, temperature)
    spoiled = positions.copy()
    spoiled[4, 1] = np.nan
    with pytest.raises(InputError, match="atom 4 are not finite"):
        OpenMMEnergy.from_system(system, 300.0, positions_nm=spoiled)
    with pytest.raises(InputError, match="22 atoms"):
        OpenMMEnergy.from_system(system, 300.0, positions_nm=positions[:5])
    with pytest.raises(InputError, match="no start structure"):
        OpenMMEnergy.from_system(system, 300.0).initial(2, torch.Generator())
    with pytest.raises(InputError, match="is not a file that exists"):
        OpenMMEnergy.from_pdb(tmp_path / "none.pdb")
    garbage = tmp_path / "garbage.pdb"
    garbage.write_text("ATOM  what is this\n")
    with pytest.raises(InputError, match=r"cannot be read|no atoms"):
        OpenMMEnergy.from_pdb(garbage)
    with pytest.raises(InputError, match=r"amber14-all\.xml"):
        OpenMMEnergy.from_pdb(STRUCTURE, ["amber14-al.xml"])
    with pytest.raises(InputError, match="residue ACE"):
        OpenMMEnergy.from_pdb(STRUCTURE, ["tip3p.xml"])
    with pytest.raises(InputError, match='did you mean "OBC'):
        OpenMMEnergy.from_amber(garbage, garbage, implicit_solvent="OBC")
    with pytest.raises(InputError, match="Amber topology"):
        OpenMMEnergy.from_amber(garbage, garbage)
    with pytest.raises(InputError, match="Amber coordinates"):
        OpenMMEnergy.from_amber(reference_data(PRMTOP), garbage)
    with pytest.raises(InputError, match="OpenMM System"):
        OpenMMEnergy.from_system_xml(garbage, STRUCTURE)
    with pytest.raises(InputError, match='did you mean "alanine-dipeptide"'):
        named_molecule("alanin-dipeptide")


def test_positions_that_do_not_fit_are_refused() -> None:
    energy = named_molecule("alanine-dipeptide")
    with pytest.raises(InputError, match=r"\[batch, 22, 3\]"):
        energy.energy(torch.zeros(4, 66))
    with pytest.raises(InputError, match="float32 or float64"):
        energy.energy(torch.zeros(4, 22, 3, dtype=torch.float16))


def test_not_a_number_in_gives_not_a_number_out() -> None:
    energy = named_molecule("alanine-dipeptide")
    x = thermal_frames(n=3)
    x[1, 5, 0] = float("nan")
    u = energy.energy(x)
    assert u.isnan().tolist() == [False, True, False]


def test_a_pdb_with_a_coordinate_that_is_not_a_number(tmp_path: Path) -> None:
    path = tmp_path / "nan.pdb"
    lines = STRUCTURE.read_text().splitlines()
    lines[2] = lines[2][:30] + "     nan" + lines[2][38:]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="atom 1"):
        OpenMMEnergy.from_pdb(path)


def test_flexible_water_through_a_force_field_file() -> None:
    top = app.Topology()
    chain = top.addChain()
    positions = []
    for k in range(2):
        residue = top.addResidue("HOH", chain)
        atoms = [top.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")]
        top.addBond(atoms[0], atoms[1])
        top.addBond(atoms[0], atoms[2])
        positions += [[0.3 * k, 0, 0], [0.3 * k + 0.06, 0.075, 0], [0.3 * k + 0.06, -0.075, 0.01]]
    system = app.ForceField("tip3p.xml").createSystem(top, constraints=None, rigidWater=False)
    energy = OpenMMEnergy.from_system(system, 300.0, topology=top, positions_nm=np.array(positions))
    assert_agrees_with_openmm(energy, energy.initial(5, torch.Generator().manual_seed(0)).double())
    assert energy.masses_dalton[0] == pytest.approx(15.99943)
