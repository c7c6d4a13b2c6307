"""Checkpoints are whole or absent; damage is seen and passed over."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from workbench.errors import InputError
from workbench.training import checkpoint


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path):
    for step, score in [(1, 3.0), (2, 1.0), (3, 2.0), (4, None), (5, 4.0)]:
        checkpoint.save(tmp_path, step, {"x": torch.tensor(step)}, best_score=score)
    assert names(tmp_path) == ["step-00000002", "step-00000004", "step-00000005"]
    assert checkpoint.load_latest(tmp_path, {})[0] == 5


def test_nothing_to_load(tmp_path):
    assert checkpoint.load_latest(tmp_path, {}) is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: truncate(p / "state.safetensors"), "checksum of state.safetensors"),
        (lambda p: truncate(p / "state.json"), "not JSON"),
        (lambda p: (p / "state.json").unlink(), "No such file"),
        (
            lambda p: (p / "state.json").write_text(
                (p / "state.json").read_text().replace('"step": ', '"step": 9')
            ),
            "checksum of state.json",
        ),
        (lambda p: (p / "state.json").write_text("[]"), "schema version"),
    ],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, damage, reason):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"x": torch.tensor(step)})
    damage(tmp_path / "step-00000002")
    step, state = checkpoint.load_latest(tmp_path, {})
    assert step == 1 and state["x"] == 1
    message = capsys.readouterr().err
    assert reason in message and message.count("\n") == 1

    damage(tmp_path / "step-00000001")
    with pytest.raises(InputError, match="every checkpoint"):
        checkpoint.load_latest(tmp_path, {})


def test_a_full_disk_leaves_the_earlier_checkpoint_alone(tmp_path, monkeypatch):
    folder = tmp_path / "run" / "checkpoints" / "training"
    checkpoint.save(folder, 1, {"x": torch.ones(3)})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"no space left .* workbench resume .*run$"):
        checkpoint.save(folder, 2, {"x": torch.ones(3)})
    assert names(folder) == ["step-00000001"]


def test_leftovers_of_a_killed_process_are_swept(tmp_path):
    (tmp_path / ".writing-00000001-1").mkdir()
    checkpoint.save(tmp_path, 2, {"x": torch.ones(1)})
    assert names(tmp_path) == ["step-00000002"]


def test_restored_tensors_can_be_written_to(tmp_path):
    import numpy as np

    checkpoint.save(tmp_path, 1, {"x": torch.zeros(3), "a": np.zeros(3)})
    _, state = checkpoint.load_latest(tmp_path, {})
    state["x"] += 1
    state["a"] += 1
