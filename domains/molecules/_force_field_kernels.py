"""Bonded and pair terms of a molecular force field over a block of configurations (numba).

Layout. `WIDTH` configurations form a block, and the block is stored batch-last: `state[atom]` is
one row of `ROWS * WIDTH` numbers, x, y, z, then the three force components, then three rows for
the generalised-Born terms. Every inner loop runs over the `WIDTH` lanes of one term, with its
parameters in registers, so LLVM turns it into SIMD instructions. Position and force of an atom
share a row, and temporaries share one `scratch` array, because LLVM gives up on a loop that needs
more than eight run-time overlap checks between arrays: this way no loop needs more than six.

Energies in kJ/mol, lengths in nm. Arithmetic is that of `state`; sums of energies are float64.
"""

from __future__ import annotations

import math

import numba

from domains.molecules._force_field_math_kernels import JIT, arc_tangent_2

WIDTH = 32
ROWS = 9
Y, Z, FORCE, PSI, BORN, CHAIN = (k * WIDTH for k in (1, 2, 3, 6, 7, 8))
# Rows of scratch in the pair loops: position, then force, of the first atom, then the energy. They
# are set to zero by `load_first`; TERM gathers the energies of all other terms and is left at zero.
ENERGY = 6 * WIDTH
# Rows of scratch that describe one torsion: cosine, sine, d(phi)/dx of the two outer atoms, the
# projections of the outer bonds on the central one, dE/d(phi), and cos(n phi), sin(n phi).
COSINE, SINE, FIRST, LAST, P, Q, SLOPE, MULTIPLE_COSINE, MULTIPLE_SINE, TERM = (
    k * WIDTH for k in (0, 1, 2, 5, 8, 9, 10, 11, 12, 13)
)
SCRATCH_ROWS = 14


@numba.njit(**JIT)
def flush(scratch, row, energy):
    """Move the energies in one row of scratch to the float64 sums."""
    zero = scratch.dtype.type(0)
    for w in range(WIDTH):
        energy[w] += scratch[row + w]
        scratch[row + w] = zero


@numba.njit(**JIT)
def bonds(state, energy, scratch, atoms, parameters):
    """k/2 (r - r0)^2; `parameters[bond] = (r0, k)`."""
    half = state.dtype.type(0.5)
    for t in range(atoms.shape[0]):
        a, b = state[atoms[t, 0]], state[atoms[t, 1]]
        length, k = parameters[t, 0], parameters[t, 1]
        for w in range(WIDTH):
            dx, dy, dz = a[w] - b[w], a[Y + w] - b[Y + w], a[Z + w] - b[Z + w]
            r = math.sqrt(dx * dx + dy * dy + dz * dz)
            stretch = r - length
            scratch[TERM + w] += half * k * stretch * stretch
            g = k * stretch / r
            a[FORCE + w] -= g * dx
            a[FORCE + Y + w] -= g * dy
            a[FORCE + Z + w] -= g * dz
            b[FORCE + w] += g * dx
            b[FORCE + Y + w] += g * dy
            b[FORCE + Z + w] += g * dz
    flush(scratch, TERM, energy)


@numba.njit(**JIT)
def angles(state, energy, scratch, atoms, parameters):
    """k/2 (theta - theta0)^2; `parameters[angle] = (theta0, k)`.

    theta = atan2(|a x b|, a.b) keeps its digits at 0 and pi, where the arc cosine loses them. The
    force divides by |a x b|, which is kept above 1e-6 nm^2, as OpenMM does.
    """
    real = state.dtype.type
    half, one, floor = real(0.5), real(1.0), real(1e-6)
    for t in range(atoms.shape[0]):
        a, b, c = state[atoms[t, 0]], state[atoms[t, 1]], state[atoms[t, 2]]
        rest, k = parameters[t, 0], parameters[t, 1]
        for w in range(WIDTH):
            ax, ay, az = a[w] - b[w], a[Y + w] - b[Y + w], a[Z + w] - b[Z + w]
            cx, cy, cz = c[w] - b[w], c[Y + w] - b[Y + w], c[Z + w] - b[Z + w]
            px, py, pz = ay * cz - az * cy, az * cx - ax * cz, ax * cy - ay * cx
            p = math.sqrt(px * px + py * py + pz * pz)
            bend = arc_tangent_2(p, ax * cx + ay * cy + az * cz) - rest
            scratch[TERM + w] += half * k * bend * bend
            g = k * bend * (one / (p if p > floor else floor))
            ga = g / (ax * ax + ay * ay + az * az)
            gc = g / (cx * cx + cy * cy + cz * cz)
            scratch[FIRST + w] = ga * (az * py - ay * pz)
            scratch[FIRST + Y + w] = ga * (ax * pz - az * px)
            scratch[FIRST + Z + w] = ga * (ay * px - ax * py)
            scratch[LAST + w] = gc * (cy * pz - cz * py)
            scratch[LAST + Y + w] = gc * (cz * px - cx * pz)
            scratch[LAST + Z + w] = gc * (cx * py - cy * px)
        for w in range(FORCE):
            a[FORCE + w] += scratch[FIRST + w]
            b[FORCE + w] -= scratch[FIRST + w] + scratch[LAST + w]
            c[FORCE + w] += scratch[LAST + w]
    flush(scratch, TERM, energy)


@numba.njit(**JIT)
def torsion_geometry(a, b, c, d, scratch):
    """cos phi, sin phi and the gradient of phi for the torsion a-b-c-d, without computing phi."""
    one = scratch.dtype.type(1.0)
    for w in range(WIDTH):
        ux, uy, uz = a[w] - b[w], a[Y + w] - b[Y + w], a[Z + w] - b[Z + w]
        vx, vy, vz = c[w] - b[w], c[Y + w] - b[Y + w], c[Z + w] - b[Z + w]
        tx, ty, tz = c[w] - d[w], c[Y + w] - d[Y + w], c[Z + w] - d[Z + w]
        mx, my, mz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        nx, ny, nz = vy * tz - vz * ty, vz * tx - vx * tz, vx * ty - vy * tx
        v2 = vx * vx + vy * vy + vz * vz
        v = math.sqrt(v2)
        m_inverse = one / (mx * mx + my * my + mz * mz)
        n_inverse = one / (nx * nx + ny * ny + nz * nz)
        both = math.sqrt(m_inverse) * math.sqrt(n_inverse)
        scratch[COSINE + w] = both * (mx * nx + my * ny + mz * nz)
        scratch[SINE + w] = both * v * (ux * nx + uy * ny + uz * nz)
        m_scale, n_scale = v * m_inverse, -v * n_inverse
        scratch[FIRST + w] = m_scale * mx
        scratch[FIRST + Y + w] = m_scale * my
        scratch[FIRST + Z + w] = m_scale * mz
        scratch[LAST + w] = n_scale * nx
        scratch[LAST + Y + w] = n_scale * ny
        scratch[LAST + Z + w] = n_scale * nz
        scratch[P + w] = (ux * vx + uy * vy + uz * vz) / v2
        scratch[Q + w] = (tx * vx + ty * vy + tz * vz) / v2


@numba.njit(**JIT)
def torsion_forces(a, b, c, d, scratch):
    """Subtract dE/d(phi) * d(phi)/dx from the forces of the four atoms."""
    one = scratch.dtype.type(1.0)
    for k in range(3):
        row = k * WIDTH
        for w in range(WIDTH):
            slope = scratch[SLOPE + w]
            first, last = slope * scratch[FIRST + row + w], slope * scratch[LAST + row + w]
            p, q = scratch[P + w], scratch[Q + w]
            a[FORCE + row + w] -= first
            b[FORCE + row + w] += (one - p) * first + q * last
        for w in range(WIDTH):
            slope = scratch[SLOPE + w]
            first, last = slope * scratch[FIRST + row + w], slope * scratch[LAST + row + w]
            p, q = scratch[P + w], scratch[Q + w]
            c[FORCE + row + w] += p * first + (one - q) * last
            d[FORCE + row + w] -= last


@numba.njit(**JIT)
def torsions(state, energy, scratch, atoms, orders, parameters):
    """c0 + sum_n A_n cos(n phi) + B_n sin(n phi), n = 1 ... `orders[torsion]`.

    `parameters[torsion] = (c0, A_1, B_1, A_2, B_2, ...)`. Multiples of phi come from the addition
    theorem, so no angle is ever computed.
    """
    real = state.dtype.type
    zero = real(0)
    for t in range(atoms.shape[0]):
        a, b = state[atoms[t, 0]], state[atoms[t, 1]]
        c, d = state[atoms[t, 2]], state[atoms[t, 3]]
        torsion_geometry(a, b, c, d, scratch)
        constant = parameters[t, 0]
        for w in range(WIDTH):
            scratch[MULTIPLE_COSINE + w] = scratch[COSINE + w]
            scratch[MULTIPLE_SINE + w] = scratch[SINE + w]
            scratch[SLOPE + w] = zero
            scratch[TERM + w] += constant
        for n in range(1, orders[t] + 1):
            even, odd = parameters[t, 2 * n - 1], parameters[t, 2 * n]
            order = real(n)
            for w in range(WIDTH):
                cosine, sine = scratch[MULTIPLE_COSINE + w], scratch[MULTIPLE_SINE + w]
                scratch[TERM + w] += even * cosine + odd * sine
                scratch[SLOPE + w] += order * (odd * cosine - even * sine)
                x, y = scratch[COSINE + w], scratch[SINE + w]
                scratch[MULTIPLE_COSINE + w] = cosine * x - sine * y
                scratch[MULTIPLE_SINE + w] = sine * x + cosine * y
        torsion_forces(a, b, c, d, scratch)
    flush(scratch, TERM, energy)


@numba.njit(**JIT)
def cross_maps(state, energy, scratch, other, atoms, which, sizes, starts, coefficients):
    """CMAP: a periodic bicubic surface E(phi, psi); `coefficients[cell] = 16` powers, phi
    slowest."""
    real = state.dtype.type
    turn = real(2 * math.pi)
    zero, two, three = real(0), real(2), real(3)
    for t in range(atoms.shape[0]):
        a, b, c, d = state[atoms[t, 0]], state[atoms[t, 1]], state[atoms[t, 2]], state[atoms[t, 3]]
        e, f, g, h = state[atoms[t, 4]], state[atoms[t, 5]], state[atoms[t, 6]], state[atoms[t, 7]]
        torsion_geometry(a, b, c, d, scratch)
        torsion_geometry(e, f, g, h, other)
        size, start = sizes[which[t]], starts[which[t]]
        step = turn / real(size)
        for w in range(WIDTH):
            phi = math.atan2(scratch[SINE + w], scratch[COSINE + w])
            psi = math.atan2(other[SINE + w], other[COSINE + w])
            u = (phi + turn if phi < zero else phi) / step
            v = (psi + turn if psi < zero else psi) / step
            row, column = min(int(u), size - 1), min(int(v), size - 1)
            u, v = u - real(row), v - real(column)
            cell = coefficients[start + row * size + column]
            value, slope_u, slope_v = zero, zero, zero
            for k in range(3, -1, -1):
                value = (
                    value * u + ((cell[4 * k + 3] * v + cell[4 * k + 2]) * v + cell[4 * k + 1]) * v
                )
                value += cell[4 * k]
                slope_u = (
                    slope_u * v + (three * cell[12 + k] * u + two * cell[8 + k]) * u + cell[4 + k]
                )
                slope_v = slope_v * u + (three * cell[4 * k + 3] * v + two * cell[4 * k + 2]) * v
                slope_v += cell[4 * k + 1]
            scratch[TERM + w] += value
            scratch[SLOPE + w] = slope_u / step
            other[SLOPE + w] = slope_v / step
        torsion_forces(a, b, c, d, scratch)
        torsion_forces(e, f, g, h, other)
    flush(scratch, TERM, energy)


@numba.njit(**JIT)
def load_first(state, i, scratch):
    """Begin a row of pairs: the position of atom i to scratch, its force and energy there to
    zero."""
    zero = state.dtype.type(0)
    a = state[i]
    for w in range(FORCE):
        scratch[w] = a[w]
        scratch[FORCE + w] = zero
    for w in range(WIDTH):
        scratch[ENERGY + w] = zero


@numba.njit(**JIT)
def store_first(state, i, scratch):
    """End a row of pairs: add the force gathered in scratch to atom i."""
    a = state[i]
    for w in range(FORCE):
        a[FORCE + w] += scratch[FORCE + w]


@numba.njit(**JIT)
def pairs(state, energy, scratch, starts, seconds, parameters):
    """q / r + c12 / r^12 - c6 / r^6; `parameters[pair] = (q, c12, c6)`, q with its 1/(4 pi eps0).

    Pairs of atom i are `starts[i] ... starts[i + 1]`, their other atoms `seconds`.
    """
    real = state.dtype.type
    one, six, twelve = real(1), real(6), real(12)
    for i in range(starts.shape[0] - 1):
        if starts[i] == starts[i + 1]:
            continue
        load_first(state, i, scratch)
        for t in range(starts[i], starts[i + 1]):
            b = state[seconds[t]]
            q, c12, c6 = parameters[t, 0], parameters[t, 1], parameters[t, 2]
            for w in range(WIDTH):
                dx, dy, dz = scratch[w] - b[w], scratch[Y + w] - b[Y + w], scratch[Z + w] - b[Z + w]
                inverse_square = one / (dx * dx + dy * dy + dz * dz)
                coulomb = q * math.sqrt(inverse_square)
                inverse_sixth = inverse_square * inverse_square * inverse_square
                repulsion = c12 * inverse_sixth * inverse_sixth
                attraction = c6 * inverse_sixth
                scratch[ENERGY + w] += coulomb + repulsion - attraction
                g = (coulomb + twelve * repulsion - six * attraction) * inverse_square
                scratch[FORCE + w] += g * dx
                scratch[FORCE + Y + w] += g * dy
                scratch[FORCE + Z + w] += g * dz
                b[FORCE + w] -= g * dx
                b[FORCE + Y + w] -= g * dy
                b[FORCE + Z + w] -= g * dz
        store_first(state, i, scratch)
        flush(scratch, ENERGY, energy)
