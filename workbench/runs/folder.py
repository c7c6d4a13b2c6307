"""A run is a folder: made once, locked while in use, resumed, read years later.

config.yaml       the pipeline's name and every option, resolved
provenance.json   versions, commit, seed, device, checksums, times, memory, evaluation counts
metrics.jsonl     one record per logged step
metrics.json      the final figures
samples/ figures/ checkpoints/
report.html, report.json
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from workbench.errors import InputError
from workbench.runs import provenance
from workbench.runs.files import SCHEMA_VERSION, full_disk, read_json, write_json, write_text
from workbench.runs.metrics import Figure, read_metrics, write_metrics


class RunFolder:
    """Made by `create` or `open`; holds a lock until `close` (or the end of its `with` block).

    path       the folder
    pipeline   the name of the pipeline it belongs to
    config     every option as plain values (what config.yaml holds, without the name)
    """

    def __init__(self, path: Path, pipeline: str, config: dict[str, Any], lock: int) -> None:
        self.path, self.pipeline, self.config = path, pipeline, config
        self._lock: int | None = lock
        self._opened, self._before = time.perf_counter(), 0.0

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], pipeline: str) -> RunFolder:
        """A new run. Raises InputError where `path` holds another run or anything else."""
        if (path / "config.yaml").exists():
            raise InputError(
                f"{path} holds another run: go on with it by `workbench resume {path}`, "
                "or name another folder with --out"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = [entry for entry in path.iterdir() if entry.name != ".lock"]
        except OSError as error:
            raise InputError(
                f"cannot make the run folder {path} ({error.strerror}): name another with --out"
            ) from error
        if strangers:
            raise InputError(f"{path} is not empty: name another folder with --out")
        folder = cls(path, pipeline, dict(config), _take_lock(path))
        text = yaml.safe_dump({"pipeline": pipeline, **folder.config}, sort_keys=False)
        write_text(path / "config.yaml", text)
        folder.write_provenance(**provenance.environment(), start=provenance.now())
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run made before. Raises InputError where there is none, or another process has it."""
        pipeline, config = read_config(path)
        folder = cls(path, pipeline, config, _take_lock(path))
        known = folder.read_provenance()
        folder._before = known.get("seconds_in_use", 0.0)
        folder.write_provenance(reopened=[*known.get("reopened", []), provenance.now()])
        return folder

    @property
    def samples(self) -> Path:
        return self._subfolder("samples")

    @property
    def figures(self) -> Path:
        return self._subfolder("figures")

    @property
    def checkpoints(self) -> Path:
        return self._subfolder("checkpoints")

    def _subfolder(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    @property
    def seconds_in_use(self) -> float:
        """Wall time of all sessions; of one that was killed, up to its last `write_provenance`."""
        return self._before + time.perf_counter() - self._opened

    @property
    def is_finished(self) -> bool:
        return (self.path / "metrics.json").exists()

    def log(
        self, step: int, seconds: float, values: Mapping[str, float], loop: str = "training"
    ) -> None:
        """Append a record to metrics.jsonl; a value that is not finite is written as null."""
        plain = {key: value if math.isfinite(value) else None for key, value in values.items()}
        record = {
            "schema_version": SCHEMA_VERSION,
            "loop": loop,
            "step": step,
            "seconds": seconds,
            "values": plain,
        }
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")
        except OSError as error:
            raise full_disk(path, error) from error

    def read_log(self, loop: str | None = None) -> list[dict[str, Any]]:
        """The records of metrics.jsonl, of one loop or of all; a half-written line is left out."""
        path = self.path / "metrics.jsonl"
        records = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return [record for record in records if loop is None or record["loop"] == loop]

    def forget_after(self, loop: str, step: int) -> None:
        """Drop the records of `loop` after `step`: they are written again when it is resumed."""
        records = self.read_log()
        kept = [r for r in records if r["loop"] != loop or r["step"] <= step]
        if len(kept) < len(records):
            text = "".join(json.dumps(record) + "\n" for record in kept)
            write_text(self.path / "metrics.jsonl", text)

    def write_metrics(self, figures: Mapping[str, Figure]) -> None:
        """metrics.json: the run counts as finished from here on."""
        write_metrics(self.path / "metrics.json", figures)

    def read_metrics(self) -> dict[str, Figure]:
        """Raises InputError where the run is not finished."""
        if not self.is_finished:
            raise InputError(
                f"{self.path} has no figures yet: finish it with `workbench resume {self.path}`"
            )
        return read_metrics(self.path / "metrics.json")

    def write_provenance(self, **facts: Any) -> None:
        """Add JSON values to provenance.json, over those of the same name; the peak memory, the end
        of the run so far and the seconds that it was in use are noted along."""
        facts |= {
            "end": provenance.now(),
            "peak_memory_bytes": provenance.peak_memory_bytes(),
            "seconds_in_use": self.seconds_in_use,
        }
        write_json(self.path / "provenance.json", self.read_provenance() | facts)

    def read_provenance(self) -> dict[str, Any]:
        path = self.path / "provenance.json"
        return read_json(path) if path.exists() else {}

    def close(self) -> None:
        """Note the time and give up the lock; reading goes on working."""
        if self._lock is not None:
            self.write_provenance()
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The pipeline's name and the options of the run at `path`, without taking its lock."""
    file = path / "config.yaml"
    if not file.is_file():
        raise InputError(f"{path} holds no run (no config.yaml): give the folder of a run")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not YAML: restore it from a copy") from error
    if not isinstance(content, dict) or "pipeline" not in content:
        raise InputError(f"{file} names no pipeline: restore it from a copy")
    return content.pop("pipeline"), content


def _take_lock(path: Path) -> int:
    """A lock that ends with the process, however it ends."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise InputError(
            f"{path} is in use by another process (id {holder}): wait for it or stop it first"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
