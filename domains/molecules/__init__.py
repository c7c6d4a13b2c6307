"""Molecules and clusters: physical energies, trajectory files, torsions, molecular dynamics."""

from typing import TYPE_CHECKING, Any

from domains.molecules.double_well import DoubleWell
from domains.molecules.lennard_jones import LennardJones

if TYPE_CHECKING:
    from domains.molecules.openmm_energy import OpenMMEnergy

__all__ = ["DoubleWell", "LennardJones", "OpenMMEnergy"]


def __getattr__(name: str) -> Any:
    """OpenMM is imported when a molecule is asked for: clusters do without it."""
    if name == "OpenMMEnergy":
        from domains.molecules.openmm_energy import OpenMMEnergy

        return OpenMMEnergy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
