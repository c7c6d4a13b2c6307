"""Checkpoints: safetensors and JSON in one folder per step, whole or not there at all.

    FOLDER/step-00000200/state.safetensors    the tensors
    FOLDER/step-00000200/state.json           schema_version, step, score, the tree, checksums

A checkpoint is written under a temporary name, flushed to the disk and then renamed, so that a
crash leaves the earlier ones untouched. The last `keep` are kept, and the one with the lowest
score.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch

from workbench.errors import InputError
from workbench.training.tree import pack, unpack

State = TypeVar("State")

SCHEMA_VERSION = 1
_FULL = {errno.ENOSPC, errno.EDQUOT}


class _Corrupt(Exception):
    """A checkpoint that cannot be read; the message says what is wrong with it."""


def save(
    folder: Path, step: int, state: Any, keep: int = 2, best_score: float | None = None
) -> Path:
    """Write `state` as the checkpoint of `step` and drop those no longer kept.

    best_score   lower is better; None = this checkpoint does not compete for the best
    Raises InputError when the disk is full; nothing is left behind and earlier checkpoints stay.
    """
    tree, tensors = pack(state)
    blob = safetensors.torch.save(tensors)
    record = {"step": step, "score": best_score, "tree": tree}
    record["tensors_sha256"] = hashlib.sha256(blob).hexdigest()
    text = json.dumps({"schema_version": SCHEMA_VERSION, "sha256": _digest(record), **record})
    final = folder / f"step-{step:08d}"
    temporary = folder / f".writing-{step:08d}-{os.getpid()}"
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        _write_through(temporary / "state.safetensors", blob)
        _write_through(temporary / "state.json", text.encode())
        if final.exists():  # the same step again, after a resume
            shutil.rmtree(final)
        temporary.rename(final)
        _flush_folder(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise InputError(_full_disk(folder)) from error
        raise
    _prune(folder, keep)
    return final


def load_latest(folder: Path, state: State) -> tuple[int, State] | None:
    """The newest readable checkpoint as `(step, state)`, or None where there is none.

    `state` is the template: a fresh state of the same shape. Its modules, optimisers, parameters
    and generators are restored in place. A damaged checkpoint is passed over for the one before,
    with one line on standard error; InputError when all are damaged.
    """
    candidates = _checkpoints(folder)
    for path in reversed(candidates):
        try:
            record, tensors = _read(path)
        except _Corrupt as reason:
            print(
                f"checkpoint {path} is damaged ({reason}): trying the one before", file=sys.stderr
            )
            continue
        return record["step"], unpack(record["tree"], tensors, state)
    if candidates:
        raise InputError(f"every checkpoint in {folder} is damaged: start a new run with --out")
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    record = _read_record(path)
    try:
        blob = (path / "state.safetensors").read_bytes()
    except OSError as error:
        raise _Corrupt(f"state.safetensors: {error.strerror}") from error
    if hashlib.sha256(blob).hexdigest() != record["tensors_sha256"]:
        raise _Corrupt("checksum of state.safetensors differs")
    return record, safetensors.torch.load(blob)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads((path / "state.json").read_text())
    except OSError as error:
        raise _Corrupt(f"state.json: {error.strerror}") from error
    except ValueError as error:
        raise _Corrupt("state.json is not JSON") from error
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        raise _Corrupt(f"state.json is not of schema version {SCHEMA_VERSION}")
    body = {key: value for key, value in record.items() if key not in ("schema_version", "sha256")}
    if _digest(body) != record.get("sha256"):
        raise _Corrupt("checksum of state.json differs")
    return body


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _scored(folder: Path) -> list[tuple[float, Path]]:
    """The checkpoints that compete for the best, lowest score first."""
    scored: list[tuple[float, Path]] = []
    for path in _checkpoints(folder):
        try:
            score = _read_record(path)["score"]
        except _Corrupt:
            continue
        if score is not None:
            scored.append((score, path))
    return sorted(scored)


def _prune(folder: Path, keep: int) -> None:
    kept = [path for _, path in _scored(folder)[:1]]
    for path in _checkpoints(folder)[:-keep]:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for leftover in folder.glob(".writing-*"):  # of a process that was killed while writing
        shutil.rmtree(leftover, ignore_errors=True)


def _full_disk(folder: Path) -> str:
    run = folder.parent if folder.name == "checkpoints" else folder.parent.parent
    return (
        f"no space left on the disk of {folder}: the run is intact; free some space and "
        f"resume with: workbench resume {run}"
    )
