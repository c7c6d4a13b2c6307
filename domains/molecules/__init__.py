"""Molecules and clusters: physical energies, trajectory files, torsions, molecular dynamics."""

from domains.molecules.double_well import DoubleWell
from domains.molecules.lennard_jones import LennardJones

__all__ = ["DoubleWell", "LennardJones"]
