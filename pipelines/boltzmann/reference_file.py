"""Reference samples that the user gives: arrays, or a trajectory of the molecule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.problem import Energy, project


def read_reference(
    path: Path, energy: Energy, topology: Any | None
) -> Float[Tensor, "sample *event"]:
    """Positions in float64 on the space of `energy`, in its length unit. .npy, .npz (key x) and HDF5
    (key coordinates) are taken as they are, anything else is a trajectory of `topology`, in nm.

    Raises InputError for a file that is missing, cannot be read or does not fit the system."""
    if not path.is_file():
        raise InputError(f"the reference file {path} does not exist: check --reference")
    try:
        array = _read_array(path, topology)
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as reference samples ({reason}): check it"
        ) from error
    x = torch.from_numpy(np.asarray(array, dtype=np.float64))
    if not x.numel() or x.numel() % int(np.prod(energy.event_shape)):
        raise InputError(
            f"{path} has shape {tuple(x.shape)}, which does not fit samples of shape "
            f"{energy.event_shape}: give positions of the same system"
        )
    x = x.reshape(-1, *energy.event_shape)
    if not bool(torch.isfinite(x).all()):
        raise InputError(f"{path} holds coordinates that are not numbers: clean the file")
    return project(energy, x)


def _read_array(path: Path, topology: Any | None) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["x"]
    if path.suffix in (".h5", ".hdf5"):
        import h5py

        with h5py.File(path) as file:
            return file["coordinates"][:]
    if topology is None:
        raise InputError(
            f"{path} is a trajectory, and the system is no molecule: give .npy or .npz"
        )
    import mdtraj

    return mdtraj.load(str(path), top=mdtraj.Topology.from_openmm(topology)).xyz
