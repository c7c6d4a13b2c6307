"""Files of samples: read back by ourselves and by mdtraj, with all that the JSON promises."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import openmm.app
import pytest
import torch

from domains.molecules import trajectory_files
from domains.molecules.lennard_jones import LennardJones
from domains.molecules.trajectory_files import (
    SystemRecord,
    read_samples,
    write_arrays,
    write_trajectory,
)
from workbench.errors import InputError
from workbench.samples import WeightedSamples

SYSTEM = SystemRecord("alanine-dipeptide", "nm", 300.0, "ab" * 32, ("ff96", "OBC1"))


def _samples(n: int = 50, n_atoms: int = 22, weighted: bool = True) -> WeightedSamples:
    generator = torch.Generator().manual_seed(3)
    x = 0.5 * torch.randn((n, n_atoms, 3), generator=generator)
    energy = torch.randn(n, generator=generator, dtype=torch.float64)
    if not weighted:
        return WeightedSamples(x, energy)
    return WeightedSamples(x, energy, energy - 7, torch.arange(n) % 5)


@pytest.mark.parametrize(("file_format", "tolerance_nm"), [("dcd", 2e-7), ("xtc", 5.1e-4)])
def test_trajectory_comes_back(
    file_format: str, tolerance_nm: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectory_files, "_FRAMES_AT_ONCE", 17)
    samples = _samples()
    paths = write_trajectory(tmp_path / "samples", "raw", samples, None, SYSTEM, file_format)
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {p.name for p in paths}
    back, record = read_samples(paths[-1])
    torch.testing.assert_close(back.x, samples.x, rtol=0, atol=tolerance_nm)
    assert torch.equal(back.energy, samples.energy) and torch.equal(back.chain, samples.chain)
    assert torch.equal(back.log_weights, samples.log_weights)
    assert record["position_rounding_nm"] == (1e-3 if file_format == "xtc" else None)
    assert (record["temperature_kelvin"], record["system_sha256"]) == (300.0, "ab" * 32)
    assert set(record["keys"]) == {"energies_kt", "log_weights", "chain"}
    loaded = mdtraj.load(str(paths[0]), top=str(paths[1]))
    np.testing.assert_allclose(loaded.xyz, samples.x.numpy(), rtol=0, atol=tolerance_nm)
    assert loaded.unitcell_lengths is None or not loaded.unitcell_lengths.any()


def test_molecule_keeps_its_names(tmp_path: Path, reference_data: Callable[[str], Path]) -> None:
    pdb = openmm.app.PDBFile(str(reference_data("boltzmann/alanine-dipeptide.pdb")))
    amber = openmm.app.AmberPrmtopFile(str(reference_data("boltzmann/alanine-dipeptide.prmtop")))
    for stem, topology in (("pdb", pdb.topology), ("amber", amber.topology)):
        paths = write_trajectory(tmp_path, stem, _samples(), topology, SYSTEM)
        loaded = mdtraj.load(str(paths[0]), top=str(paths[1]))
        assert [r.name for r in loaded.topology.residues] == ["ACE", "ALA", "NME"]
        atoms, _ = mdtraj.compute_phi(loaded)
        assert atoms.tolist() == [[4, 6, 8, 14]]


def test_arrays_come_back_and_leave_out_what_is_not_there(tmp_path: Path) -> None:
    energy = LennardJones(13)
    generator = torch.Generator().manual_seed(0)
    x = energy.initial(20, generator)
    samples = WeightedSamples(x, energy.energy(x))
    path, sidecar = write_arrays(tmp_path, "raw", samples, SystemRecord.of(energy))
    with np.load(path) as file:
        assert set(file) == {"x", "energies_kt"}
    back, record = read_samples(sidecar)
    assert torch.equal(back.x, x) and back.log_weights is None and back.chain is None
    assert record["weights"] == "equal" and record["length_unit"] == "1"
    assert record["event_shape"] == [13, 3] and json.loads(sidecar.read_text())["schema_version"]


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='did you mean "dcd"'):
        write_trajectory(tmp_path, "raw", _samples(), None, SYSTEM, "dcdd")
    other = trajectory_files._nameless(5)
    with pytest.raises(InputError, match="5 atoms but the samples have 22"):
        write_trajectory(tmp_path, "raw", _samples(), other, SYSTEM)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    paths = write_trajectory(tmp_path, "raw", _samples(weighted=False), None, SYSTEM)
    paths[2].write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"raw-weights.npz cannot be read"):
        read_samples(paths[-1])
    paths[0].unlink()
    with pytest.raises(InputError, match=r"raw\.dcd is missing"):
        read_samples(paths[-1])
    write_trajectory(tmp_path, "raw", _samples(weighted=False), None, SYSTEM)
    paths[0].write_bytes(b"garbage")
    with pytest.raises(InputError, match=r"raw\.dcd cannot be read"):
        read_samples(paths[-1])


@pytest.mark.parametrize("file_format", ["dcd", "xtc"])
def test_a_write_that_fails_leaves_no_half_file(tmp_path: Path, file_format: str) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="to its end"):
            write_trajectory(tmp_path, "raw", _samples(2000), None, SYSTEM, file_format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
