"""JSON files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import InputError

SCHEMA_VERSION = 1
_FULL = {errno.ENOSPC, errno.EDQUOT}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` with `schema_version` first. NaN and infinity are refused (ValueError)."""
    record = {"schema_version": SCHEMA_VERSION, **content}
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Raises InputError when the disk is full; what was at `path` before is then still there."""
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise full_disk(path, error) from error


def full_disk(path: Path, error: OSError) -> Exception:
    """The InputError to raise for an OSError that means "disk full"; any other one unchanged."""
    if error.errno not in _FULL:
        return error
    return InputError(
        f"no space left on the disk of {path}: what was written before is intact; free some space "
        "and go on with `workbench resume`"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Raises InputError where the file is missing, damaged or of another schema version."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): restore it from a copy") from error
    version = record.get("schema_version") if isinstance(record, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}, this workbench reads {SCHEMA_VERSION}: "
            "use the version of the workbench that wrote it"
        )
    return record
