"""What cannot be used ends in one sentence, exit code 2, no traceback and no half-made folder."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from domains.molecules.named_molecules import STRUCTURE
from pipelines import cli
from pipelines.boltzmann import presentation
from tests.pipelines.boltzmann_runs import SMALL, VACUUM, run
from tests.pipelines.finished import blank_picture, metrics
from workbench.training import checkpoint

AMBER = ["--forcefield", "amber96.xml"]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(presentation, "save", blank_picture)


def refused(capsys, out: Path, *flags: str) -> str:
    """The sentence on standard error of a run that must be refused."""
    assert run(out, *flags) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("workbench: ") and said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert not out.exists(), sorted(out.iterdir())
    return said.err


def altered(tmp_path: Path, change) -> str:
    """The dipeptide's PDB file with its lines run through `change`."""
    path = tmp_path / "altered.pdb"
    lines = STRUCTURE.read_text().splitlines(keepends=True)
    path.write_text("".join(change(line) for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--system", "lj-13"], ['"lj-13"', 'did you mean "lj13"']),
        (["--system", "alanine_dipeptide"], ['did you mean "alanine-dipeptide"']),
        (["--sistem", "lj13"], ["--sistem", "did you mean"]),
        (["--idem.drawz", "3"], ["--idem.drawz", "idem.draws"]),
        (["--sampler", "nuts"], ["nuts"]),
        (["--preset", "laptp"], ["laptp", "laptop"]),
        (["--temperature", "0"], ["--temperature is 0", "above zero"]),
        (["--temperature", "-5"], ["--temperature is -5"]),
        (["--temperature", "nan"], ["temperature", "nan"]),
        (["--n-samples", "0"], ["--n-samples is 0"]),
        (["--system", "lj13", "--sampler", "md"], ["md needs a molecule"]),
        (["--system", "lj13", "--basin", "a=phi:0:2"], ["--basin needs a molecule"]),
        (["--system", VACUUM, "--basin", "a=fi:0:2"], ["fi"]),
        (["--system", VACUUM, "--basin", "nonsense"], ["nonsense"]),
        (["--system", "gmm40", "--start", "structure"], ["--start structure"]),
        (["--system", "lj14", "--start", "both"], ["--start both"]),
        (["--system", "lj1"], ["at least 2 particles"]),
        (["--system", "lj13", "--reference", "gone.npy"], ["gone.npy", "does not exist"]),
        (["--pdb", "gone.pdb", *AMBER], ["gone.pdb"]),
        (["--pdb", str(STRUCTURE), "--forcefield", "amber97.xml"], ["amber97.xml"]),
        (["--prmtop", "gone.prmtop"], ["--inpcrd"]),
        (["--prmtop", "gone.prmtop", "--inpcrd", "gone.inpcrd"], ["gone.prmtop"]),
        (["--system-xml", "gone.xml"], ["--pdb"]),
        (["--system-xml", "gone.xml", "--pdb", str(STRUCTURE)], ["gone.xml"]),
        (["--chain.chains", "0"], ["--chain.chains is 0"]),
        (["--idem.network.width", "0"], ["--idem.network.width is 0"]),
        (["--idem.sigma-min", "3", "--idem.sigma-max", "2", "--system", "dw4"], ["sigma_min"]),
        (["--smc.batches", "3", "--sampler", "smc"], ["--smc.batches is 3"]),
    ],
)
def test_refused_in_one_sentence(flags, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sentence = refused(capsys, tmp_path / "run", *flags)
    for part in parts:
        assert part in sentence


def test_an_unreadable_structure(capsys, tmp_path):
    path = tmp_path / "not.pdb"
    path.write_bytes(bytes(range(256)) * 4)
    assert "not.pdb" in refused(capsys, tmp_path / "run", "--pdb", str(path), *AMBER)


def test_a_residue_without_template_is_named(capsys, tmp_path):
    path = altered(tmp_path, lambda line: line.replace("ALA", "UNK"))
    assert "UNK" in refused(capsys, tmp_path / "run", "--pdb", path, *AMBER)


def test_missing_hydrogens_name_the_remedy(capsys, tmp_path):
    path = altered(tmp_path, lambda line: "" if line[76:78].strip() == "H" else line)
    assert "--add-hydrogens" in refused(capsys, tmp_path / "run", "--pdb", path, *AMBER)


def test_coordinates_that_are_not_numbers(capsys, tmp_path):
    path = altered(
        tmp_path,
        lambda line: line[:30] + "     nan" + line[38:] if line[6:11].strip() == "5" else line,
    )
    sentence = refused(capsys, tmp_path / "run", "--pdb", path, *AMBER)
    assert "atom 4" in sentence or "altered.pdb" in sentence


def test_reference_of_another_shape_or_with_nan_is_refused_before_sampling(capsys, tmp_path):
    np.save(tmp_path / "odd.npy", np.zeros((10, 7)))
    flags = ["--system", "dw4", "--sampler", "mala", "--reference"]
    assert "odd.npy" in refused(capsys, tmp_path / "run", *flags, str(tmp_path / "odd.npy"))
    np.save(tmp_path / "nan.npy", np.full((10, 4, 2), np.nan))
    assert "not numbers" in refused(capsys, tmp_path / "run", *flags, str(tmp_path / "nan.npy"))


def test_a_folder_that_holds_another_run_is_left_alone(capsys, tmp_path):
    out = tmp_path / "run"
    flags = ["--system", "funnel-easy", "--sampler", "mala"]
    assert run(out, *flags) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run(out, *flags) == 2
    said = capsys.readouterr().err
    assert "holds another run" in said and f"workbench resume {out}" in said
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_damaged_checkpoint_falls_back_to_the_one_before(capsys, tmp_path):
    out = tmp_path / "run"
    assert run(out, "--system", "funnel-easy", "--sampler", "mala") == 0
    figures = metrics(out)["mean_energy"]
    capsys.readouterr()
    newest = sorted((out / "checkpoints" / "chains").glob("step-*"))[-1] / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-7] + b"garbage")
    assert cli.main(["resume", str(out)]) == 0
    said = capsys.readouterr().err
    assert "damaged" in said and "the one before" in said
    assert metrics(out)["mean_energy"] == figures


def test_a_full_disk_stops_with_the_run_intact(capsys, tmp_path, monkeypatch):
    """The disk fills while the samples are written; once there is space, resume finishes."""
    from domains.molecules import trajectory_files

    out = tmp_path / "run"
    flags = ["--system", "funnel-easy", "--sampler", "mala"]

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(trajectory_files.np, "savez", full)
        patched.setattr(trajectory_files.np, "savez_compressed", full)
        assert run(out, *flags) == 2
    said = capsys.readouterr().err
    assert "no space left" in said and "Traceback" not in said
    assert not (out / "metrics.json").exists()
    assert cli.main(["resume", str(out)]) == 0
    assert (out / "samples" / "samples.npz").exists() and metrics(out)


@pytest.mark.parametrize(
    ("module", "function"), [(presentation, "save"), (checkpoint, "_write_through")]
)
def test_a_full_disk_elsewhere_is_one_sentence_too(module, function, capsys, tmp_path, monkeypatch):
    """Figures and checkpoints fill disks as well as samples do."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(module, function, full)
        assert run(out, "--system", "funnel-easy", "--sampler", "mala") == 2
    said = capsys.readouterr().err
    assert "no space left" in said and "Traceback" not in said
    assert cli.main(["resume", str(out)]) == 0
    assert metrics(out)


def test_small_flags_are_accepted_by_every_sampler():
    """Guards the helper: a renamed option would make every refusal above pass for the wrong reason."""
    assert cli.main(["boltzmann", "run", *SMALL, "--print-config"]) == 0
