"""Generalised-Born solvation (OBC) over a block of configurations (numba).

Onufriev, Bashford, Case, "Exploring protein native states and large-scale conformational changes
with a modified generalized Born model", 2004. With o_i = radius_i - offset and s_j = scale_j o_j,

    I_i   = 1/2 sum_j H(r_ij; o_i, s_j),   psi_i = o_i I_i
    1/B_i = 1/o_i - tanh(alpha psi - beta psi^2 + gamma psi^3) / radius_i
    E     = sum_i [ -K q_i^2 / (2 B_i) + S_i / B_i^6 ] - K sum_{i<j} q_i q_j / f_ij
    f_ij  = sqrt( r^2 + B_i B_j exp(-r^2 / (4 B_i B_j)) )
    H(r)  = 1/L - 1/U + (r - s^2/r)(1/U^2 - 1/L^2)/4 + ln(L/U)/(2r),  U = r + s, L = max(o, |r - s|)

and H = 0 where r + s <= o. H is stationary in U, and in L wherever L = r - s, so only its explicit
dependence on r counts. Where atom i lies inside the sphere of j (s - r > o) OpenMM's two forms
part: `GBSAOBCForce` adds 2 (1/o - 1/L), `CustomGBForce` does not and has slope 2/L^2 more instead.

Three passes over the pairs: Born radii (slopes of H are kept), pair energies with dE/dB, chain
rule. `state` and WIDTH are those of `_force_field_kernels`. Units kJ/mol and nm.
"""

from __future__ import annotations

import math

import numba

from domains.molecules._force_field_kernels import (
    BORN,
    CHAIN,
    ENERGY,
    FORCE,
    PSI,
    WIDTH,
    Y,
    Z,
    flush,
    load_first,
    store_first,
)
from domains.molecules._force_field_math_kernels import JIT, exponential, logarithm

# Rows of scratch: a sum gathered over the second atoms, and a value of the first atom.
GATHER, OWN = 7 * WIDTH, 8 * WIDTH


@numba.njit(forceinline=True, **JIT)
def descreening(r, r_inverse, o, s, complete, real):
    """H(r; o, s) and dH/dr; `complete` is 1 for the form of GBSAOBCForce and 0 for
    CustomGBForce."""
    zero, quarter, half, one, two = real(0), real(0.25), real(0.5), real(1), real(2)
    upper = r + s
    inside = s - r
    distance = inside if inside > zero else -inside
    lower = distance if distance > o else o
    inverse = one / (lower * upper)
    lower_inverse, upper_inverse = upper * inverse, lower * inverse
    log_ratio = half * logarithm(lower * upper_inverse) * r_inverse
    squares = quarter * (upper_inverse * upper_inverse - lower_inverse * lower_inverse)
    tail = s * s * r_inverse
    value = lower_inverse - upper_inverse + (r - tail) * squares + log_ratio
    slope = (one + tail * r_inverse) * squares - log_ratio * r_inverse
    value += two * complete * (one / o - lower_inverse) if inside > o else zero
    slope += two * (one - complete) * lower_inverse * lower_inverse if inside > o else zero
    return (value if upper > o else zero), (slope if upper > o else zero)


@numba.njit(**JIT)
def gather_psi(state, scratch, slopes, atoms, complete):
    """Sum of H over the other atoms, for every atom, to row PSI; dH/dr to `slopes[pair]`."""
    real = state.dtype.type
    zero, one = real(0), real(1)
    n, pair = state.shape[0], 0
    for i in range(n):
        load_first(state, i, scratch)
        for w in range(WIDTH):
            scratch[GATHER + w] = zero
        o_first, s_first = atoms[i, 1], atoms[i, 2]
        for j in range(i + 1, n):
            b, slope = state[j], slopes[pair]
            pair += 1
            o, s = atoms[j, 1], atoms[j, 2]
            for w in range(WIDTH):
                dx, dy, dz = scratch[w] - b[w], scratch[Y + w] - b[Y + w], scratch[Z + w] - b[Z + w]
                r = math.sqrt(dx * dx + dy * dy + dz * dz)
                r_inverse = one / r
                value, slope[w] = descreening(r, r_inverse, o_first, s, complete, real)
                scratch[GATHER + w] += value
                value, slope[WIDTH + w] = descreening(r, r_inverse, o, s_first, complete, real)
                b[PSI + w] += value
        a = state[i]
        for w in range(WIDTH):
            a[PSI + w] += scratch[GATHER + w]


@numba.njit(**JIT)
def radii_and_self_energies(state, scratch, atoms, constants):
    """Row PSI becomes B, row BORN dE/dB of the terms of one atom, row CHAIN dB/d(sum of H)."""
    real = state.dtype.type
    half, one, two, three, six, far = real(0.5), real(1), real(2), real(3), real(6), real(20)
    alpha, beta, gamma, coulomb = constants[0], constants[1], constants[2], constants[3]
    for i in range(state.shape[0]):
        a = state[i]
        q, o, radius, surface = atoms[i, 0], atoms[i, 1], atoms[i, 3], atoms[i, 4]
        charge_term = half * coulomb * q * q
        for w in range(WIDTH):
            psi = half * o * a[PSI + w]
            x = psi * (alpha - psi * (beta - gamma * psi))
            # tanh rounds to one long before 20; the bound keeps the exponential finite.
            x = far if x > far else (-far if x < -far else x)
            tanh = one - two / (exponential(two * x) + one)
            inverse = one / o - tanh / radius
            born = one / inverse
            sixth = inverse * inverse * inverse
            sixth = surface * sixth * sixth
            scratch[ENERGY + w] += sixth - charge_term * inverse
            a[PSI + w] = born
            a[BORN + w] = inverse * (charge_term * inverse - six * sixth)
            growth = (
                (one - tanh * tanh) * (alpha - psi * (two * beta - three * gamma * psi)) / radius
            )
            a[CHAIN + w] = half * o * born * born * growth


@numba.njit(**JIT)
def pair_energies(state, energy, scratch, atoms, coulomb):
    """-K q_i q_j / f, its direct force, and its share of dE/dB (added to row BORN)."""
    real = state.dtype.type
    zero, quarter, half, one = real(0), real(0.25), real(0.5), real(1)
    n = state.shape[0]
    for i in range(n):
        load_first(state, i, scratch)
        a = state[i]
        for w in range(WIDTH):
            scratch[GATHER + w] = zero
            scratch[OWN + w] = a[PSI + w]
        charge = coulomb * atoms[i, 0]
        for j in range(i + 1, n):
            b = state[j]
            charges = charge * atoms[j, 0]
            for w in range(WIDTH):
                dx, dy, dz = scratch[w] - b[w], scratch[Y + w] - b[Y + w], scratch[Z + w] - b[Z + w]
                r2 = dx * dx + dy * dy + dz * dz
                first, second = scratch[OWN + w], b[PSI + w]
                product = first * second
                decay = quarter * r2 / product
                e = exponential(-decay)
                f_inverse_square = one / (r2 + product * e)
                term = charges * math.sqrt(f_inverse_square)
                scratch[ENERGY + w] -= term
                term *= f_inverse_square
                both = half * term * e * (one + decay)
                scratch[GATHER + w] += both * second
                b[BORN + w] += both * first
                g = term * (quarter * e - one)
                scratch[FORCE + w] += g * dx
                scratch[FORCE + Y + w] += g * dy
                scratch[FORCE + Z + w] += g * dz
                b[FORCE + w] -= g * dx
                b[FORCE + Y + w] -= g * dy
                b[FORCE + Z + w] -= g * dz
        store_first(state, i, scratch)
        flush(scratch, ENERGY, energy)
        for w in range(WIDTH):
            a[BORN + w] += scratch[GATHER + w]


@numba.njit(**JIT)
def chain_forces(state, scratch, slopes):
    """Forces through the Born radii: dE/dB dB/d(sum of H) dH/dr."""
    one = state.dtype.type(1)
    n, pair = state.shape[0], 0
    for i in range(n):
        a = state[i]
        for w in range(WIDTH):
            a[BORN + w] *= a[CHAIN + w]
    for i in range(n):
        load_first(state, i, scratch)
        a = state[i]
        for w in range(WIDTH):
            scratch[OWN + w] = a[BORN + w]
        for j in range(i + 1, n):
            b, slope = state[j], slopes[pair]
            pair += 1
            for w in range(WIDTH):
                dx, dy, dz = scratch[w] - b[w], scratch[Y + w] - b[Y + w], scratch[Z + w] - b[Z + w]
                r_inverse = math.sqrt(one / (dx * dx + dy * dy + dz * dz))
                g = -(scratch[OWN + w] * slope[w] + b[BORN + w] * slope[WIDTH + w]) * r_inverse
                scratch[FORCE + w] += g * dx
                scratch[FORCE + Y + w] += g * dy
                scratch[FORCE + Z + w] += g * dz
                b[FORCE + w] -= g * dx
                b[FORCE + Y + w] -= g * dy
                b[FORCE + Z + w] -= g * dz
        store_first(state, i, scratch)


@numba.njit(**JIT)
def generalized_born(state, energy, scratch, slopes, atoms, constants, with_force):
    """Energy and force of one OBC force.

    `atoms[atom] = (q, o, s, radius, S)`, `constants = (alpha, beta, gamma, K, complete)`, and
    `slopes [pair, 2 * WIDTH]` is working space.
    """
    zero = state.dtype.type(0)
    for i in range(state.shape[0]):
        a = state[i]
        for w in range(WIDTH):
            a[PSI + w] = zero
    gather_psi(state, scratch, slopes, atoms, constants[4])
    radii_and_self_energies(state, scratch, atoms, constants)
    flush(scratch, ENERGY, energy)
    pair_energies(state, energy, scratch, atoms, constants[3])
    if with_force:
        chain_forces(state, scratch, slopes)
