"""Genes to points and back: linear, fitted without the held-out time, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy
import torch
from anndata import AnnData
from scipy import sparse

from domains.cells.representation import (
    RepresentationOptions,
    fit_representation,
    log_expression,
    scaled_dispersion,
    snapshots_of,
)
from domains.cells.timecourse import timecourse
from workbench.errors import InputError


def counts(seed: int = 0, n: int = 60, n_genes: int = 40) -> AnnData:
    rng = np.random.default_rng(seed)
    values = rng.poisson(0.5 + rng.gamma(1.0, 3.0, n_genes), (n, n_genes)).astype(np.float32)
    values[40:] += rng.poisson(6.0, (n - 40, n_genes)) * (np.arange(n_genes) < 5)
    obs = pd.DataFrame({"day": np.repeat([0, 1, 2], 20)}, index=[f"c{i}" for i in range(n)])
    return AnnData(sparse.csr_matrix(values), obs=obs)


@pytest.mark.parametrize("n_components", [3, 39])
def test_components_are_those_of_an_svd_and_go_back_to_genes(n_components):
    course = timecourse(counts(), "day")
    options = RepresentationOptions(n_components=n_components)
    space = fit_representation(course, options)
    values = log_expression(course.data, course.rows(), np.arange(40), "counts")
    points = space.points(course.data, course.rows()).numpy()
    singular = np.linalg.svd(values - values.mean(0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), singular[:n_components], rtol=1e-3)
    if n_components == 39:  # nearly all of the variance: back to the same expression
        back = space.genes(torch.from_numpy(points))
        assert np.abs(back - values).max() < np.abs(values - values.mean(0)).max() * 0.5
    velocity = torch.ones(2, n_components)
    np.testing.assert_allclose(space.gene_velocity(velocity), velocity.numpy() @ space.loadings.T)


def test_the_held_out_time_has_no_say():
    data = counts()
    options = RepresentationOptions(n_genes=10, n_components=2)
    space = fit_representation(timecourse(data, "day"), options, left_out=2)
    changed = data.copy()
    changed.X = changed.X.toarray()
    changed.X[40:] = np.random.default_rng(5).poisson(50.0, changed.X[40:].shape)
    again = fit_representation(timecourse(changed, "day"), options, left_out=2)
    np.testing.assert_array_equal(space.columns, again.columns)
    np.testing.assert_array_equal(space.loadings, again.loadings)
    np.testing.assert_array_equal(space.mean, again.mean)
    with_it = fit_representation(timecourse(changed, "day"), options)
    assert not np.array_equal(space.columns, with_it.columns)


def test_dispersions_are_those_of_scanpy():
    data = counts(n_genes=400)
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    scanpy.pp.highly_variable_genes(data, flavor="seurat", n_top_genes=100)
    values = np.expm1(data.X.toarray())
    ours = scaled_dispersion(values.mean(0), values.var(0, ddof=1))
    theirs = data.var["dispersions_norm"].to_numpy()
    # genes that lie on the edge between two bins may fall on its other side
    assert (np.abs(ours - theirs) < 1e-3 * (1 + np.abs(theirs))).mean() > 0.98


def test_normalisation_is_that_of_scanpy():
    data = counts()
    ours = log_expression(data, np.arange(60), np.arange(40), "counts")
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    np.testing.assert_allclose(ours, data.X.toarray(), rtol=1e-5)


def test_a_given_representation_is_taken_as_it_is_and_marked():
    data = counts()
    data.obsm["X_latent"] = np.random.default_rng(1).normal(7.0, 3.0, (60, 4))
    course = timecourse(data, "day")
    space = fit_representation(course, RepresentationOptions(use_rep="X_latent"))
    shots = snapshots_of(course, space)
    np.testing.assert_allclose(shots.cells(1), data.obsm["X_latent"][20:40], rtol=1e-6)
    assert "has seen the held-out" in space.leaks
    with pytest.raises(InputError, match="no linear map back"):
        space.genes(torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("options", "change", "words"),
    [
        ({"use_rep": "X_lat"}, None, 'no representation "X_lat"'),
        ({"layer": "raw"}, None, 'no layer "raw"'),
        ({}, -1.0, "negative values"),
        ({}, np.nan, "NaN"),
        ({"normalise": "log"}, -1.0, "negative values"),
    ],
)
def test_what_cannot_be_used_is_named(options, change, words):
    data = counts()
    if change is not None:
        values = data.X.toarray()
        values[3, 4] = change
        data.X = values
    with pytest.raises(InputError, match=words):
        fit_representation(timecourse(data, "day"), RepresentationOptions(**options))


def test_negative_values_are_fine_where_no_logarithm_is_taken():
    data = counts()
    data.X = data.X.toarray() - 3.0
    space = fit_representation(timecourse(data, "day"), RepresentationOptions(normalise="none"))
    assert space.points(data, np.arange(5)).shape == (5, 5)
