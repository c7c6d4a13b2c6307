"""Torsions against mdtraj and a hand-made case; names, chirality and bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import openmm.app
import pytest
import torch
from openmm.app import Topology, element

from domains.molecules import torsions
from workbench.errors import InputError

Find = Callable[[str], Path]


def _peptide(sequence: list[str], bonded: bool = True) -> Topology:
    """A chain of backbones with side chains cut after the gamma atom, capped where named so."""
    atoms = {
        "ACE": ["CH3", "C", "O"],
        "NME": ["N", "H", "C"],
        "GLY": ["N", "CA", "C", "O"],
        "ALA": ["N", "CA", "CB", "C", "O"],
        "SER": ["N", "CA", "CB", "OG", "C", "O"],
    }
    topology = Topology()
    chain = topology.addChain()
    last = None
    for name in sequence:
        residue = topology.addResidue(name, chain)
        here = {a: topology.addAtom(a, element.carbon, residue) for a in atoms[name]}
        if bonded and last is not None:
            topology.addBond(last, here["N"])
        last = here["C"]
    return topology


def test_sign_and_zero_follow_iupac() -> None:
    for angle in (-2.5, -1.0, 0.0, 0.3, 3.1):
        last = [math.cos(angle), math.sin(angle), 1.0]
        points = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], last], dtype=torch.float64)
        assert float(torsions.torsion(points)) == pytest.approx(angle, abs=1e-12)


def test_random_torsions_agree_with_mdtraj(generator: torch.Generator) -> None:
    x = torch.randn((50, 5, 3), generator=generator)
    chosen = [(0, 1, 2, 3), (4, 2, 0, 1)]
    trajectory = mdtraj.Trajectory(x.numpy(), None)
    expected = mdtraj.compute_dihedrals(trajectory, chosen)
    for i, atoms in enumerate(chosen):
        ours = torsions.Coordinate("t", atoms).values(x)
        torch.testing.assert_close(ours, torch.from_numpy(expected[:, i]), rtol=1e-4, atol=1e-4)
    distance = torsions.Coordinate("d", (1, 4)).values(x)
    expected = mdtraj.compute_distances(trajectory, [(1, 4)])[:, 0]
    torch.testing.assert_close(distance, torch.from_numpy(expected))


def test_dipeptide_names_in_both_topologies(reference_data: Find) -> None:
    pdb = openmm.app.PDBFile(str(reference_data("boltzmann/alanine-dipeptide.pdb")))
    amber = openmm.app.AmberPrmtopFile(str(reference_data("boltzmann/alanine-dipeptide.prmtop")))
    for topology in (pdb.topology, amber.topology):
        found = torsions.named_torsions(topology)
        assert found["phi2"] == (4, 6, 8, 14) and found["psi2"] == (6, 8, 14, 16)
        assert found["omega1"] == (1, 4, 6, 8) and found["omega2"] == (8, 14, 16, 18)
        assert set(found) == {"phi2", "psi2", "omega1", "omega2"}
        assert torsions.chirality_centres(topology).tolist() == [[8, 6, 14, 10]]


def test_dipeptide_frames(reference_data: Find) -> None:
    h5py = pytest.importorskip("h5py")
    name = "boltzmann/alanine_dipeptide_ff96_obc1_300K_2000frames.h5"
    with h5py.File(reference_data(name)) as file:
        x = torch.from_numpy(np.asarray(file["coordinates"]))
    phi = torsions.Coordinate("phi", (4, 6, 8, 14)).values(x)
    # Counted with mdtraj on the same 2,000 frames: 18 of them.
    assert int(((phi > 0) & (phi < 2)).sum()) == 18
    signs = torsions.chirality_sign(x, torch.tensor([[8, 6, 14, 10]]))
    assert bool((signs == 1).all())
    assert bool((torsions.chirality_sign(-x, torch.tensor([[8, 6, 14, 10]])) == -1).all())


@pytest.mark.parametrize("bonded", [True, False])
def test_longer_chains_and_side_chains(bonded: bool) -> None:
    found = torsions.named_torsions(_peptide(["ACE", "SER", "GLY", "ALA", "NME"], bonded))
    kinds = [f"{kind}{i}" for i in (2, 3, 4) for kind in ("phi", "psi")]
    assert {"omega1", "omega2", "omega3", "omega4", "chi12", *kinds} == set(found)
    assert found["chi12"] == (3, 4, 5, 6)
    assert torsions.parse_coordinate("chi1", 20, found).atoms == found["chi12"]
    with pytest.raises(InputError, match="could be any of phi2, phi3, phi4"):
        torsions.parse_coordinate("phi", 20, found)


def test_unbonded_residues_have_no_torsion_between_them() -> None:
    topology = _peptide(["ACE", "ALA"])
    chain = topology.addChain()
    residue = topology.addResidue("NME", chain)
    for name in ("N", "H", "C"):
        topology.addAtom(name, element.carbon, residue)
    assert set(torsions.named_torsions(topology)) == {"phi2", "omega1"}


def test_coordinates_by_atom_number_and_bad_ones() -> None:
    named = {"phi2": (4, 6, 8, 14), "psi2": (6, 8, 14, 16)}
    assert torsions.parse_coordinate(" torsion(4, 6,8,14) ", 22, {}).atoms == (4, 6, 8, 14)
    distance = torsions.parse_coordinate("distance(1,5)", 22, {})
    assert (distance.atoms, distance.unit, distance.is_torsion) == ((1, 5), "nm", False)
    assert torsions.parse_coordinate("phi", 22, named).atoms == named["phi2"]
    for text, message in [
        ("phj", 'did you mean "phi"'),
        ("torsion(1,2,3)", "4 different atoms from 0 to 21"),
        ("torsion(1,2,3,3)", "4 different atoms"),
        ("distance(1,22)", "2 different atoms from 0 to 21"),
        ("distance(1,-2)", "must list atom numbers"),
        ("distanse(1,2)", 'did you mean "distance"'),
    ]:
        with pytest.raises(InputError, match=message):
            torsions.parse_coordinate(text, 22, named)


def test_radius_of_gyration() -> None:
    x = torch.tensor([[[0.0, 0, 0], [2, 0, 0]]])
    assert float(torsions.radius_of_gyration(x)) == pytest.approx(1.0)
    heavy = torsions.radius_of_gyration(x + 5, torch.tensor([3.0, 1.0]))
    assert float(heavy) == pytest.approx(math.sqrt(0.75))
