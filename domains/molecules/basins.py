"""Basins of a molecule: populations and free-energy differences between them, with errors.

    p_A = < 1_A >,   Delta F(A -> B) = -kT log(p_B / p_A)

A basin is written NAME=COORDINATE:LOW:HIGH with further conditions after commas, all of which must
hold: "left=phi:0:2,psi:-1:2". Coordinates are those of `torsions`; torsions in radians, distances
in nm. A torsion interval with LOW > HIGH passes through pi: "phi:2:-2".

Errors are bootstrap errors over the chains of the samples. That of the difference is the error of
the mean of 1_B/p_B - 1_A/p_A, its first-order form; it holds while both populations are known to
well below their own size. The number of samples and of chains inside a basin is given for that
judgement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domains.molecules.torsions import Coordinate, named_torsions, parse_coordinate
from workbench.errors import InputError
from workbench.problem import Estimate
from workbench.samples import WeightedSamples

_ONE_TURN = 2 * math.pi


@dataclass(frozen=True)
class Condition:
    """A coordinate between two bounds, in radians (wrapping) or nm."""

    coordinate: Coordinate
    low: float
    high: float

    def holds(self, x_nm: Float[Tensor, "sample atom 3"]) -> Bool[Tensor, "sample"]:
        values = self.coordinate.values(x_nm).double()
        if not self.coordinate.is_torsion:
            return (values >= self.low) & (values <= self.high)
        width = self.high - self.low
        return torch.remainder(values - self.low, _ONE_TURN) <= width % (_ONE_TURN + 1e-9)


@dataclass(frozen=True)
class Basin:
    """A named region of configurations: all conditions hold."""

    name: str
    conditions: tuple[Condition, ...]
    text: str

    def contains(self, x_nm: Float[Tensor, "sample atom 3"]) -> Bool[Tensor, "sample"]:
        inside = torch.ones(len(x_nm), dtype=torch.bool)
        for condition in self.conditions:
            inside &= condition.holds(x_nm).cpu()
        return inside


@dataclass(frozen=True)
class Population:
    """Share of the weight in a basin; `value` is None with a `why` where no sample lies in it."""

    basin: str
    value: Estimate | None
    n_samples: int
    n_chains: int | None
    why: str = ""


@dataclass(frozen=True)
class FreeEnergyDifference:
    """F(end) - F(start) in kT, and in kJ/mol where the temperature is given; None with a `why`."""

    start: str
    end: str
    value_kt: Estimate | None
    value_kj_per_mol: Estimate | None
    why: str = ""


def parse_basin(
    text: str, n_atoms: int, torsions: Mapping[str, tuple[int, int, int, int]]
) -> Basin:
    """The basin written as NAME=COORDINATE:LOW:HIGH[,COORDINATE:LOW:HIGH...].

    `torsions` as given by `torsions.named_torsions`. Raises `InputError` where it cannot be read.
    """
    name, equals, rest = text.partition("=")
    name = name.strip()
    if not equals or not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f'The basin "{text}" must be written NAME=COORDINATE:LOW:HIGH.')
    conditions = tuple(
        _parse_condition(part, text, n_atoms, torsions) for part in re.split(r",(?![^()]*\))", rest)
    )
    return Basin(name, conditions, rest.strip())


def default_basins(topology: Any) -> list[Basin]:
    """For each residue with phi and psi: "phi-positive" (0 < phi < 2), and with the rest of the
    torus "alpha-r" (-2.2 < psi < 0.5) and "beta" (C5, PII and C7eq). Residue numbers are added to
    the names where there are several residues."""
    torsions = named_torsions(topology)
    places = [n[3:] for n in torsions if n.startswith("phi") and f"psi{n[3:]}" in torsions]
    basins = []
    for place in places:
        tag = f"-{place}" if len(places) > 1 else ""
        for text in (
            f"phi-positive{tag}=phi{place}:0:2",
            f"alpha-r{tag}=phi{place}:2:0,psi{place}:-2.2:0.5",
            f"beta{tag}=phi{place}:2:0,psi{place}:0.5:-2.2",
        ):
            basins.append(parse_basin(text, topology.getNumAtoms(), torsions))
    return basins


def populations(samples: WeightedSamples, basins: Sequence[Basin]) -> list[Population]:
    """Population of each basin with its standard error; `samples.x` in nm [sample, atom, 3]."""
    _refuse_repeated(basins)
    return [_population(samples, basin.name, basin.contains(samples.x)) for basin in basins]


def free_energy_differences(
    samples: WeightedSamples,
    basins: Sequence[Basin],
    kt_kj_per_mol: float | None = None,
) -> list[FreeEnergyDifference]:
    """F of every later basin relative to the first, in kT and (with `kt_kj_per_mol`) in kJ/mol."""
    _refuse_repeated(basins)
    if not basins:
        return []
    first, *others = [(basin.name, basin.contains(samples.x)) for basin in basins]
    return [_difference(samples, first, other, kt_kj_per_mol) for other in others]


def _parse_condition(
    part: str, text: str, n_atoms: int, torsions: Mapping[str, tuple[int, int, int, int]]
) -> Condition:
    pieces = part.rsplit(":", 2)
    try:
        name, low, high = pieces[0], float(pieces[1]), float(pieces[2])
    except (IndexError, ValueError):
        raise InputError(
            f'"{part}" in the basin "{text}" must be written COORDINATE:LOW:HIGH with two numbers.'
        ) from None
    coordinate = parse_coordinate(name, n_atoms, torsions)
    if coordinate.is_torsion and not max(abs(low), abs(high)) <= _ONE_TURN:
        raise InputError(f'"{part}" must give its bounds in radians, between -pi and pi.')
    if low == high or (not coordinate.is_torsion and not 0 <= low < high):
        raise InputError(f'"{part}" is empty: give bounds LOW < HIGH in {coordinate.unit}.')
    return Condition(coordinate, low, high)


def _refuse_repeated(basins: Sequence[Basin]) -> None:
    names = [basin.name for basin in basins]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f'The basin "{repeated[0]}" is given twice: name each one differently.')


def _weight_inside(samples: WeightedSamples, inside: Tensor) -> float:
    return float(samples.weights()[inside].sum())


def _why_empty(samples: WeightedSamples, name: str) -> str:
    return (
        f"none of {len(samples)} samples (effective {samples.ess():.0f}) has weight in {name}: its "
        f"population is probably below {min(1.0, 3 / samples.ess()):.1g}"
    )


def _population(samples: WeightedSamples, name: str, inside: Tensor) -> Population:
    n_inside = int(inside.sum())
    n_chains = None if samples.chain is None else len(samples.chain[inside].unique())
    if not _weight_inside(samples, inside):
        return Population(name, None, n_inside, n_chains, _why_empty(samples, name))
    return Population(name, samples.expectation(inside.double()), n_inside, n_chains)


def _difference(
    samples: WeightedSamples,
    start: tuple[str, Tensor],
    end: tuple[str, Tensor],
    kt_kj_per_mol: float | None,
) -> FreeEnergyDifference:
    shares = {}
    for name, inside in (start, end):
        shares[name] = _weight_inside(samples, inside)
        if not shares[name]:
            why = _why_empty(samples, name)
            return FreeEnergyDifference(start[0], end[0], None, None, why)
    p_start, p_end = shares[start[0]], shares[end[0]]
    slope = end[1].double() / p_end - start[1].double() / p_start
    difference = Estimate(-math.log(p_end / p_start), samples.expectation(slope).stderr)
    in_kj = None
    if kt_kj_per_mol is not None:
        in_kj = Estimate(difference.value * kt_kj_per_mol, difference.stderr * kt_kj_per_mol)
    return FreeEnergyDifference(start[0], end[0], difference, in_kj)
