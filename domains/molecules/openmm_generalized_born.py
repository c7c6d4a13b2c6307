"""OpenMM's generalised-Born forces, recognised as OBC1 or OBC2 and read into a `BornModel`.

OpenMM writes the same solvent model in two forms that differ in constants and in atoms engulfed by
another: the built-in `GBSAOBCForce` (from `amber*_obc.xml` and from prmtop files with OBC2) and a
`CustomGBForce` of algebraic expressions (from `implicit/obc1.xml`, `implicit/obc2.xml`, and from
prmtop files with OBC1). The expressions are matched word for word, numbers apart; anything else,
salt or a cut-off included, is left to OpenMM.
"""

from __future__ import annotations

import re

import numpy as np
import openmm
from openmm import app, unit
from openmm.app.internal.customgbforces import GBSAOBC1Force

from domains.molecules.force_field_parameters import BornModel, ForceFieldParameters

# 1/(4 pi eps0): OpenMM's own constant, and the one written into its CustomGBForce expressions.
COULOMB_KJ_PER_MOL_NM = 138.93545764438198
_OFFSET_NM = 0.009
OBC1 = (0.8, 0.0, 2.909125)
OBC2 = (1.0, 0.8, 4.85)

_INTEGRAL = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)"
)
_RADIUS = {
    "1/(1/or-tanh(0.8*psi+2.909125*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": OBC1,
    "1/(1/or-tanh(psi-0.8*psi^2+4.85*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": OBC2,
}
_NUMBER = r"([-+0-9.eE]+)"
_TAIL = (
    rf";solventDielectric=(?P<solvent>{_NUMBER});soluteDielectric=(?P<solute>{_NUMBER});"
    rf"kappa=0;offset=(?P<offset>{_NUMBER})"
)
_SELF = re.compile(
    rf"-0\.5\*(?P<coulomb>{_NUMBER})\*\(1/soluteDielectric-1/solventDielectric\)\*charge\^2/B{_TAIL}"
)
_SURFACE = re.compile(
    rf"(?P<surface>{_NUMBER})\*\(radius\+0\.14\)\^2\*\(radius/B\)\^6;radius=or\+offset{_TAIL}"
)
_PAIR = re.compile(
    rf"-(?P<coulomb>{_NUMBER})\*\(1/soluteDielectric-1/solventDielectric\)\*charge1\*charge2/f;"
    rf"f=sqrt\(r\^2\+B1\*B2\*exp\(-r\^2/\(4\*B1\*B2\)\)\){_TAIL}"
)


def read_obc(force: openmm.GBSAOBCForce, n_atoms: int) -> ForceFieldParameters | None:
    """The built-in force: OBC2 constants, radii with the offset still in them."""
    if force.getNonbondedMethod() != openmm.GBSAOBCForce.NoCutoff:
        return None
    records = [force.getParticleParameters(k) for k in range(n_atoms)]
    charge = np.array([r[0].value_in_unit(unit.elementary_charge) for r in records])
    radius = np.array([r[1].value_in_unit(unit.nanometer) for r in records])
    scale = np.array([float(r[2]) for r in records])
    offset_radius = radius - _OFFSET_NM
    model = BornModel(
        atoms=np.stack([charge, offset_radius, scale * offset_radius, radius], 1),
        constants=OBC2,
        coulomb=COULOMB_KJ_PER_MOL_NM,
        solute_dielectric=force.getSoluteDielectric(),
        solvent_dielectric=force.getSolventDielectric(),
        surface=force.getSurfaceAreaEnergy().value_in_unit_system(unit.md_unit_system),
        complete=True,
    )
    return ForceFieldParameters(n_atoms, born=model)


def _recognised(force: openmm.CustomGBForce) -> bool:
    """The frame of the force is the one OpenMM's Amber models have."""
    names = [
        force.getPerParticleParameterName(k) for k in range(force.getNumPerParticleParameters())
    ]
    return (
        force.getNonbondedMethod() == openmm.CustomGBForce.NoCutoff
        and names == ["charge", "or", "sr"]
        and force.getNumGlobalParameters() == 0
        and force.getNumTabulatedFunctions() == 0
        and force.getNumEnergyParameterDerivatives() == 0
        and force.getNumExclusions() == 0
        and force.getNumComputedValues() == 2
        and force.getNumEnergyTerms() in (2, 3)
    )


def _terms(force: openmm.CustomGBForce) -> dict[str, re.Match[str]] | None:
    """The energy terms by kind, or `None` where one is unknown, missing or written twice."""
    single, pair = (
        openmm.CustomGBForce.SingleParticle,
        openmm.CustomGBForce.ParticlePairNoExclusions,
    )
    kinds = {"self": (_SELF, single), "surface": (_SURFACE, single), "pair": (_PAIR, pair)}
    found: dict[str, re.Match[str]] = {}
    for k in range(force.getNumEnergyTerms()):
        expression, form = force.getEnergyTermParameters(k)
        for kind, (pattern, expected) in kinds.items():
            match = pattern.fullmatch(expression.replace(" ", ""))
            if match and form == expected and kind not in found:
                found[kind] = match
    complete = len(found) == force.getNumEnergyTerms() and {"self", "pair"} <= set(found)
    return found if complete else None


def read_custom_born(force: openmm.CustomGBForce, n_atoms: int) -> ForceFieldParameters | None:
    """The expression form; `None` unless it is OBC1 or OBC2 as OpenMM writes them, without salt."""
    if not _recognised(force):
        return None
    integral, integral_kind = _value(force, 0)
    radius_rule, radius_kind = _value(force, 1)
    terms = _terms(force)
    if (
        terms is None
        or integral != ("I", _INTEGRAL)
        or integral_kind != openmm.CustomGBForce.ParticlePairNoExclusions
        or radius_rule[0] != "B"
        or radius_rule[1] not in _RADIUS
        or radius_kind != openmm.CustomGBForce.SingleParticle
    ):
        return None
    numbers = {
        (float(m["solvent"]), float(m["solute"]), round(float(m["offset"]), 9))
        for m in terms.values()
    }
    coulombs = {float(terms[kind]["coulomb"]) for kind in ("self", "pair")}
    if len(numbers) != 1 or len(coulombs) != 1:
        return None
    solvent, solute, offset = numbers.pop()
    if offset != _OFFSET_NM:
        return None
    table = np.array([force.getParticleParameters(k) for k in range(n_atoms)], dtype=np.float64)
    area_energy = float(terms["surface"]["surface"]) if "surface" in terms else 0.0
    model = BornModel(
        atoms=np.column_stack([table, table[:, 1] + _OFFSET_NM]),
        constants=_RADIUS[radius_rule[1]],
        coulomb=coulombs.pop(),
        solute_dielectric=solute,
        solvent_dielectric=solvent,
        surface=area_energy / (4 * np.pi),
        complete=False,
    )
    return ForceFieldParameters(n_atoms, born=model)


def _value(force: openmm.CustomGBForce, index: int) -> tuple[tuple[str, str], int]:
    name, expression, kind = force.getComputedValueParameters(index)
    return (name, expression.replace(" ", "")), kind


def describe_born(born: BornModel, topology: app.Topology | None) -> str:
    """Model, form, radii, dielectrics and surface term in one line: they make different
    densities."""
    name = "OBC1" if born.constants == OBC1 else "OBC2"
    form = "GBSAOBCForce" if born.complete else "CustomGBForce expressions"
    radii = born.atoms[:, 3]
    surface = f"surface term {born.surface:.5f} kJ/mol/nm^2" if born.surface else "no surface term"
    return (
        f"{name} in the form of {form}, radii {radii.min():.3f}-{radii.max():.3f} nm"
        f"{_radii_set(radii, topology)}, dielectrics {born.solute_dielectric:g} (solute) and "
        f"{born.solvent_dielectric:g} (solvent), {surface}"
    )


def _radii_set(radii: np.ndarray, topology: app.Topology | None) -> str:
    """Whether the radii are mbondi2, the set that OpenMM assigns for OBC."""
    if topology is None:
        return ""
    standard = np.array(GBSAOBC1Force.getStandardParameters(topology))[:, 0]
    return " (mbondi2)" if np.allclose(radii, standard, atol=1e-5) else " (not mbondi2)"
