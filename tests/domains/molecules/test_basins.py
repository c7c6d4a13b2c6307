"""Basins: reading, wrapping, populations and differences against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm.app
import pytest
import torch

from domains.molecules import basins
from domains.molecules.torsions import named_torsions
from workbench.errors import InputError
from workbench.samples import WeightedSamples

NAMED = {"phi2": (0, 1, 2, 3), "psi2": (1, 2, 3, 4)}


def _with_phi(phi: torch.Tensor) -> torch.Tensor:
    """Five atoms whose first torsion is `phi` [sample]."""
    x = torch.zeros((len(phi), 5, 3), dtype=torch.float64)
    x[:, 0, 0] = 1
    x[:, 2:, 2] = 1
    x[:, 3, 0], x[:, 3, 1] = phi.cos(), phi.sin()
    x[:, 4] = torch.tensor([0.3, 2.0, 1.7])
    return x


def _samples(x: torch.Tensor, **more: torch.Tensor) -> WeightedSamples:
    return WeightedSamples(x, torch.zeros(len(x)), **more)


def test_reading_a_basin() -> None:
    basin = basins.parse_basin("left=phi:0:2, torsion(0,1,2,4):-1:2,distance(0,3):0.1:2", 5, NAMED)
    assert basin.name == "left"
    assert [c.coordinate.name for c in basin.conditions] == [
        "phi",
        "torsion(0,1,2,4)",
        "distance(0,3)",
    ]
    assert [(c.low, c.high) for c in basin.conditions] == [(0, 2), (-1, 2), (0.1, 2)]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("a=phi:0:2", [False, False, True, False]),
        ("a=phi:2:0", [True, True, False, True]),
        ("a=phi:2:-2", [True, False, False, True]),
        ("a=phi:3:4", [True, False, False, True]),
        ("a=phi:-3.141592653589793:3.141592653589793", [True, True, True, True]),
        ("a=phi:0:2,distance(0,3):0:1.2", [False, False, False, False]),
    ],
)
def test_membership_wraps(text: str, inside: list[bool]) -> None:
    x = _with_phi(torch.tensor([-3.0, -1.0, 1.0, 3.1], dtype=torch.float64))
    assert basins.parse_basin(text, 5, NAMED).contains(x).tolist() == inside


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phi:0:2", "must be written NAME="),
        ("=phi:0:2", "must be written NAME="),
        ("a=phi:0", "with two numbers"),
        ("a=phi:x:2", "with two numbers"),
        ("a=phj:0:2", 'did you mean "phi"'),
        ("a=phi:0:120", "radians"),
        ("a=phi:nan:1", "radians"),
        ("a=phi:1:1", "is empty"),
        ("a=distance(0,1):2:1", "LOW < HIGH in nm"),
    ],
)
def test_bad_basins_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        basins.parse_basin(text, 5, NAMED)


def test_populations_and_difference_of_a_known_law(generator: torch.Generator) -> None:
    n, p = 20_000, 0.1
    right = torch.rand(n, generator=generator) < p
    x = _with_phi(torch.where(right, 1.0, -1.0).double())
    left, other = (basins.parse_basin(t, 5, NAMED) for t in ("neg=phi:-2:0", "pos=phi:0:2"))
    found = basins.populations(_samples(x), [left, other])[1]
    assert found.value is not None and found.n_samples == int(right.sum())
    assert found.value.stderr == pytest.approx(math.sqrt(p * (1 - p) / n), rel=0.2)
    assert abs(found.value.value - p) < 5 * found.value.stderr
    (difference,) = basins.free_energy_differences(_samples(x), [left, other], 2.494)
    kt, kj = difference.value_kt, difference.value_kj_per_mol
    assert kt is not None and kj is not None
    # Error of a log odds: 1/sqrt(n p (1-p)).
    assert kt.stderr == pytest.approx(1 / math.sqrt(n * p * (1 - p)), rel=0.2)
    assert abs(kt.value - math.log((1 - p) / p)) < 5 * kt.stderr
    assert kj.value == pytest.approx(2.494 * kt.value)


def test_weights_and_chains_enter(generator: torch.Generator) -> None:
    n, n_chains = 4000, 40
    right = (torch.arange(n) % 2).bool()
    x = _with_phi(torch.where(right, 1.0, -1.0).double())
    basin = basins.parse_basin("pos=phi:0:2", 5, NAMED)
    weights = torch.where(right, math.log(3.0), 0.0)
    (found,) = basins.populations(_samples(x, log_weights=weights), [basin])
    assert found.value is not None and found.value.value == pytest.approx(0.75)
    # Chains that sit in one basin each: the error is that of as many samples as there are chains.
    chain = torch.arange(n_chains).repeat_interleave(n // n_chains)
    x = _with_phi(torch.where(chain % 4 == 0, 1.0, -1.0).double())
    (stuck,) = basins.populations(_samples(x, chain=chain), [basin])
    assert stuck.value is not None and stuck.n_chains == 10
    assert stuck.value.stderr == pytest.approx(math.sqrt(0.25 * 0.75 / n_chains), rel=0.25)


def test_empty_basins_say_why() -> None:
    x = _with_phi(torch.full((100,), -1.0).double())
    full, empty = (basins.parse_basin(t, 5, NAMED) for t in ("neg=phi:-2:0", "pos=phi:0:2"))
    found = basins.populations(_samples(x), [empty])[0]
    assert found.value is None and "none of 100 samples" in found.why and "0.03" in found.why
    (difference,) = basins.free_energy_differences(_samples(x), [full, empty])
    assert difference.value_kt is None and "pos" in difference.why
    with pytest.raises(InputError, match="given twice"):
        basins.populations(_samples(x), [full, full])


def test_default_basins_of_the_dipeptide(reference_data: Callable[[str], Path]) -> None:
    h5py = pytest.importorskip("h5py")
    pdb = openmm.app.PDBFile(str(reference_data("boltzmann/alanine-dipeptide.pdb")))
    name = "boltzmann/alanine_dipeptide_ff96_obc1_300K_2000frames.h5"
    with h5py.File(reference_data(name)) as file:
        samples = _samples(torch.from_numpy(np.asarray(file["coordinates"])))
    chosen = basins.default_basins(pdb.topology)
    assert [basin.name for basin in chosen] == ["phi-positive", "alpha-r", "beta"]
    found = basins.populations(samples, chosen)
    assert sum(population.n_samples for population in found) == len(samples)
    assert found[0].value is not None
    # 18 of 2,000 frames, counted with mdtraj.
    assert found[0].value.value == pytest.approx(0.009)
    assert found[0].value.stderr == pytest.approx(math.sqrt(0.009 / 2000), rel=0.2)
    assert basins.parse_basin("x=phi:0:2", 22, named_torsions(pdb.topology)).conditions
