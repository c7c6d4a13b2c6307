"""Write element_references.json: the elemental crystals that formation energies are counted from.

    python domains/crystals/data/make_references.py MP-PBE-Element-Refs.json.gz

The input is a file of matcalc (BSD-3-Clause) with the polymorphs of 88 elements from the Materials Project
(CC BY 4.0). Of each element the polymorph of lowest energy there with at most 36 atoms is kept, with
the energy per atom that CHGNet 0.3.0 gives it.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

from chgnet.model import CHGNet
from pymatgen.core import Structure

_MOST_ATOMS = 36


def build(source: Path) -> dict[str, dict]:
    model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
    known = set(json.loads(Path(__file__).with_name("elements.json").read_text()))
    found = {}
    for symbol, record in json.loads(gzip.decompress(source.read_bytes())).items():
        pairs = zip(record["energy_per_atom"], record["structure"], strict=True)
        small = [pair for pair in pairs if len(pair[1]["sites"]) <= _MOST_ATOMS]
        if symbol not in known or not small:
            continue
        structure = Structure.from_dict(min(small, key=lambda pair: pair[0])[1])
        answer: Any = model.predict_structure(structure, task="e")
        energy = float(answer["e"])
        found[symbol] = {
            "lattice_a": structure.lattice.matrix.round(6).tolist(),
            "fractional": structure.frac_coords.round(6).tolist(),
            "energy_ev_per_atom": round(energy, 6),
        }
    return found


if __name__ == "__main__":
    lines = [f'"{k}": {json.dumps(v)}' for k, v in sorted(build(Path(sys.argv[1])).items())]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("element_references.json").write_text(text)
