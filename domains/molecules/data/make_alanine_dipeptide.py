"""Rebuild `alanine-dipeptide.pdb` (ACE-ALA-NME): ideal geometry, hydrogens and relaxation by
OpenMM.

    python -m domains.molecules.data.make_alanine_dipeptide

Heavy atoms are placed one by one from bond lengths, angles and torsions (standard peptide values,
L-alanine, phi = -80, psi = 80 degrees); OpenMM adds the hydrogens and minimises the energy under
amber14 with OBC1. The order of the atoms is that of Amber's topology files.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

PATH = Path(__file__).parent / "alanine-dipeptide.pdb"
ATOMS = {
    "ACE": ("H1", "CH3", "H2", "H3", "C", "O"),
    "ALA": ("N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3", "C", "O"),
    "NME": ("N", "H", "C", "H1", "H2", "H3"),
}
# New atom: the three it hangs on, nearest last; distance in nm, angle and torsion in degrees.
Z_MATRIX = (
    ("ALA C", "ACE C", "ALA N", "ALA CA", 0.1525, 111.0, -80.0),
    ("ALA CB", "ALA N", "ALA C", "ALA CA", 0.1530, 110.1, 122.7),
    ("ALA O", "ALA N", "ALA CA", "ALA C", 0.1231, 120.4, -100.0),
    ("NME N", "ALA N", "ALA CA", "ALA C", 0.1329, 116.2, 80.0),
    ("NME C", "ALA CA", "ALA C", "NME N", 0.1458, 121.7, 180.0),
    ("ACE CH3", "ALA CA", "ALA N", "ACE C", 0.1505, 116.2, 180.0),
    ("ACE O", "ALA CA", "ALA N", "ACE C", 0.1231, 123.0, 0.0),
)


def placed(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, r: float, angle: float, torsion: float
) -> np.ndarray:
    """The point d with |cd| = r, angle b-c-d and torsion a-b-c-d (radians)."""
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    frame = np.stack([-along, np.cross(normal, along), normal])
    local = (np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion))
    return c + r * np.array(local) @ frame


def heavy_atoms() -> dict[str, np.ndarray]:
    """Positions in nm of the ten heavy atoms."""
    bend = np.radians(121.7)
    at = {
        "ACE C": np.zeros(3),
        "ALA N": np.array([0.1329, 0.0, 0.0]),
        "ALA CA": np.array([0.1329 - 0.1458 * np.cos(bend), 0.1458 * np.sin(bend), 0.0]),
    }
    for name, a, b, c, r, angle, torsion in Z_MATRIX:
        at[name] = placed(at[a], at[b], at[c], r, np.radians(angle), np.radians(torsion))
    return at


def topology(with_hydrogens: bool) -> app.Topology:
    top = app.Topology()
    chain = top.addChain()
    for residue_name, names in ATOMS.items():
        residue = top.addResidue(residue_name, chain)
        for name in names:
            if with_hydrogens or not name.startswith("H"):
                top.addAtom(name, app.Element.getBySymbol(name[0]), residue)
    top.createStandardBonds()
    return top


def main() -> None:
    random.seed(0)  # Modeller places hydrogens from Python's global generator.
    at = heavy_atoms()
    bare = topology(with_hydrogens=False)
    start = [openmm.Vec3(*at[f"{a.residue.name} {a.name}"]) for a in bare.atoms()]
    field = app.ForceField("amber14-all.xml", "implicit/obc1.xml")
    modeller = app.Modeller(bare, start * unit.nanometer)
    modeller.addHydrogens(field, platform=openmm.Platform.getPlatformByName("Reference"))
    names = {f"{a.residue.name} {a.name}": a.index for a in modeller.topology.atoms()}
    full = topology(with_hydrogens=True)
    order = [names[f"{a.residue.name} {a.name}"] for a in full.atoms()]
    system = field.createSystem(full, constraints=None, rigidWater=False)
    integrator = openmm.VerletIntegrator(0.001)
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, reference)
    context.setPositions([modeller.positions[k] for k in order])
    openmm.LocalEnergyMinimizer.minimize(context)
    relaxed = context.getState(getPositions=True).getPositions()
    with PATH.open("w") as file:
        app.PDBFile.writeFile(full, relaxed, file)


if __name__ == "__main__":
    main()
