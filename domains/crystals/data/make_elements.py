"""Write elements.json: what the crystals domain knows of each element.

    python domains/crystals/data/make_elements.py

Oxidation states: SMACT's table of states with more than five reports in ICSD 2024 (smact, MIT); it holds no
zero state, so neutrality means something. Cation radii (Shannon's crystal radii less 0.14 A, in A),
electronegativities (Pauling) and the common oxidation states: pymatgen (MIT). Covalent radii (Cordero
2008, in A): pymatgen's copy. Anion radii: covalent radius + 0.75 A, within 0.06 A of Shannon's for O, F,
S, Cl, Se, Br; 1.40 A for the hydride. Ion costs, in eV per atom, for the ionic energy's Born-Haber cycle:
1.2 for leaving the element, then NIST's ionisation energies (pymatgen's copy), or the electron affinity and
7 eV more for every further electron.
"""

from __future__ import annotations

import json
from pathlib import Path

import smact
from pymatgen.analysis.local_env import CovalentRadius
from pymatgen.core import Element

_ANION_EXCESS_A = 0.75
_HYDRIDE_A = 1.40
_CRYSTAL_EXCESS_A = 0.14
_ATOMISE_EV = 1.2
_FURTHER_EV = 7.0
_LAST = 94
_TABLE = Path(smact.__file__).parent / "data" / "oxidation_states_icsd24_filtered.txt"


def _radius(element: Element, state: int, covalent_a: float) -> float:
    if state < 0:
        return _HYDRIDE_A if element.symbol == "H" else covalent_a + _ANION_EXCESS_A
    known = {
        int(k): float(v) - _CRYSTAL_EXCESS_A for k, v in element.ionic_radii.items() if k > 0 and v
    }
    if state in known:
        return max(known[state], 0.1)
    if known:  # a state that was not tabulated: 0.08 A less for each further charge
        nearest = min(known, key=lambda other: abs(other - state))
        return max(known[nearest] - 0.08 * (state - nearest), 0.1)
    return max(covalent_a - 0.15 * state - 0.2, 0.1)


def _cost_ev(element: Element, state: int) -> float | None:
    if state > 0:
        steps = element.ionization_energies[:state]
        return None if None in steps or len(steps) < state else _ATOMISE_EV + sum(steps)
    further = sum(_FURTHER_EV * k for k in range(1, -state))
    return _ATOMISE_EV - float(element.electron_affinity or 0.0) + further


def build() -> dict[str, dict]:
    states: dict[str, list[int]] = {}
    for line in _TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            symbol, *numbers = line.split()
            states[symbol] = [int(number) for number in numbers if int(number) != 0]
    found = {}
    for number in range(1, _LAST + 1):
        element = Element.from_Z(number)
        if not states.get(element.symbol):
            continue
        covalent_a = float(CovalentRadius.radius[element.symbol])
        costs = [_cost_ev(element, state) for state in states[element.symbol]]
        if None in costs:
            continue
        found[element.symbol] = {
            "number": number,
            "mass_amu": round(float(element.atomic_mass), 4),
            "electronegativity": round(float(element.X), 2),
            "covalent_radius_a": covalent_a,
            "oxidation_states": states[element.symbol],
            "common_states": [int(s) for s in element.common_oxidation_states if s != 0],
            "ionic_radii_a": [
                round(_radius(element, state, covalent_a), 3) for state in states[element.symbol]
            ],
            "ion_cost_ev": [round(cost, 3) for cost in costs if cost is not None],
        }
    return found


if __name__ == "__main__":
    lines = [f'"{symbol}": {json.dumps(record)}' for symbol, record in build().items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("elements.json").write_text(text)
