"""Samples on disk in the formats of the field, with their weights, and back.

Molecules                                    Clusters and synthetic targets
    STEM.dcd or STEM.xtc   positions             STEM.npz   x, energies_kt and, where they exist,
    STEM.pdb               topology, frame 0                log_weights, chain
    STEM-weights.npz       energies_kt, log_weights, chain
    STEM.json              what every key means, its unit, and the system: name, hash, temperature

`mdtraj.load("STEM.dcd", top="STEM.pdb")` and any molecular viewer read the first. DCD keeps float32
positions in angstrom; XTC rounds to 0.001 nm, which the JSON says: energies are always those of the
positions before writing. `log_weights` is left out where all weights are equal, `chain` where the
samples are independent. Files are written under another name and renamed when they are whole.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.errors import InputError, nearest
from workbench.problem import Energy
from workbench.runs.files import full_disk, read_json, write_json
from workbench.runs.streams import stdout_silenced
from workbench.samples import WeightedSamples

FORMATS = ("dcd", "xtc")
_XTC_ROUNDING_NM = 1e-3
_ANGSTROM_PER_NM = 10.0
_FRAMES_AT_ONCE = 4096
_KEYS = {
    "x": "positions [sample, *event] in length_unit",
    "energies_kt": "reduced potential energy of each sample, E/kT",
    "log_weights": "log importance weights, natural; their log-mean-exp estimates log Z",
    "chain": "index of the independent Markov chain of each sample, rows of a chain in time order",
}


@dataclass(frozen=True)
class SystemRecord:
    """What the samples are samples of; stored with them.

    name, length_unit ("nm" or "1"), and for molecules the temperature (kelvin), the sha256 of the
    serialized OpenMM System, and plain lines on the force field.
    """

    name: str
    length_unit: str
    temperature_kelvin: float | None = None
    system_sha256: str | None = None
    description: tuple[str, ...] = ()

    @classmethod
    def of(cls, energy: Energy) -> SystemRecord:
        """The record of an energy; temperature, hash and description where it has them."""
        return cls(
            name=energy.name,
            length_unit=energy.length_unit,
            temperature_kelvin=getattr(energy, "temperature_kelvin", None),
            system_sha256=getattr(energy, "system_sha256", None),
            description=tuple(getattr(energy, "description", ())),
        )


def write_trajectory(
    folder: Path,
    stem: str,
    samples: WeightedSamples,
    topology: Any,
    system: SystemRecord,
    file_format: str = "dcd",
) -> list[Path]:
    """Write a molecule's samples (nm, [sample, atom, 3]) and return the files' paths.

    `topology` is an OpenMM `Topology`, or None: atoms are then nameless argon. Raises `InputError`
    for an unknown format, a topology of another size, or a full disk.
    """
    if file_format not in FORMATS:
        raise InputError(
            f'"{file_format}" is not a trajectory format{nearest(file_format, FORMATS)}: '
            f"take one of {', '.join(FORMATS)}."
        )
    x = samples.x.detach().cpu()
    topology = _nameless(x.shape[1]) if topology is None else topology
    if topology.getNumAtoms() != x.shape[1]:
        raise InputError(
            f"The topology has {topology.getNumAtoms()} atoms but the samples have {x.shape[1]}: "
            "give the topology of the sampled system."
        )
    folder.mkdir(parents=True, exist_ok=True)
    trajectory = folder / f"{stem}.{file_format}"
    pdb, weights = folder / f"{stem}.pdb", folder / f"{stem}-weights.npz"
    with _whole(trajectory) as part:
        _write_frames(part, x, file_format)
    with _whole(pdb) as part:
        _write_pdb(part, topology, x[0])
    arrays = _columns(samples)
    _write_npz(weights, arrays)
    sidecar = folder / f"{stem}.json"
    more = {
        "format": file_format,
        "files": {"positions": trajectory.name, "topology": pdb.name, "weights": weights.name},
        "position_rounding_nm": _XTC_ROUNDING_NM if file_format == "xtc" else None,
    }
    write_json(sidecar, _record(samples, system, arrays, more))
    return [trajectory, pdb, weights, sidecar]


def write_arrays(
    folder: Path, stem: str, samples: WeightedSamples, system: SystemRecord
) -> list[Path]:
    """Write any samples as one npz and its JSON; returns their paths. Raises as above."""
    folder.mkdir(parents=True, exist_ok=True)
    path, sidecar = folder / f"{stem}.npz", folder / f"{stem}.json"
    arrays = {"x": samples.x.detach().cpu().numpy(), **_columns(samples)}
    _write_npz(path, arrays)
    more = {"format": "npz", "files": {"samples": path.name}}
    write_json(sidecar, _record(samples, system, arrays, more))
    return [path, sidecar]


def read_samples(sidecar: Path) -> tuple[WeightedSamples, dict[str, Any]]:
    """The samples that a STEM.json belongs to, and its content.

    Raises `InputError` where a file is missing or damaged, or their lengths disagree.
    """
    record = read_json(sidecar)
    files = {key: sidecar.parent / name for key, name in record["files"].items()}
    missing = [path.name for path in files.values() if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} is missing beside {sidecar}: restore it from a copy.")
    arrays = _read_npz(files.get("weights") or files["samples"])
    if "x" not in arrays:
        arrays["x"] = _read_frames(files["positions"], record["format"])
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    energy = tensors.pop("energies_kt")
    if len(tensors["x"]) != record["n_samples"]:
        raise InputError(
            f"{sidecar} tells of {record['n_samples']} samples but {len(tensors['x'])} were read: "
            "the files do not belong together."
        )
    return WeightedSamples(energy=energy, **tensors), record


def _columns(samples: WeightedSamples) -> dict[str, np.ndarray]:
    columns = {
        "energies_kt": samples.energy,
        "log_weights": samples.log_weights,
        "chain": samples.chain,
    }
    return {key: t.detach().cpu().numpy() for key, t in columns.items() if t is not None}


def _record(
    samples: WeightedSamples,
    system: SystemRecord,
    arrays: dict[str, np.ndarray],
    more: dict[str, Any],
) -> dict[str, Any]:
    return {
        "n_samples": len(samples),
        "event_shape": list(samples.x.shape[1:]),
        "system": system.name,
        "length_unit": system.length_unit,
        "temperature_kelvin": system.temperature_kelvin,
        "system_sha256": system.system_sha256,
        "description": list(system.description),
        "weights": "equal" if samples.log_weights is None else "log_weights",
        "keys": {key: _KEYS[key] for key in arrays},
        **more,
    }


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends without an error."""
    part = path.with_name(f".{path.name}.writing")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise full_disk(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with _whole(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error}): restore it from a copy.") from error


def _write_frames(path: Path, x: Tensor, file_format: str) -> None:
    """Stream frames [sample, atom, 3] in nm. The writers report a full disk as errors of their own,
    or not at all: hence the count of what can be read back."""
    opener, scale = _opener(file_format)
    try:
        with stdout_silenced(), opener(str(path), "w") as file:
            for part in x.split(_FRAMES_AT_ONCE):
                frames = (part * scale).to(torch.float32).contiguous().numpy()
                # XTC would otherwise be given a unit box.
                box = np.zeros((len(frames), 3, 3), np.float32)
                file.write(frames, **({"box": box} if file_format == "xtc" else {}))
        with stdout_silenced(), opener(str(path)) as file:
            n_written = len(file)
    except (TypeError, RuntimeError) as error:
        raise _unwritten(path) from error
    if n_written != len(x):
        raise _unwritten(path)


def _unwritten(path: Path) -> OSError:
    is_full = shutil.disk_usage(path.parent).free < 2**20
    code = errno.ENOSPC if is_full else errno.EIO
    return OSError(code, "the trajectory could not be written to its end", str(path))


def _read_frames(path: Path, file_format: str) -> np.ndarray:
    opener, scale = _opener(file_format)
    try:
        with stdout_silenced(), opener(str(path)) as file:
            frames = file.read()[0]
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): restore it from a copy.") from error
    return np.asarray(frames / np.float32(scale))


def _opener(file_format: str) -> tuple[Callable[..., Any], float]:
    """The class that reads and writes a format, and its lengths per nm."""
    # Two seconds of import, needed only where a trajectory is read or written.
    from mdtraj.formats import DCDTrajectoryFile, XTCTrajectoryFile

    if file_format == "xtc":
        return XTCTrajectoryFile, 1.0
    return DCDTrajectoryFile, _ANGSTROM_PER_NM


def _write_pdb(path: Path, topology: Any, x_nm: Tensor) -> None:
    import openmm.unit
    from openmm.app import PDBFile

    with path.open("w", encoding="utf-8") as file:
        PDBFile.writeFile(topology, x_nm.double().numpy() * openmm.unit.nanometer, file, True)


def _nameless(n_atoms: int) -> Any:
    """A topology of argon atoms, one residue each, for a System that came without one."""
    from openmm.app import Topology, element

    topology = Topology()
    chain = topology.addChain()
    for i in range(n_atoms):
        topology.addAtom(f"AR{i}"[:4], element.argon, topology.addResidue("AR", chain))
    return topology
