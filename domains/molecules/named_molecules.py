"""Molecules that go by a name: alanine dipeptide in the four forms found in the literature.

They are different densities, and figures for one do not compare with figures for another:

    alanine-dipeptide                  ff96 + OBC1, mbondi2 radii (Midgley et al., "Flow annealed
                                       importance sampling bootstrap", 2022, arXiv 2208.01893)
    alanine-dipeptide-vacuum           ff96 without solvent
    alanine-dipeptide-ff99sbildn-obc   ff99SB-ILDN + OBC2 as `amber99_obc.xml` (Tan et al.,
    "Scalable
                                       equilibrium sampling with sequential Boltzmann generators",
                                       2025, arXiv 2502.18462)
    alanine-dipeptide-amber14-obc1     ff14SB + OBC1

All at 300 K, without constraints and without a cut-off, atoms in the order of Amber's topology
files. `alanine-dipeptide` comes from OpenMM's `amber96.xml` and `implicit/obc1.xml`; on thermal
structures it differs from the public prmtop file by less than 5e-4 kJ/mol, which is the rounding of
that file.
"""

from __future__ import annotations

from pathlib import Path

from domains.molecules.openmm_energy import OpenMMEnergy
from workbench.errors import InputError, nearest

_FORCE_FIELDS = {
    "alanine-dipeptide": ("amber96.xml", "implicit/obc1.xml"),
    "alanine-dipeptide-vacuum": ("amber96.xml",),
    "alanine-dipeptide-ff99sbildn-obc": ("amber99sbildn.xml", "amber99_obc.xml"),
    "alanine-dipeptide-amber14-obc1": ("amber14-all.xml", "implicit/obc1.xml"),
}
NAMED_MOLECULES: tuple[str, ...] = tuple(_FORCE_FIELDS)
STRUCTURE = Path(__file__).parent / "data" / "alanine-dipeptide.pdb"


def named_molecule(
    name: str, temperature_kelvin: float = 300.0, n_workers: int | None = None
) -> OpenMMEnergy:
    """The molecule `name`, one of `NAMED_MOLECULES`. Raises `InputError` for any other name."""
    if name not in _FORCE_FIELDS:
        raise InputError(
            f'molecule "{name}" is unknown{nearest(name, NAMED_MOLECULES)}; '
            f"use one of {', '.join(NAMED_MOLECULES)}"
        )
    return OpenMMEnergy.from_pdb(
        STRUCTURE,
        forcefield=_FORCE_FIELDS[name],
        temperature_kelvin=temperature_kelvin,
        name=name,
        n_workers=n_workers,
    )
