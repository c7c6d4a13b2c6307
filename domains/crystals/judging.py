"""How good a sample of crystals is: validity, symmetry, uniqueness, novelty, structure types, coverage.

    valid       no two atoms closer than 0.5 A and more than 0.1 A^3 (CDVAE, Xie et al. 2022, arXiv 2110.06197)
    neutral     SMACT's test of charge neutrality, in its ICSD 2024 states without zeros
    faithful    spglib finds in the written CIF the space group that was sampled
    classes     crystals that pymatgen's StructureMatcher calls the same, primitive and scaled, over all samples
    novel       classes that match none of the given known structures

SMACT's test here is the rule of `elements.neutral_states`: one oxidation state per element.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from domains.crystals.crystals import Crystals
from domains.crystals.elements import neutral_states
from domains.crystals.fingerprint import fingerprints, neighbour_list
from domains.crystals.structures import SYMPREC_A, read_cif, space_group
from workbench.errors import InputError

_SHORTEST_A = 0.5
_SMALLEST_A3 = 0.1


def valid(crystals: Crystals) -> Bool[np.ndarray, "crystal"]:
    """Which crystals have no two atoms within 0.5 A and a volume."""
    first, _, _, _ = neighbour_list(crystals, _SHORTEST_A)
    owner = np.repeat(np.arange(len(crystals)), crystals.n_atoms)
    clashing = np.bincount(owner[first], minlength=len(crystals)) > 0
    return ~clashing & (crystals.volume_per_atom_a3 * crystals.n_atoms > _SMALLEST_A3)


def neutral(crystals: Crystals) -> Bool[np.ndarray, "crystal"]:
    """Which compositions are neutral with one oxidation state per element."""
    found = []
    for row in crystals.kind:
        kinds, counts = np.unique(row[row >= 0], return_counts=True)
        found.append(neutral_states(crystals.elements, kinds, counts) is not None)
    return np.array(found)


def faithful(paths: Sequence[Path], groups: Sequence[int]) -> Bool[np.ndarray, "crystal"]:
    """Which CIF files have the space group `groups[i]` at the tolerance of `SYMPREC_A`."""
    found = []
    for path, group in zip(paths, groups, strict=True):
        try:
            found.append(space_group(read_cif(path), SYMPREC_A) == group)
        except InputError:
            found.append(False)
    return np.array(found, dtype=np.bool_)


def classes(crystals: Crystals, cells: Sequence[Structure]) -> Int[np.ndarray, "crystal"]:
    """A number for each crystal, equal for those that match; numbers in order of first appearance."""
    keys = fingerprints(crystals)
    distinct = {key: i for i, key in reversed(list(enumerate(keys)))}
    rows = sorted(distinct.values())
    for i in rows:
        cells[i].properties["row"] = i
    matcher = StructureMatcher(primitive_cell=True, scale=True)
    number = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        groups = matcher.group_structures([cells[i] for i in rows])
    for group in groups:
        members = [cell.properties["row"] for cell in group]
        for member in members:
            number[member] = min(members)
    first = np.array([number[distinct[key]] for key in keys])
    return np.unique(first, return_inverse=True)[1]


def known_structures(folder: Path) -> list[Structure]:
    """The structures of a folder of CIF files. Raises InputError for an empty folder or a bad file."""
    paths = sorted(folder.glob("*.cif")) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder} holds no CIF files: name a folder with some, or leave it out")
    return [read_cif(path) for path in paths]


def novel(cells: Sequence[Structure], known: Sequence[Structure]) -> Bool[np.ndarray, "crystal"]:
    """Which structures match none of the known ones."""
    matcher = StructureMatcher(primitive_cell=True, scale=True)
    by_formula: dict[str, list[Structure]] = defaultdict(list)
    for structure in known:
        by_formula[structure.composition.reduced_formula].append(structure)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in cells:
            candidates = by_formula[cell.composition.reduced_formula]
            found.append(not any(matcher.fit(cell, other) for other in candidates))
    return np.array(found, dtype=np.bool_)


def entropy(labels: Sequence[object]) -> float:
    """Entropy in nats of the shares of equal labels."""
    shares = np.array(list(Counter(labels).values())) / len(labels)
    return float(-(shares * np.log(shares)).sum())


def median_and_error(values: Float[np.ndarray, "crystal"]) -> tuple[float, float]:
    """Median and its standard error by the order statistics one binomial deviation away."""
    ordered = np.sort(values)
    n, middle = len(ordered), np.median(values)
    off = 0.5 * np.sqrt(n)
    low, high = int(max(0, n / 2 - off)), int(min(n - 1, n / 2 + off))
    return float(middle), float(0.5 * (ordered[high] - ordered[low]))
