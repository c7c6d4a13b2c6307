"""The user's own molecule, reference, basins and formats."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
import torch

from domains.molecules.named_molecules import STRUCTURE, named_molecule
from pipelines import cli
from pipelines.boltzmann import presentation
from tests.pipelines.boltzmann_runs import VACUUM, run
from tests.pipelines.finished import blank_picture, metrics

AMBER96 = ["--pdb", str(STRUCTURE), "--forcefield", "amber96.xml"]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(presentation, "save", blank_picture)


def record(out: Path) -> dict:
    return json.loads((out / "samples" / "samples.json").read_text())


def test_structure_and_force_field_are_the_named_molecule(tmp_path):
    """The same System by file as by name: the same hash, energies and random numbers."""
    assert run(tmp_path / "file", *AMBER96) == 0
    assert run(tmp_path / "name", "--system", VACUUM) == 0
    assert record(tmp_path / "file")["system_sha256"] == record(tmp_path / "name")["system_sha256"]
    a, b = (metrics(tmp_path / name)["mean_energy"]["value"] for name in ("file", "name"))
    assert a == b


def test_temperature_is_that_of_the_run(tmp_path):
    assert run(tmp_path / "run", *AMBER96, "--temperature", "500") == 0
    assert record(tmp_path / "run")["temperature_kelvin"] == 500.0
    facts = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert facts["temperature_kelvin"] == 500.0 and len(facts["system_sha256"]) == 64


def test_hydrogens_are_added_on_request(tmp_path):
    bare = tmp_path / "bare.pdb"
    lines = STRUCTURE.read_text().splitlines(keepends=True)
    bare.write_text("".join(line for line in lines if line[76:78].strip() != "H"))
    flags = ["--pdb", str(bare), "--forcefield", "amber96.xml", "--add-hydrogens"]
    assert run(tmp_path / "run", *flags) == 0
    assert record(tmp_path / "run")["event_shape"] == [22, 3]


def test_amber_files(tmp_path, reference_data):
    files = [
        "--prmtop",
        str(reference_data("boltzmann/alanine-dipeptide.prmtop")),
        "--inpcrd",
        str(reference_data("boltzmann/alanine-dipeptide.crd")),
    ]
    assert run(tmp_path / "run", *files, "--implicit-solvent", "OBC1") == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "OBC1" in page and "mbondi2" in page
    assert "phi_positive_population" in metrics(tmp_path / "run")


def test_a_system_xml_with_a_structure(tmp_path):
    xml = tmp_path / "dipeptide.xml"
    xml.write_text(named_molecule(VACUUM).system_xml)
    assert run(tmp_path / "run", "--system-xml", str(xml), "--pdb", str(STRUCTURE)) == 0
    assert record(tmp_path / "run")["event_shape"] == [22, 3]


def test_a_constrained_system_is_refused_with_the_remedy(tmp_path, capsys):
    system = openmm.XmlSerializer.deserialize(named_molecule(VACUUM).system_xml)
    system.addConstraint(0, 1, 0.1)
    xml = tmp_path / "stiff.xml"
    xml.write_text(openmm.XmlSerializer.serialize(system))
    assert run(tmp_path / "run", "--system-xml", str(xml), "--pdb", str(STRUCTURE)) == 2
    assert "constraint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_forces_without_a_kernel_fall_back_to_openmm_and_say_so(tmp_path):
    system = openmm.XmlSerializer.deserialize(named_molecule(VACUUM).system_xml)
    extra = openmm.CustomExternalForce("0.5*k*(x^2+y^2+z^2)")
    extra.addGlobalParameter("k", 1.0)
    for atom in range(22):
        extra.addParticle(atom, [])
    system.addForce(extra)
    xml = tmp_path / "tethered.xml"
    xml.write_text(openmm.XmlSerializer.serialize(system))
    flags = ["--sampler", "mala", "--system-xml", str(xml), "--pdb", str(STRUCTURE)]
    code = run(tmp_path / "run", *flags)
    assert code == 0
    assert "CustomExternalForce" in (tmp_path / "run" / "report.html").read_text()


def test_xtc_basins_and_a_trajectory_as_reference(tmp_path):
    """XTC instead of DCD, the user's basins, and the first run's trajectory as the reference."""
    assert run(tmp_path / "first", "--system", VACUUM) == 0
    out = tmp_path / "run"
    basins = ["open=psi:1:-2.5", "near=distance(0,21):0:0.4,phi:2:0", "t=torsion(4,6,8,14):2:0"]
    flags = ["--trajectory-format", "xtc", "--sampler", "mala", "--basin", *basins]
    reference = tmp_path / "reference.xtc"
    samples = tmp_path / "first" / "samples"
    mdtraj.load(str(samples / "samples.dcd"), top=str(samples / "samples.pdb")).save(str(reference))
    assert run(out, "--system", VACUUM, *flags, "--reference", str(reference)) == 0
    frames = mdtraj.load(
        str(out / "samples" / "samples.xtc"), top=str(out / "samples" / "samples.pdb")
    )
    assert frames.n_frames == 96
    assert record(out)["position_rounding_nm"] == 0.001
    figures = metrics(out)
    assert {"population/open", "population/near", "population/t"} <= set(figures)
    assert {"free_energy/open->near", "free_energy/open->t"} <= set(figures)
    assert figures["energy_w2"]["floor"] is not None
    assert figures["ramachandran_jsd"]["floor"] is not None
    assert "96 samples of reference.xtc" in (out / "report.html").read_text()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_reference_arrays(suffix, tmp_path, generator):
    """Positions off centre are moved to it; a set drawn from elsewhere shows in the figure."""
    x = torch.randn((300, 4, 2), generator=generator).numpy() * 2 + 7
    path = tmp_path / f"reference.{suffix}"
    np.save(path, x) if suffix == "npy" else np.savez(path, x=x)
    flags = ["--system", "dw4", "--sampler", "mala", "--reference", str(path)]
    assert run(tmp_path / "run", *flags) == 0
    figure = metrics(tmp_path / "run")["energy_w2"]
    assert figure["value"] > 10 * 0.2 and figure["floor"] is not None


def test_both_starts_are_compared(tmp_path):
    assert run(tmp_path / "clusters", "--system", "lj13", "--sampler", "pt", "--start", "both") == 0
    page = (tmp_path / "clusters" / "report.html").read_text()
    assert "combined standard errors apart" in page
    assert run(tmp_path / "molecule", "--system", VACUUM, "--start", "both") == 0
    page = (tmp_path / "molecule" / "report.html").read_text()
    assert "Population of 0 &lt; phi &lt; 2 rad" in page


def test_polishing_is_reported_apart(tmp_path):
    flags = ["--system", "dw4", "--sampler", "idem", "--no-baseline"]
    assert run(tmp_path / "plain", *flags) == 0
    assert run(tmp_path / "polished", *flags, "--polish-steps", "10") == 0
    plain, polished = metrics(tmp_path / "plain"), metrics(tmp_path / "polished")
    assert polished["energy_w2"] == plain["energy_w2"]
    assert polished["energy_w2_polished"]["value"] < plain["energy_w2"]["value"]
    assert {"energy_w2_polished", "energy_w2_polished_control"} <= set(polished)
    assert not {"energy_w2_polished", "energy_w2_polished_control"} & set(plain)
    assert plain["energy_w2"]["baseline"] is None


def test_threads_do_not_change_the_figures(tmp_path):
    flags = ["--system", "lj21", "--sampler", "hmc", "--chain.chains", "70"]
    assert run(tmp_path / "one", *flags) == 0
    assert run(tmp_path / "two", *flags, "--threads", "2") == 0
    torch.set_num_threads(1)
    assert metrics(tmp_path / "one")["mean_energy"] == metrics(tmp_path / "two")["mean_energy"]


def test_a_report_is_rebuilt_and_runs_are_compared(tmp_path, capsys):
    for seed in ("0", "1"):
        flags = ["--system", "funnel-easy", "--sampler", "mala", "--seed", seed]
        assert run(tmp_path / seed, *flags) == 0
    page = (tmp_path / "0" / "report.html").read_text()
    (tmp_path / "0" / "report.html").unlink()
    assert cli.main(["report", str(tmp_path / "0")]) == 0
    assert len((tmp_path / "0" / "report.html").read_text()) == pytest.approx(len(page), rel=0.05)
    both = [str(tmp_path / seed) for seed in ("0", "1")]
    assert cli.main(["report", *both, "--out", str(tmp_path / "both.html")]) == 0
    assert "mean_energy" in (tmp_path / "both.html").read_text()
