"""Formation energies by CHGNet (Deng et al. 2023, Nature Machine Intelligence 5, 1031; weights 0.3.0, which
come with the package): energy per atom less that of the elements, both evaluated with CHGNet itself.

CHGNet's energies hold the Materials Project's 2020 anion corrections; they are not to be mixed with those of
other models. Energies are kept by fingerprint (`fingerprint.py`), so a crystal is evaluated once, in
whatever cell it comes. A crystal that CHGNet cannot see (an atom without neighbours within 6 A) counts as
infinitely high.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pymatgen.core import Structure

from domains.crystals.crystals import Crystals
from domains.crystals.fingerprint import fingerprints
from domains.crystals.structures import structures
from workbench.errors import InputError
from workbench.training.processes import divided

MODEL = "0.3.0"
BATCH = 32
_FEWEST_PER_PROCESS = 64


@cache
def references_ev_per_atom() -> dict[str, float]:
    """CHGNet's energy of each element's reference crystal (data/make_references.py)."""
    path = Path(__file__).parent / "data" / "element_references.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {symbol: record["energy_ev_per_atom"] for symbol, record in stored.items()}


@cache
def model(device: str = "cpu") -> Any:
    """CHGNet, loaded once per process. Raises InputError where it is not installed."""
    try:
        from chgnet.model import CHGNet
    except ImportError as error:
        raise InputError(
            "CHGNet is not installed: pip install 'sampling-workbench[crystals]', or take "
            "--energy ionic"
        ) from error
    with contextlib.redirect_stdout(io.StringIO()):  # it greets
        return CHGNet.load(model_name=MODEL, use_device=device, verbose=False)


def energies_ev_per_atom(cells: Sequence[Structure], device: str = "cpu") -> list[float]:
    """CHGNet's own energies; infinite where it sees an isolated atom."""
    net = model(device)
    graphs, rows = [], []
    for i, cell in enumerate(cells):
        try:
            graphs.append(net.graph_converter(cell))
        except ValueError:
            continue
        rows.append(i)
    found = [float("inf")] * len(cells)
    if graphs:
        order = sorted(range(len(graphs)), key=lambda i: len(graphs[i].atom_graph))
        answers = net.predict_graph([graphs[i] for i in order], task="e", batch_size=BATCH)
        answers = answers if len(graphs) > 1 else [answers]
        for i, answer in zip(order, answers, strict=True):
            found[rows[i]] = float(answer["e"])
    return found


class ChgnetEnergy:
    """Formation energies of crystals; `n_evaluations` counts calls of the network, cached ones not.

    n_processes   workers among which larger batches are divided
    device        where the network runs: "cpu" or "cuda"
    """

    name = f"CHGNet {MODEL}"

    def __init__(self, n_processes: int = 1, device: str = "cpu") -> None:
        model(device)
        self.n_evaluations = 0
        self.n_processes, self.device = n_processes, device
        self._known: dict[bytes, float] = {}

    def __deepcopy__(self, memo: dict) -> ChgnetEnergy:
        """Itself: copies of a policy share the cache."""
        return self

    def formation_energy_ev_per_atom(self, crystals: Crystals) -> Float[np.ndarray, "crystal"]:
        """Formation energy in eV per atom; infinite where an atom has no neighbours.

        Raises InputError for an element without a reference."""
        reference = _references(crystals)
        keys = fingerprints(crystals)
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            values = self._evaluate(structures(crystals.select(list(new.values()))))
            self._known.update(zip(new, values, strict=True))
            self.n_evaluations += len(new)
        return np.array([self._known[key] for key in keys]) - reference

    def state_dict(self) -> dict[str, Any]:
        """What is known so far, so that a resumed run asks for nothing twice."""
        keys = np.frombuffer(b"".join(self._known), dtype=np.uint8)
        return {
            "keys": keys.copy(),
            "values": np.array(list(self._known.values())),
            "n_evaluations": self.n_evaluations,
        }

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        n = len(stored["values"])
        keys = [bytes(row) for row in stored["keys"].reshape(n, -1)] if n else []
        self._known = dict(zip(keys, stored["values"].tolist(), strict=True))
        self.n_evaluations = stored["n_evaluations"]

    def _evaluate(self, cells: list[Structure]) -> list[float]:
        n = min(self.n_processes, len(cells) // _FEWEST_PER_PROCESS)
        return divided(f"{__name__}:energies_ev_per_atom", cells, n, self.device)


def check_elements(symbols: Sequence[str]) -> None:
    """Raises InputError for an element that CHGNet has no reference for."""
    for symbol in symbols:
        if symbol not in references_ev_per_atom():
            raise InputError(
                f"there is no elemental reference for {symbol} in CHGNet's formation energies: leave "
                "it out, or take --energy ionic"
            )


def _references(crystals: Crystals) -> Float[np.ndarray, "crystal"]:
    """Mean elemental energy of each crystal's atoms, eV/atom."""
    check_elements(crystals.elements.symbols)
    table = references_ev_per_atom()
    energy = np.array([table[symbol] for symbol in crystals.elements.symbols])
    atoms = np.where(crystals.kind >= 0, energy[crystals.kind], 0.0)
    return atoms.sum(1) / crystals.n_atoms
