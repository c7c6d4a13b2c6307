"""Data sets by manifest: where a file comes from, its checksum, its licence, whom to cite.

A manifest is a TOML file `NAME.toml`. Files are looked for in the folders of `WORKBENCH_DATA`,
then in the cache (`WORKBENCH_CACHE`, or the system's cache folder); a file counts only with the
right sha256. Nothing is downloaded but by `fetch`.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import InputError, nearest

CACHE_NAME = "sampling-workbench"


@dataclass(frozen=True)
class DataFile:
    """url      where it is published
    sha256   of its content, hex
    size     in bytes
    path     its name in the cache, and in `WORKBENCH_DATA` with or without the folders
    """

    url: str
    sha256: str
    size: int
    path: str


@dataclass(frozen=True)
class Manifest:
    """`loader` says in words how to read the files, `licence` is an SPDX name."""

    name: str
    description: str
    licence: str
    citation: str
    loader: str
    files: tuple[DataFile, ...]


def manifest(name: str) -> Manifest:
    """Raises InputError for an unknown name, with the nearest known one."""
    known = {item.name: item for item in all_manifests()}
    if name not in known:
        raise InputError(
            f'unknown data set "{name}"{nearest(name, known)}: see workbench data list'
        )
    return known[name]


def all_manifests() -> list[Manifest]:
    return [_read(path) for path in sorted(_folder().glob("*.toml"))]


def fetch(name: str) -> list[Path]:
    """The files of a data set, downloaded into the cache where they are not at hand already.

    Raises InputError when a download fails or gives another content than the manifest says.
    """
    return [find(file) or _download(file) for file in manifest(name).files]


def locate(name: str) -> list[Path]:
    """The files of a data set, without downloading. Raises InputError for one not at hand."""
    paths = []
    for file in manifest(name).files:
        path = find(file)
        if path is None:
            raise InputError(
                f"{file.path} of the data set {name} is not here: get it by "
                f"`workbench data fetch {name}` or name its folder in WORKBENCH_DATA"
            )
        paths.append(path)
    return paths


def find(file: DataFile) -> Path | None:
    """Where `file` is at hand, or None. Raises InputError for a file of its name with another
    content."""
    for path in _candidates(file):
        if path.is_file():
            _check(path, file)
            return path
    return None


def cache_folder() -> Path:
    import pooch

    return Path(os.environ.get("WORKBENCH_CACHE") or pooch.os_cache(CACHE_NAME))


def _candidates(file: DataFile) -> list[Path]:
    names = (file.path, Path(file.path).name)
    roots = [Path(p) for p in os.environ.get("WORKBENCH_DATA", "").split(os.pathsep) if p]
    beside = [root / name for root in roots for name in dict.fromkeys(names)]
    return [*beside, cache_folder() / file.path]


def _check(path: Path, file: DataFile) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise InputError(
            f"{path} has sha256 {found[:12]}... and its manifest says {file.sha256[:12]}...: "
            "move it away and fetch it again"
        )


def _download(file: DataFile) -> Path:
    import pooch

    target = cache_folder() / file.path
    try:
        pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=target.name, path=target.parent)
    except ValueError as error:  # another checksum: pooch has removed the file
        raise InputError(
            f"{file.url} no longer has the content its manifest names: look for a newer workbench"
        ) from error
    except Exception as error:  # every kind of network failure, each library's own
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot download {file.url} ({reason}): try again, or put the file into a folder "
            "named by WORKBENCH_DATA"
        ) from error
    return target


def _folder() -> Path:
    """`data_manifests/` of a checkout, or the copy inside an installed package."""
    installed = Path(__file__).parent / "manifests"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "data_manifests"


def _read(path: Path) -> Manifest:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        files = tuple(DataFile(**record) for record in content.pop("files"))
        return Manifest(files=files, **content)
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise InputError(f"{path} is not a data manifest ({error}): mend or remove it") from error
