"""The crystals pipeline end to end at small size: files, figures, resume, sample, bad input."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from domains.crystals.structures import read_cif
from pipelines import cli
from pipelines.crystals import Config, presentation, preset, training
from tests.pipelines.finished import blank_picture, metrics, untimed

SMALL = ["--elements", "Na", "Cl", "--max-atoms", "4", "--space-groups", "166", "216", "221", "225"]
SMALL += ["--steps", "6", "--batch", "8", "--width", "16", "--seeds", "20", "--n-samples", "12"]
SMALL += [
    "--relax",
    "1",
    "--playground-steps",
    "2",
    "--chains",
    "8",
    "--sweeps",
    "8",
    "--imitation",
    "2",
]
NAMED = (
    *("fraction_valid", "fraction_neutral", "fraction_unique", "fraction_novel"),
    *("symmetry_fidelity", "n_prototypes", "median_formation_energy_ev_per_atom"),
    *("best_formation_energy_ev_per_atom", "fraction_near_hull", "n_space_groups", "n_elements"),
    *("playground_tvd", "playground_log_partition_error", "n_chgnet_evaluations", "seconds"),
)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(presentation, "save", blank_picture)


def run(out: Path, *flags: str) -> int:
    return cli.main(["crystals", "run", "--preset", "smoke", *SMALL, *flags, "--out", str(out)])


def test_a_run_writes_what_others_rely_on_and_gives_more_samples(tmp_path):
    out = tmp_path / "run"
    assert run(out) == 0
    figures = metrics(out)
    assert all(figures[name]["value"] is not None for name in NAMED)
    assert figures["fraction_neutral"]["value"] == 1.0
    assert figures["symmetry_fidelity"]["value"] == 1.0  # untrained: the rest is drawn again
    assert 0.0 < figures["fraction_redrawn"]["value"] < 1.0
    assert figures["median_formation_energy_ev_per_atom"]["baseline"] is not None
    with (out / "samples" / "crystals.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["count"]) for row in rows) == 12
    assert len(rows) == round(12 * figures["fraction_unique"]["value"])
    energies = [float(row["formation_energy_ev_per_atom"]) for row in rows]
    assert energies == sorted(energies)
    for row in rows:
        cell = read_cif(out / "samples" / row["cif"])
        assert cell.composition.reduced_formula == row["formula"]
        assert int(row["space_group"]) in (166, 216, 221, 225)
        assert np.isfinite(float(row["log_probability"]))
    frames = (out / "samples" / "crystals.extxyz").read_text().count("Lattice=")
    assert frames == 12
    page = (out / "structures.html").read_text()
    assert "<canvas>" in page and "http" not in page
    assert (out / "report.html").exists()
    assert cli.main(["sample", str(out), "--n", "5"]) == 0
    more = (out / "samples" / "more-1.extxyz").read_text()
    assert more.count("log_probability=") == 5


BOUNDED = ["--elements", "Na", "Cl", "O", "--most.anion", "0.6", "--fit.rounds", "2"]


@pytest.mark.parametrize("more", [[], BOUNDED], ids=["as it is", "bounded"])
def test_a_stopped_run_resumes_to_the_same_figures(more, tmp_path, monkeypatch):
    from workbench.gflownet import algorithm

    monkeypatch.setattr(training, "_BALANCED_EVERY", 2)
    step, calls = algorithm.step, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    flags = ["--playground-steps", "0", "--relax", "0", "--no-baseline", *more]
    with monkeypatch.context() as patched:
        patched.setattr(algorithm, "step", interrupted)
        assert run(tmp_path / "stopped", *flags) == 130
    assert cli.main(["resume", str(tmp_path / "stopped")]) == 0
    assert run(tmp_path / "whole", *flags) == 0
    assert untimed(tmp_path / "stopped") == untimed(tmp_path / "whole")


@pytest.mark.parametrize("target", ["density", "window"])
def test_other_targets(target, tmp_path):
    flags = ["--target", target, "--playground-steps", "0", "--relax", "0", "--no-baseline"]
    assert run(tmp_path / "run", *flags) == 0
    assert metrics(tmp_path / "run")["playground_tvd"]["why"] == "--playground-steps is 0"


@pytest.mark.parametrize("target", ["formation-energy", "density"])
def test_the_published_stages_are_a_baseline_of_the_same_form(target, tmp_path):
    out = tmp_path / "run"
    assert run(out, "--environment", "three-stages", "--target", target, "--relax", "0") == 0
    figures = metrics(out)
    assert figures["fraction_neutral"]["value"] == 1.0
    assert figures["n_energy_evaluations"]["value"] <= 12  # only the samples are evaluated
    assert "no atoms" in figures["playground_tvd"]["why"]
    assert (out / "samples" / "crystals.extxyz").read_text().count("Lattice=") == 12
    assert cli.main(["sample", str(out), "--n", "3"]) == 0


def test_chains_may_stand_still(tmp_path):
    flags = ["--sweeps", "0", "--playground-steps", "0", "--relax", "0", "--no-baseline"]
    assert run(tmp_path / "run", *flags) == 0


def test_bounds_on_shares_are_told_and_survive_the_run(tmp_path):
    out = tmp_path / "run"
    flags = [
        "--elements",
        "Na",
        "Cl",
        "O",
        "--most.anion",
        "0.6",
        "--playground-steps",
        "0",
        "--relax",
        "0",
        "--no-baseline",
    ]
    assert run(out, *flags) == 0
    assert "No anion may lead more than 60.00% of the crystals" in (out / "report.html").read_text()
    assert cli.main(["sample", str(out), "--n", "3"]) == 0


@pytest.mark.slow
def test_chgnet_labels_the_samplers_own_proposals(tmp_path):
    pytest.importorskip("chgnet")
    flags = ["--energy", "chgnet", "--fit.labels", "12", "--fit.rounds", "2", "--fit.steps", "5"]
    assert run(tmp_path / "run", *flags) == 0
    figures = metrics(tmp_path / "run")
    assert figures["n_chgnet_evaluations"]["value"] >= 12
    assert figures["fitted_energy_error_ev_per_atom"]["value"] > 0


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--elements", "Na", "Qx"], "Qx"),
        (["--elements", "Na", "Mg"], "no negative oxidation states"),
        (["--space-groups", "231"], "231"),
        (["--space-groups", "230"], "space groups"),
        (["--required-elements", "O"], "required element"),
        (["--min-elements", "3"], "--min-elements"),
        (["--novelty", "nowhere"], "holds no CIF files"),
        (["--beta", "-1"], "--beta"),
        (["--max-atoms", "1"], "--max-atoms"),
        (["--n-samples", "0"], "--n-samples"),
        (["--most.anion", "0.3"], "--most.anion 0.3 cannot hold: there are 1"),
        (["--most.formula", "0"], "--most.formula is 0"),
        (["--environment", "three-stages", "--most.group", "0.5"], "--most.group is for crystals"),
    ],
)
def test_bad_input_is_one_sentence(flags, words, tmp_path, capsys):
    assert run(tmp_path / "run", *flags) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in message and message.startswith("workbench:")
    assert not (tmp_path / "run").exists()


def test_an_unreadable_file_in_the_novelty_folder_is_named(tmp_path, capsys):
    known = tmp_path / "known"
    known.mkdir()
    (known / "broken.cif").write_text("this is no crystal")
    assert run(tmp_path / "run", "--novelty", str(known)) == 2
    assert "broken.cif" in capsys.readouterr().err


def test_chgnet_that_is_not_installed_names_the_extra(tmp_path, capsys, monkeypatch):
    import sys

    from domains.crystals import chgnet_energy

    chgnet_energy.model.cache_clear()
    monkeypatch.setitem(sys.modules, "chgnet.model", None)
    assert run(tmp_path / "run", "--energy", "chgnet") == 2
    assert "[crystals]" in capsys.readouterr().err


def test_packages_that_are_not_installed_name_the_extra(tmp_path, capsys, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "spglib" else found(name)
    )
    assert run(tmp_path / "run") == 2
    message = capsys.readouterr().err
    assert "spglib is not installed" in message and "[crystals]" in message


def test_presets_are_configs_of_their_name():
    for name in ("smoke", "laptop", "paper"):
        config = preset(name)
        assert isinstance(config, Config) and config.preset == name
    assert preset("smoke").energy == "ionic"
    assert preset("paper").elements == ("published",)
