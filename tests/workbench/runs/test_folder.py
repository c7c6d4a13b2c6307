"""The run folder: its files, its lock, what it refuses."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from workbench.errors import InputError
from workbench.runs import provenance
from workbench.runs.files import read_json, write_json
from workbench.runs.folder import RunFolder, read_config
from workbench.runs.metrics import Figure, read_metrics, write_benchmarks, write_metrics


def make(path: Path) -> RunFolder:
    return RunFolder.create(path, {"system": "lj13", "seed": 1}, "toy")


def test_a_new_run_has_its_files(tmp_path):
    with make(tmp_path / "a" / "run") as run:
        assert yaml.safe_load((run.path / "config.yaml").read_text()) == {
            "pipeline": "toy",
            "system": "lj13",
            "seed": 1,
        }
        run.write_provenance(seed=1, device="cpu")
        for folder in (run.samples, run.figures, run.checkpoints):
            assert folder.is_dir()
    record = json.loads((run.path / "provenance.json").read_text())
    assert record["schema_version"] == 1
    assert record["library_versions"]["torch"]
    assert record["start"] <= record["end"]
    assert record["peak_memory_bytes"] > 1e6
    assert record["seed"] == 1 and record["platform"] and record["python_version"]
    assert "git_commit" in record
    assert read_config(run.path) == ("toy", {"system": "lj13", "seed": 1})


def test_a_folder_that_is_taken_is_refused(tmp_path):
    make(tmp_path / "run").close()
    with pytest.raises(InputError, match=r"holds another run.*workbench resume"):
        make(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the run folder"):
        make(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="is not empty"):
        make(tmp_path / "other")


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(InputError, match="is not YAML"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 1")
    with pytest.raises(InputError, match="names no pipeline"):
        RunFolder.open(tmp_path)


def test_a_second_process_is_kept_out(tmp_path):
    run = make(tmp_path / "run")
    code = (
        "import sys, pathlib; from workbench.runs.folder import RunFolder\n"
        "RunFolder.open(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    blocked = subprocess.run(command, capture_output=True, text=True)
    assert f"is in use by another process (id {os.getpid()})" in blocked.stderr
    run.close()
    assert subprocess.run(command).returncode == 0
    with RunFolder.open(run.path) as again:
        assert len(again.read_provenance()["reopened"]) == 2


def test_the_log_survives_damage_and_forgets_on_request(tmp_path):
    with make(tmp_path / "run") as run:
        for step in range(1, 5):
            run.log(step, 0.1 * step, {"loss": 1.0 / step, "bad": float("nan")})
        run.log(4, 0.1, {"energy": 1.0}, loop="baseline")
        with (run.path / "metrics.jsonl").open("a") as file:
            file.write('{"half a li')
        run.forget_after("training", 2)
        assert [r["step"] for r in run.read_log("training")] == [1, 2]
        assert [r["step"] for r in run.read_log()] == [1, 2, 4]
        assert run.read_log()[0]["values"] == {"loss": 1.0, "bad": None}


def test_metrics_never_hold_nan(tmp_path):
    with make(tmp_path / "run") as run:
        assert not run.is_finished
        with pytest.raises(InputError, match="no figures yet"):
            run.read_metrics()
        run.write_metrics(
            {
                "energy_w2": Figure(0.5, floor=0.4, n=2000, unit="kT"),
                "pareto_k": Figure(float("nan"), stderr=float("inf")),
                "log_partition": Figure(None, why="no weights"),
                "virial": Figure(None),
            }
        )
        assert run.is_finished
    text = (run.path / "metrics.json").read_text()
    record = json.loads(text)
    assert "NaN" not in text and "Infinity" not in text
    assert record["schema_version"] == 1
    assert record["energy_w2"] == {
        "value": 0.5,
        "stderr": None,
        "n": 2000,
        "floor": 0.4,
        "baseline": None,
        "reference": None,
        "unit": "kT",
    }
    assert record["pareto_k"]["value"] is None
    assert record["pareto_k"]["why"] == "value was nan; stderr was inf"
    assert record["log_partition"]["why"] == "no weights"
    assert record["virial"]["why"] == "not computed"
    assert read_metrics(run.path / "metrics.json")["energy_w2"].floor == 0.4


def test_numbers_of_numpy_and_torch_are_written(tmp_path):
    import numpy as np
    import torch

    write_metrics(tmp_path / "m.json", {"a": Figure(np.float32(0.5), n=torch.tensor(3))})
    assert read_metrics(tmp_path / "m.json")["a"] == Figure(0.5, n=3)


def test_benchmarks_have_one_of_two_forms(tmp_path):
    path = tmp_path / "b.json"
    figure = {"ratio": 60.0, "spread": [50, 70], "ours": 1, "theirs": 60, "unit": "us"}
    write_benchmarks(path, {"x": figure, "y": {"rate": 1, "spread": [1, 1], "unit": "1/s"}})
    assert read_json(path)["x"] == figure
    with pytest.raises(ValueError, match="benchmark x"):
        write_benchmarks(path, {"x": {"ratio": 1}})


def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def full(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="no space left"):
        write_json(path, {"a": 2})
    assert read_json(path)["a"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_damaged_json_is_named(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(InputError, match="cannot read"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_json(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="schema version None"):
        read_json(path)


def test_the_commit_is_unknown_outside_a_checkout(tmp_path):
    assert provenance.git_commit(tmp_path) is None


def test_the_time_of_all_sessions_counts(tmp_path):
    with RunFolder.create(tmp_path / "run", {}, "boltzmann"):
        time.sleep(0.02)
    before = json.loads((tmp_path / "run" / "provenance.json").read_text())["seconds_in_use"]
    with RunFolder.open(tmp_path / "run") as folder:
        time.sleep(0.02)
        assert folder.seconds_in_use >= before + 0.02 >= 0.04
