"""From an orbit environment's objects and numbers in the unit cube to crystals, and the measure of both.

A crystal has 1 + shape + coordinates free parameters, each uniform on [0, 1] in the base measure:
    shape             ratios of axes log-uniform within a factor 3 of a centre, shears uniform
                      (`_geometry_kernels.py`); 0 to 5 of them by crystal system
    volume per atom   log-uniform between 0.6 and 1.8 times the volume that its ions fill
    coordinates       the free ones of each orbit, uniform over the cell
so that the base measure of every set of orbits is one. The volume of ions is that of spheres of their radii
at 74 % packing; it comes within 30 % of the volumes of NaCl, MgO, ZnS, CaF2, SrTiO3.

Numbers are set on a grid of bins. A bin is not allowed where every number in it brings two atoms closer than
`CLOSEST` of their covalent radii: at the volume, those on fixed sites and images of one atom (the shape is
known by then); at the last coordinate of an orbit, its atoms and those placed so far (`_overlap_kernels.py`).
Where that leaves no bin all are allowed, so there is no dead end, and the reward counts the crystal as too
close.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from domains.crystals import _geometry_kernels as kernels
from domains.crystals import _overlap_kernels
from domains.crystals.crystals import Crystals
from domains.crystals.elements import Elements, neutral_states
from domains.crystals.orbits import OrbitEnvironment, OrbitState
from domains.crystals.wyckoff import PRIMITIVE, wyckoff

VOLUME_FACTORS = (0.6, 1.8)
N_SHAPE = (5, 3, 2, 1, 1, 1, 0)  # by crystal system
_PACKING = 0.74

SHAPE, VOLUME, COORDINATE = 0, 1, 2

CLOSEST = 0.7  # of the sum of covalent radii: no crystal is known below


class Parameters:
    """Counts and meanings of the parameters of an orbit environment's objects, and their crystals."""

    def __init__(self, environment: OrbitEnvironment) -> None:
        self.environment = environment
        table = wyckoff()
        groups = np.array(environment.groups) - 1
        self._system = table.system[groups].astype(np.int64)
        self._centring = table.centring[groups].astype(np.int64)
        self.n_shape = np.array(N_SHAPE)[self._system]
        place = environment.place
        self._multiplicity = table.multiplicity[place].astype(np.int64)
        self._free = table.free[place]
        self.n_free = self._free.sum(1)
        self._first_atom = table.first_atom[place]
        self._compositions: dict[bytes, tuple[np.ndarray, np.ndarray, float]] = {}
        self.most = 1 + 5 + 3 * environment.limits.most_atoms
        self._shape_of = torch.from_numpy(self.n_shape)
        self._free_of = torch.from_numpy(self.n_free)
        self._first = torch.from_numpy(environment.first)

    def places(self, state: OrbitState) -> Int[Tensor, "batch slot"]:
        first = self._first[state.group.clamp_min(0)].unsqueeze(1)
        return torch.where(state.position >= 0, first + state.position, -1)

    def free_numbers(self, state: OrbitState) -> Int[Tensor, "batch slot"]:
        """How many free coordinates each orbit has."""
        places = self.places(state)
        return torch.where(places >= 0, self._free_of[places], 0)

    def count(self, state: OrbitState) -> Int[Tensor, "batch"]:
        """How many parameters each object has."""
        coordinates = self.free_numbers(state).sum(1)
        return 1 + self._shape_of[state.group.clamp_min(0)] + coordinates

    def meaning(
        self, state: OrbitState, number: Int[Tensor, "batch"]
    ) -> tuple[Int[Tensor, "batch"], Int[Tensor, "batch"], Int[Tensor, "batch"]]:
        """Of parameter `number` of each object: its kind (volume, shape, coordinate), its place among
        the shape's parameters or the orbit's coordinates, and its orbit (0 where it has none)."""
        shape = self._shape_of[state.group.clamp_min(0)]
        kind = torch.where(number < shape, SHAPE, torch.where(number == shape, VOLUME, COORDINATE))
        free = self.free_numbers(state)
        ends = free.cumsum(1)
        inner = (number - 1 - shape).clamp_min(0)
        slot = (ends <= inner.unsqueeze(1)).sum(1).clamp_max(free.shape[1] - 1)
        begin = (ends - free).gather(1, slot.unsqueeze(1)).squeeze(1)
        coordinate = kind == COORDINATE
        axis = torch.where(coordinate, inner - begin, torch.where(kind == SHAPE, number, 0))
        return kind, axis, torch.where(coordinate, slot, 0)

    def crystals(self, state: OrbitState, values: Float[Tensor, "batch parameter"]) -> Crystals:
        """The crystals of finished objects."""
        env = self.environment
        group, position = state.group.numpy(), state.position.numpy()
        n, width = len(group), env.limits.most_atoms
        numbers = np.ascontiguousarray(values.double().numpy())
        charge_of, radius_of, ions_a3 = self._ions(state)
        low, high = np.log(VOLUME_FACTORS)
        factor = np.exp(low + (high - low) * numbers[np.arange(n), self.n_shape[group]])
        lattice, cartesian = np.empty((n, 3, 3)), np.zeros((n, width, 3))
        slot = np.empty((n, width), dtype=np.int64)
        table = wyckoff()
        kernels.build(
            *(group, position, numbers, ions_a3 * factor, self._system, self._centring, PRIMITIVE),
            *(self.n_shape, env.first, self._multiplicity, self._free, self._first_atom),
            *(table.matrix, table.offset, lattice, cartesian, slot),
        )
        kind = np.take_along_axis(state.element.numpy(), np.maximum(slot, 0), 1)
        kind = np.where(slot >= 0, kind, -1)
        there, rows = kind >= 0, np.arange(n)[:, None]
        return Crystals(
            env.elements,
            lattice,
            cartesian,
            kind,
            np.where(there, charge_of[rows, kind], 0.0),
            np.where(there, radius_of[rows, kind], 0.0),
            np.array(env.groups)[group],
        )

    def allowed_bins(
        self,
        state: OrbitState,
        values: Float[Tensor, "batch parameter"],
        n_set: Int[Tensor, "batch"],
        n_bins: int,
    ) -> Bool[Tensor, "batch bin"]:
        """Of finished objects with `n_set` numbers set, the bins of the next that need not bring atoms too
        close."""
        env, table = self.environment, wyckoff()
        element = state.element.numpy()
        radius = np.where(element >= 0, env.elements.covalent_radius_a[element], 0.0)
        allowed = np.empty((len(element), n_bins), dtype=np.bool_)
        _overlap_kernels.allowed_bins(
            *(state.group.numpy(), state.position.numpy(), values.double().numpy(), n_set.numpy()),
            *(radius, self._ions(state)[2], np.log(VOLUME_FACTORS), CLOSEST),
            *(self._system, self._centring, PRIMITIVE, self.n_shape, env.first),
            *(
                self._multiplicity,
                self._free,
                self._first_atom,
                table.matrix,
                table.offset,
                allowed,
            ),
        )
        return torch.from_numpy(allowed)

    def counts(self, state: OrbitState) -> Int[np.ndarray, "batch element"]:
        """Atoms of each element in the primitive cell."""
        places, element = self.places(state).numpy(), state.element.numpy()
        size = np.where(places >= 0, self._multiplicity[places], 0)
        found = np.zeros((len(places), len(self.environment.elements)), dtype=np.int64)
        rows = np.repeat(np.arange(len(places)), places.shape[1])
        np.add.at(found, (rows, np.maximum(element, 0).ravel()), size.ravel())
        return found

    def _ions(self, state: OrbitState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Oxidation states and radii by element, and the volume that the ions of a cell fill."""
        distinct, rows = np.unique(self.counts(state), axis=0, return_inverse=True)
        known = [self._composition(counts) for counts in distinct]
        charge, radius, volume = (np.array(part) for part in zip(*known, strict=True))
        return charge[rows], radius[rows], volume[rows]

    def _composition(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        key = counts.tobytes()
        if key not in self._compositions:
            self._compositions[key] = ions(self.environment.elements, counts)
        return self._compositions[key]


def ions(
    elements: Elements, counts: Int[np.ndarray, "element"]
) -> tuple[Float[np.ndarray, "element"], Float[np.ndarray, "element"], float]:
    """Oxidation state and ionic radius (A) of each element of a neutral composition, and the volume (A^3)
    that its ions fill. Raises ValueError for one that is not neutral."""
    kinds = counts.nonzero()[0]
    chosen = neutral_states(elements, kinds, counts[kinds])
    charge, radius = np.zeros(len(elements)), np.zeros(len(elements))
    if chosen is None:
        raise ValueError("this composition has no neutral choice of oxidation states")
    for kind, state in zip(kinds, chosen, strict=True):
        own = slice(elements.first_state[kind], elements.first_state[kind + 1])
        charge[kind] = state
        radius[kind] = elements.ionic_radius_a[own][elements.state[own] == state][0]
    spheres = 4.0 / 3.0 * math.pi * float((counts * radius**3).sum())
    return charge, radius, spheres / _PACKING
