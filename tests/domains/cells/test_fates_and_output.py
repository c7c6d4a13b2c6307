"""Fates of known ends, population sizes of known growth, and files in the ecosystem's forms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from domains.cells.fates import clustered, fate_probabilities, labelled
from domains.cells.output import add_couplings, add_neighbours, cells_file, points_file
from domains.cells.population import given_sizes, sizes_from_growth
from domains.cells.representation import RepresentationOptions, fit_representation, snapshots_of
from domains.cells.timecourse import timecourse
from workbench.bridge.couplings.independent import independent_plan
from workbench.errors import InputError


def two_clouds(generator, n: int = 40) -> torch.Tensor:
    ends = torch.tensor([[-5.0, 0.0], [5.0, 0.0]]).repeat_interleave(n, 0)
    return ends + 0.3 * torch.randn(2 * n, 2, generator=generator)


def test_paths_are_counted_where_they_end(generator):
    last = two_clouds(generator)
    found = clustered(last)
    assert len(found.names) == 2 and "silhouette" in found.source
    left = found.member[0]
    ends = torch.tensor([[[-5.0, 0.0], [5.0, 0.0]], [[-5.0, 0.1], [-5.0, 0.0]]])
    share = fate_probabilities(ends, last, found)
    assert torch.allclose(share.sum(1), torch.ones(2, dtype=torch.float64))
    assert share[:, left].tolist() == pytest.approx([1.0, 0.5])
    named = labelled(["x"] * 40 + ["y"] * 40, "given")
    assert fate_probabilities(ends, last, named)[:, 0].tolist() == pytest.approx([1.0, 0.5])


def test_sizes_follow_a_known_growth():
    times = torch.tensor([0.0, 2.0, 3.0], dtype=torch.float64)
    growth = [torch.full((5,), 0.4)] * 3
    weights = [torch.full((5,), 0.2, dtype=torch.float64)] * 3
    found = sizes_from_growth(growth, weights, times)
    assert found.tolist() == pytest.approx([1.0, math.exp(0.8), math.exp(1.2)], rel=1e-6)
    assert given_sizes([2.0, 3.0], ["a", "b"]).tolist() == [1.0, 1.5]
    with pytest.raises(InputError, match="must be positive"):
        given_sizes([1.0, -1.0], ["a", "b"])
    with pytest.raises(InputError, match="no finite population size"):
        sizes_from_growth([torch.full((5,), 1e4)] * 3, weights, times)


def small_course():
    rng = np.random.default_rng(0)
    values = rng.poisson(3.0, (45, 9)).astype(np.float32)
    # times are mixed in the file, so that its order matters
    obs = pd.DataFrame({"day": np.tile([2, 0, 1], 15)}, index=[f"c{i}" for i in range(45)])
    return timecourse(AnnData(values, obs=obs), "day")


def test_velocities_of_genes_are_the_loadings_times_the_latent(tmp_path):
    course = small_course()
    space = fit_representation(course, RepresentationOptions(n_genes=6, n_components=3))
    points = space.points(course.data, np.arange(45))
    velocity = torch.randn(45, 3, generator=torch.Generator().manual_seed(1))
    data = cells_file(course, space, points, velocity, 0.1 * velocity.abs(), {"method": "x"})
    assert data.shape == (45, 6) and list(data.var_names) == list(
        course.data.var_names[space.columns]
    )
    np.testing.assert_allclose(
        data.layers["velocity"], velocity.numpy() @ space.loadings.T, atol=1e-6
    )
    step = space.genes(points + velocity) - data.layers["Ms"]
    np.testing.assert_allclose(step, data.layers["velocity"], atol=1e-5)
    data.write_h5ad(tmp_path / "x.h5ad")
    # the input itself is left as it was
    assert course.data.shape == (45, 9) and not course.data.layers


def test_neighbours_are_symmetric_and_complete():
    data = AnnData(np.zeros((20, 1), dtype=np.float32))
    points = np.arange(20.0)[:, None]
    add_neighbours(data, points)
    near = data.obsp["connectivities"].toarray()
    np.testing.assert_allclose(near, near.T)
    assert (np.diag(near) == 0).all()
    assert data.obsp["distances"][0, 1] == 1.0
    assert data.uns["neighbors"]["params"]["n_neighbors"] == 20


def test_couplings_join_cells_of_neighbouring_times(generator):
    course = small_course()
    data = AnnData(np.zeros((45, 1), dtype=np.float32))
    cells = torch.zeros(15, 1)
    plans = [independent_plan(cells, cells, generator=generator) for _ in range(2)]
    add_couplings(data, course, plans)
    rows, columns = data.obsp["coupling"].nonzero()
    assert (course.when[columns] == course.when[rows] + 1).all()
    assert data.obsp["coupling"].sum() == pytest.approx(2.0)


def test_deviations_of_genes_follow_from_those_of_features():
    course = small_course()
    space = fit_representation(course, RepresentationOptions(n_components=4))
    shots = snapshots_of(course, space)
    obs = pd.DataFrame({"time": np.zeros(15)})
    deviation = torch.ones(15, 4)
    data = points_file(space, course.data.var_names, shots.cells(0), obs, {}, deviation)
    expected = np.sqrt((space.loadings**2).sum(1))
    np.testing.assert_allclose(data.layers["std"][0], expected, rtol=1e-5)
