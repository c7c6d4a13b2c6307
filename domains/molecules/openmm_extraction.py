"""OpenMM forces read into `ForceFieldParameters`, term by term.

Each reader takes one force and returns its parameters, or `None` where the force has a feature the
kernels lack (a cut-off, parameter offsets): such a force is then evaluated by OpenMM itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openmm
from numpy import ndarray
from numpy.polynomial import chebyshev
from openmm import unit
from scipy.interpolate import CubicSpline

from domains.molecules.force_field_parameters import ForceFieldParameters
from domains.molecules.openmm_generalized_born import (
    COULOMB_KJ_PER_MOL_NM,
    read_custom_born,
    read_obc,
)

_MD = unit.md_unit_system


def _values(record: Sequence[Any], *skip: int) -> list[float]:
    """The numbers of one OpenMM parameter record in nm, kJ/mol, rad and elementary charges."""
    return [
        float(v.value_in_unit_system(_MD)) if unit.is_quantity(v) else float(v)
        for k, v in enumerate(record)
        if k not in skip
    ]


def _rows(rows: list[list[float]], width: int) -> tuple[ndarray, ndarray]:
    """Rows of `width` atoms and then two parameters, split and typed."""
    table = np.array(rows, dtype=np.float64).reshape(len(rows), width + 2)
    return table[:, :width].astype(np.int64), table[:, width:]


def read_bonds(force: openmm.HarmonicBondForce, n_atoms: int) -> ForceFieldParameters:
    rows = [_values(force.getBondParameters(k)) for k in range(force.getNumBonds())]
    atoms, parameters = _rows(rows, 2)
    return ForceFieldParameters(n_atoms, bond_atoms=atoms, bond_parameters=parameters)


def read_angles(force: openmm.HarmonicAngleForce, n_atoms: int) -> ForceFieldParameters:
    rows = [_values(force.getAngleParameters(k)) for k in range(force.getNumAngles())]
    atoms, parameters = _rows(rows, 3)
    return ForceFieldParameters(n_atoms, angle_atoms=atoms, angle_parameters=parameters)


def _fourier_torsions(
    n_atoms: int, series: dict[tuple[int, ...], dict[int, ndarray]]
) -> ForceFieldParameters:
    """`series[atoms][n] = (A_n, B_n)` as one table, with A_0 = c0."""
    highest = max((n for terms in series.values() for n in terms), default=0)
    parameters = np.zeros((len(series), 1 + 2 * highest))
    for row, terms in zip(parameters, series.values(), strict=True):
        for n, (even, odd) in terms.items():
            if n == 0:
                row[0] = even
            else:
                row[2 * n - 1 : 2 * n + 1] = even, odd
    orders = np.array([max(terms) for terms in series.values()], dtype=np.int64)
    atoms = np.array(list(series), dtype=np.int64).reshape(-1, 4)
    return ForceFieldParameters(
        n_atoms, torsion_atoms=atoms, torsion_orders=orders, torsion_parameters=parameters
    )


def _add(terms: dict[int, ndarray], n: int, even: float, odd: float) -> None:
    terms[n] = terms.get(n, np.zeros(2)) + np.array([even, odd])


def _canonical(atoms: Sequence[float]) -> tuple[int, ...]:
    """A torsion reads the same from either end."""
    forward = tuple(int(a) for a in atoms)
    return min(forward, forward[::-1])


def read_periodic_torsions(
    force: openmm.PeriodicTorsionForce, n_atoms: int
) -> ForceFieldParameters:
    """k (1 + cos(n phi - phase)) as a Fourier series."""
    series: dict[tuple[int, ...], dict[int, ndarray]] = {}
    for k in range(force.getNumTorsions()):
        *atoms, periodicity, phase, strength = _values(force.getTorsionParameters(k))
        terms = series.setdefault(_canonical(atoms), {})
        _add(terms, 0, strength, 0.0)
        _add(terms, int(periodicity), strength * np.cos(phase), strength * np.sin(phase))
    return _fourier_torsions(n_atoms, series)


def read_rb_torsions(force: openmm.RBTorsionForce, n_atoms: int) -> ForceFieldParameters:
    """sum_n C_n cos^n(phi - pi): a polynomial in cos phi, turned into multiples of phi."""
    series: dict[tuple[int, ...], dict[int, ndarray]] = {}
    for k in range(force.getNumTorsions()):
        record = _values(force.getTorsionParameters(k))
        alternating = np.array(record[4:]) * (-1.0) ** np.arange(6)
        terms = series.setdefault(_canonical(record[:4]), {})
        for n, value in enumerate(chebyshev.poly2cheb(alternating)):
            _add(terms, n, float(value), 0.0)
    return _fourier_torsions(n_atoms, series)


def _periodic_slope(values: ndarray, axis: int) -> ndarray:
    """Slope per grid step, at the nodes, of the periodic cubic spline through `values`."""
    n = values.shape[axis]
    closed = np.concatenate([values, values.take([0], axis)], axis)
    spline = CubicSpline(np.arange(n + 1), closed, axis=axis, bc_type="periodic")
    return spline(np.arange(n), 1)


def bicubic_coefficients(surface: ndarray) -> ndarray:
    """`[size * size, 16]` powers u^i v^j (i slowest) of the cell that begins at each node.

    Values, slopes and the cross slope at the corners, from periodic cubic splines along both axes,
    fix the bicubic patch: coefficients = M corners M^T with M the cubic Hermite matrix.
    """
    size = len(surface)
    d_u, d_v = _periodic_slope(surface, 0), _periodic_slope(surface, 1)
    d_uv = _periodic_slope(d_u, 1)
    hermite = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1.0]])

    def corners(values: ndarray) -> ndarray:
        nxt = np.roll(values, -1, 0)
        both = np.stack([[values, np.roll(values, -1, 1)], [nxt, np.roll(nxt, -1, 1)]])
        return np.moveaxis(both, (0, 1), (-2, -1))

    corner = np.concatenate(
        [
            np.concatenate([corners(surface), corners(d_v)], -1),
            np.concatenate([corners(d_u), corners(d_uv)], -1),
        ],
        -2,
    )
    return (hermite @ corner @ hermite.T).reshape(size * size, 16)


def read_cross_maps(force: openmm.CMAPTorsionForce, n_atoms: int) -> ForceFieldParameters:
    cells, sizes = [], []
    for m in range(force.getNumMaps()):
        size, energies = force.getMapParameters(m)
        # OpenMM stores phi fastest.
        surface = np.array(energies.value_in_unit_system(_MD)).reshape(size, size).T
        sizes.append(size)
        cells.append(bicubic_coefficients(surface))
    rows = [[int(v) for v in force.getTorsionParameters(k)] for k in range(force.getNumTorsions())]
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 9)
    squares = np.array(sizes, dtype=np.int64) ** 2
    return ForceFieldParameters(
        n_atoms,
        map_atoms=table[:, 1:],
        map_which=table[:, 0].copy(),
        map_sizes=np.array(sizes, dtype=np.int64),
        map_starts=np.concatenate([[0], np.cumsum(squares)[:-1]]).astype(np.int64),
        map_coefficients=np.concatenate([np.zeros((0, 16)), *cells]),
    )


def read_pairs(force: openmm.NonbondedForce, n_atoms: int) -> ForceFieldParameters | None:
    """All pairs, exceptions in place of the combination rules; only `NoCutoff` without offsets."""
    if (
        force.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff
        or force.getNumGlobalParameters()
        or force.getNumParticleParameterOffsets()
        or force.getNumExceptionParameterOffsets()
    ):
        return None
    particles = np.array([_values(force.getParticleParameters(k)) for k in range(n_atoms)])
    first, second = np.triu_indices(n_atoms, 1)
    charge = particles[first, 0] * particles[second, 0]
    sigma = 0.5 * (particles[first, 1] + particles[second, 1])
    epsilon = np.sqrt(particles[first, 2] * particles[second, 2])
    position = np.zeros((n_atoms, n_atoms), dtype=np.int64)
    position[first, second] = np.arange(len(first))
    for k in range(force.getNumExceptions()):
        i, j, product, length, depth = _values(force.getExceptionParameters(k))
        at = position[int(min(i, j)), int(max(i, j))]
        charge[at], sigma[at], epsilon[at] = product, length, depth
    c6 = 4 * epsilon * sigma**6
    parameters = np.stack([COULOMB_KJ_PER_MOL_NM * charge, c6 * sigma**6, c6], 1)
    present = np.any(parameters != 0, axis=1)
    atoms = np.stack([first, second], 1)[present].astype(np.int64)
    return ForceFieldParameters(n_atoms, pair_atoms=atoms, pair_parameters=parameters[present])


Reader = Callable[[Any, int], ForceFieldParameters | None]

READERS: dict[type[openmm.Force], Reader] = {
    openmm.HarmonicBondForce: read_bonds,
    openmm.HarmonicAngleForce: read_angles,
    openmm.PeriodicTorsionForce: read_periodic_torsions,
    openmm.RBTorsionForce: read_rb_torsions,
    openmm.CMAPTorsionForce: read_cross_maps,
    openmm.NonbondedForce: read_pairs,
    openmm.GBSAOBCForce: read_obc,
    openmm.CustomGBForce: read_custom_born,
}
