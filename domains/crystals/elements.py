"""Elements: oxidation states without zeros, radii and electronegativities, from the embedded table
(data/make_elements.py), and the sets of elements that runs name.

Within a run elements are ordered by electronegativity, so cations come before anions. A composition is
neutral when every element can be given one of its oxidation states so that the charges of all atoms sum to
zero (the rule of SMACT: Davies et al. 2019, JOSS 4, 1361).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from domains.crystals._neutral_kernels import least_unusual
from workbench.errors import InputError, nearest

# The main formation-energy run of Crystal-GFN (arXiv 2310.04925).
PUBLISHED = (
    *("H", "Li", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si"),
    *("P", "S", "Cl", "K", "V", "Mn", "Fe", "Co", "Ni", "Cu", "Se"),
)
G_PER_CM3 = 1.66053907  # one atomic mass unit per cubic angstrom
_UNUSUAL = 1
_AGAINST_ELECTRONEGATIVITY = 4


@cache
def records() -> dict[str, dict[str, Any]]:
    """The embedded table by symbol."""
    path = Path(__file__).parent / "data" / "elements.json"
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Elements:
    """The elements of a run, ascending in electronegativity.

    first_state            [element + 1], where the oxidation states of each begin
    state, state_cost      [state], and how unusual each is; a crystal has the cheapest neutral choice
    ionic_radius_a         [state]; `covalent_radius_a` [element]; in angstrom
    ion_cost_ev            [state] energy that an element's atom costs as this ion
    """

    symbols: tuple[str, ...]
    number: np.ndarray
    mass_amu: np.ndarray
    electronegativity: np.ndarray
    first_state: np.ndarray
    state: np.ndarray
    state_cost: np.ndarray
    ionic_radius_a: np.ndarray
    covalent_radius_a: np.ndarray
    ion_cost_ev: np.ndarray

    def __len__(self) -> int:
        return len(self.symbols)

    def index(self, symbol: str) -> int:
        return self.symbols.index(symbol)


def elements(symbols: Sequence[str]) -> Elements:
    """The elements named, or those of a published set ("published").

    Raises InputError for an unknown symbol, naming the nearest, a repeated one, and for an element
    without a known oxidation state."""
    table = records()
    chosen = list(PUBLISHED) if list(symbols) == ["published"] else list(symbols)
    for symbol in chosen:
        if symbol not in table:
            hint = nearest(symbol, [*table, "published"])
            raise InputError(f'"{symbol}" is no element with known oxidation states{hint}')
        if chosen.count(symbol) > 1:
            raise InputError(f'element "{symbol}" is named twice: name each once')
    chosen.sort(key=lambda s: (table[s]["electronegativity"], table[s]["number"]))
    rows = [table[symbol] for symbol in chosen]
    flat = [(state, row) for row in rows for state in row["oxidation_states"]]
    counts = [len(row["oxidation_states"]) for row in rows]
    return Elements(
        symbols=tuple(chosen),
        number=np.array([row["number"] for row in rows], dtype=np.int64),
        mass_amu=np.array([row["mass_amu"] for row in rows]),
        electronegativity=np.array([row["electronegativity"] for row in rows]),
        first_state=np.cumsum([0, *counts]),
        state=np.array([state for state, _ in flat], dtype=np.int64),
        state_cost=np.array([float(_UNUSUAL * (s not in row["common_states"])) for s, row in flat]),
        ionic_radius_a=np.array([radius for row in rows for radius in row["ionic_radii_a"]]),
        ion_cost_ev=np.array([cost for row in rows for cost in row["ion_cost_ev"]]),
        covalent_radius_a=np.array([row["covalent_radius_a"] for row in rows]),
    )


def neutral_states(
    chosen: Elements, kinds: Int[np.ndarray, "kind"], counts: Int[np.ndarray, "kind"]
) -> Int[np.ndarray, "kind"] | None:
    """The oxidation state of each element `kinds` (ascending) of a composition with these `counts`: of the
    neutral choices the least unusual, with the fewest pairs in which the more electronegative element is the
    positive one; None where no choice is neutral."""
    found = np.zeros(len(kinds), dtype=np.int64)
    neutral = least_unusual(
        *(chosen.first_state, chosen.state, chosen.state_cost),
        *(kinds, counts, float(_AGAINST_ELECTRONEGATIVITY), found),
    )
    return found if neutral else None
