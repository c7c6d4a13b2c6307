"""A molecule from files: PDB or mmCIF and a force field, Amber prmtop and inpcrd, or a System XML.

Every route builds the System without constraints and without a cut-off, since the density is that
of all Cartesian positions in free space. Each problem with a file is one sentence with its remedy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from workbench.errors import InputError, nearest

DEFAULT_FORCE_FIELD = ("amber14-all.xml", "implicit/obc1.xml")
_IMPLICIT = {"OBC1": app.OBC1, "OBC2": app.OBC2}


@dataclass(frozen=True)
class Molecule:
    """A System with its topology and start positions [atom, 3] in nm, and lines on their origin."""

    system: openmm.System
    topology: app.Topology
    positions_nm: np.ndarray
    lines: list[str]


def _existing(path: str | Path, what: str) -> Path:
    path = Path(path)
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = "" if path.exists() else nearest(path.name, siblings)
        raise InputError(f"{what} {path} is not a file that exists{hint}; check the path")
    return path


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")


def _finite(positions_nm: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(positions_nm).all():
        atom = int(np.argwhere(~np.isfinite(positions_nm))[0, 0])
        raise InputError(
            f"the coordinates of atom {atom} (counted from 0) in {path} are not finite; "
            "repair the structure"
        )
    return positions_nm


def read_structure(path: str | Path) -> tuple[app.Topology, np.ndarray]:
    """Topology and positions [atom, 3] in nm of the first model of a PDB or mmCIF file."""
    path = _existing(path, "structure file")
    reader = app.PDBxFile if path.suffix.lower() in (".cif", ".mmcif", ".pdbx") else app.PDBFile
    try:
        structure = reader(str(path))
        positions = structure.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    except Exception as problem:
        raise InputError(
            f"{path} cannot be read as a structure ({_first_line(problem)}); "
            "give a PDB or mmCIF file"
        ) from problem
    if structure.topology.getNumAtoms() == 0:
        raise InputError(f"{path} has no atoms; give a PDB or mmCIF file with a molecule")
    return structure.topology, _finite(np.array(positions, dtype=np.float64), path)


def known_force_fields() -> list[str]:
    """Names of the force-field files that come with OpenMM."""
    root = Path(app.__file__).parent / "data"
    return sorted(str(p.relative_to(root)) for p in root.rglob("*.xml"))


def _force_field(names: Sequence[str]) -> app.ForceField:
    if not names:
        raise InputError('no force field is named; give one, such as "amber14-all.xml"')
    known = known_force_fields()
    for name in names:
        if name not in known and not Path(name).is_file():
            raise InputError(
                f'force field "{name}" is neither a file nor one that comes with OpenMM'
                f"{nearest(name, known)}; check its name"
            )
    try:
        return app.ForceField(*names)
    except Exception as problem:
        raise InputError(
            f"the force field {', '.join(names)} cannot be read ({_first_line(problem)}); "
            "check that the files belong together"
        ) from problem


def _not_applicable(problem: Exception, topology: app.Topology, names: Sequence[str]) -> InputError:
    """Why the force field cannot be applied; OpenMM names a residue without a template by index."""
    text, field = _first_line(problem), ", ".join(names)
    found = re.match(r"No template found for residue (\d+) \(\w+\)\.\s*(.*)", text)
    if not found:
        return InputError(
            f"the force field {field} cannot be applied to the structure ({text}); "
            "check that its files belong together and that it has every residue"
        )
    residue = list(topology.residues())[int(found[1])]
    reason = found[2].split("For more information")[0].split("You may be able")[0].strip(" .")
    has_hydrogens = any(a.element == app.element.hydrogen for a in topology.atoms())
    remedy = (
        "give a force field that has it, or complete the structure"
        if has_hydrogens
        else "use --add-hydrogens, or give another force field"
    )
    return InputError(
        f"{field} has no template for residue {residue.name} {residue.id} of chain "
        f"{residue.chain.id} ({reason}); {remedy}"
    )


def load_pdb(
    path: str | Path,
    forcefield: Sequence[str] = DEFAULT_FORCE_FIELD,
    *,
    add_hydrogens: bool = False,
    ph: float = 7.0,
) -> Molecule:
    """A structure file under force-field files of OpenMM; missing hydrogens are added when
    asked."""
    topology, positions_nm = read_structure(path)
    field = _force_field(forcefield)
    lines = [f"structure {Path(path).name}, force field {' + '.join(forcefield)}"]
    try:
        if add_hydrogens:
            before = topology.getNumAtoms()
            modeller = app.Modeller(topology, positions_nm * unit.nanometer)
            modeller.addHydrogens(field, pH=ph)
            topology = modeller.topology
            placed = modeller.positions.value_in_unit(unit.nanometer)
            positions_nm = np.array(placed, dtype=np.float64)
            lines.append(f"{topology.getNumAtoms() - before} hydrogens added at pH {ph:g}")
        system = field.createSystem(
            topology, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False
        )
    except Exception as problem:
        raise _not_applicable(problem, topology, forcefield) from problem
    return Molecule(system, topology, positions_nm, lines)


def load_amber(
    prmtop: str | Path, inpcrd: str | Path, implicit_solvent: str | None = None
) -> Molecule:
    """An Amber topology with its coordinates; radii and charges are those of the prmtop file."""
    if implicit_solvent is not None and implicit_solvent not in _IMPLICIT:
        raise InputError(
            f'implicit solvent "{implicit_solvent}" is unknown'
            f"{nearest(implicit_solvent, _IMPLICIT)}; use OBC1, OBC2 or none"
        )
    prmtop, inpcrd = _existing(prmtop, "prmtop file"), _existing(inpcrd, "inpcrd file")
    try:
        amber = app.AmberPrmtopFile(str(prmtop))
        model = None if implicit_solvent is None else _IMPLICIT[implicit_solvent]
        system = amber.createSystem(
            nonbondedMethod=app.NoCutoff,
            constraints=None,
            rigidWater=False,
            implicitSolvent=model,
        )
    except Exception as problem:
        raise InputError(
            f"{prmtop} cannot be used as an Amber topology ({_first_line(problem)}); "
            "give a prmtop file written by Amber's tools"
        ) from problem
    try:
        coordinates = app.AmberInpcrdFile(str(inpcrd))
        positions_nm = np.array(coordinates.getPositions(asNumpy=True)._value, dtype=np.float64)
    except Exception as problem:
        raise InputError(
            f"{inpcrd} cannot be read as Amber coordinates ({_first_line(problem)}); "
            "give an inpcrd or rst7 file"
        ) from problem
    if len(positions_nm) != system.getNumParticles():
        raise InputError(
            f"{inpcrd} has {len(positions_nm)} atoms and {prmtop} {system.getNumParticles()}; "
            "give the two files that belong together"
        )
    solvent = implicit_solvent or "no implicit solvent"
    lines = [f"Amber topology {prmtop.name}, coordinates {inpcrd.name}, {solvent}"]
    return Molecule(system, amber.topology, _finite(positions_nm, inpcrd), lines)


def load_system_xml(system_xml: str | Path, pdb: str | Path) -> Molecule:
    """A System that OpenMM serialised, with a structure file of the same atoms in the same
    order."""
    path = _existing(system_xml, "System XML file")
    topology, positions_nm = read_structure(pdb)
    try:
        system = openmm.XmlSerializer.deserialize(path.read_text())
    except Exception as problem:
        raise InputError(
            f"{path} cannot be read as an OpenMM System ({_first_line(problem)}); "
            "write it with openmm.XmlSerializer.serialize(system)"
        ) from problem
    if not isinstance(system, openmm.System):
        raise InputError(f"{path} holds an OpenMM {type(system).__name__}, not a System")
    if system.getNumParticles() != topology.getNumAtoms():
        raise InputError(
            f"{pdb} has {topology.getNumAtoms()} atoms and the System in {path} "
            f"{system.getNumParticles()}; give the two files that belong together"
        )
    return Molecule(system, topology, positions_nm, [f"System XML {path.name}"])
