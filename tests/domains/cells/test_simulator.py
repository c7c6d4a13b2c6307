"""The simulator against its own equations: drift, populations, networks, knock-outs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from domains.cells.circuits import NAMES, circuit
from domains.cells.simulator import advance, simulate, start
from workbench.errors import InputError


@pytest.mark.parametrize("name", NAMES)
def test_every_circuit_gives_what_it_promises(name, generator):
    made = circuit(name)
    found = simulate(made, 50, generator, n_trajectories=5)
    shots = found.snapshots
    assert shots.n_times == len(made.times) and shots.dim == len(made.genes)
    assert found.trajectories.shape == (len(made.times), 5, len(made.genes))
    assert float(torch.cat(shots.values).min()) >= 0
    data = found.anndata()
    assert data.n_obs == 50 * shots.n_times
    assert (data.layers["true_velocity"][:50] == made.drift(shots.cells(0), 0.0).numpy()).all()
    n_edges = sum(edge.source != edge.target for edge in made.edges)
    assert len(data.uns["network"]) == n_edges == int(made.network().sum())


def test_the_drift_is_the_mean_change(generator):
    made = replace(circuit("bifurcation"), noise=0.02)
    x = start(made, 1, generator).repeat(20_000, 1) + 0.3
    dt = 0.01
    change = (advance(made, x, 0.0, dt, generator) - x) / dt
    error = change.std(0) / math.sqrt(len(x))
    assert ((change.mean(0) - made.drift(x[:1], 0.0)[0]).abs() < 5 * error).all()


def test_births_and_deaths_give_the_exponential_law(generator):
    made = replace(circuit("switch"), birth_rate=0.5, death_rate=0.2)
    n, t = 4000, 2.0
    found = simulate(made, n, generator, times=(0.0, t))
    # variance of a linear birth-death process that starts from n cells
    b, d = 0.5, 0.2
    grown = math.exp((b - d) * t)
    spread = math.sqrt((b + d) / (b - d) * grown * (grown - 1) / n)
    assert abs(float(found.snapshots.population[1]) - grown) < 5 * spread + 0.01
    assert torch.allclose(found.growth[0], torch.full((n,), 0.3))


def test_growth_follows_its_gene(generator):
    made = circuit("toggle-with-growth")
    x = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert made.growth(x).tolist() == pytest.approx([0.0, 1.2 * 4 / 5])
    found = simulate(made, 300, generator)
    share = [float((x[:, 1] > x[:, 0]).float().mean()) for x in found.snapshots.values]
    assert abs(share[0] - 0.5) < 0.1 < share[-1] - 0.5
    assert float(found.snapshots.population[-1]) > 1.5


def test_a_knocked_out_gene_decays(generator):
    made = circuit("trifurcation").without("b")
    last = simulate(made, 100, generator, n_trajectories=2).snapshots.cells(5)
    assert float(last[:, 4].median()) < 0.01
    with pytest.raises(InputError, match='no gene "g9"'):
        made.without("g9")


def test_a_switch_ends_in_two_populations(generator):
    last = simulate(circuit("switch"), 200, generator).snapshots.cells(4)
    a, b = last.T
    assert 0.25 < float((a > b).float().mean()) < 0.75
    assert float((a - b).abs().quantile(0.25)) > 0.4


def test_a_seed_repeats_and_bad_times_are_refused():
    first, second = (
        simulate(circuit("cycle"), 20, torch.Generator().manual_seed(3)).snapshots.cells(2)
        for _ in range(2)
    )
    assert torch.equal(first, second)
    with pytest.raises(InputError, match="must ascend"):
        simulate(circuit("cycle"), 20, torch.Generator(), times=(1.0, 0.5))
    with pytest.raises(InputError, match="unknown circuit"):
        circuit("cicle")
