"""Snapshots and time courses: what they hold, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from domains.cells.snapshots import make_snapshots
from domains.cells.timecourse import read_timecourse, timecourse
from workbench.errors import InputError
from workbench.problem import Snapshots


def course_data(times, n_genes: int = 6) -> AnnData:
    values = np.random.default_rng(0).poisson(2.0, (len(times), n_genes)).astype(np.float32)
    return AnnData(
        values, obs=pd.DataFrame({"day": times}, index=[f"c{i}" for i in range(len(times))])
    )


def test_snapshots_are_the_protocol_and_can_be_taken_apart():
    shots = make_snapshots([torch.randn(6, 2) for _ in range(4)], [0, 1, 4, 5], "h")
    assert isinstance(shots, Snapshots)
    kept = shots.without(1)
    assert kept.times.tolist() == [0.0, 4.0, 5.0]
    assert torch.equal(kept.cells(1), shots.cells(2))
    assert all(float(shots.weights(i).sum()) == pytest.approx(1.0) for i in range(4))


def test_shuffled_labels_keep_cells_and_sizes(generator):
    shots = make_snapshots([torch.full((n, 1), float(n)) for n in (5, 7, 9)], [0, 1, 2])
    shuffled = shots.shuffled(generator)
    assert [len(x) for x in shuffled.values] == [5, 7, 9]
    pooled = torch.cat(shots.values).flatten().sort().values
    assert torch.equal(torch.cat(shuffled.values).flatten().sort().values, pooled)
    assert not torch.equal(shuffled.cells(0), shots.cells(0))


@pytest.mark.parametrize(
    ("values", "times", "weights", "words"),
    [
        ([torch.zeros(6, 1)], [0], None, "one time point"),
        ([torch.zeros(6, 1), torch.zeros(2, 1)], [0, 3], None, "Time 3 has 2 cells"),
        ([torch.zeros(6, 1), torch.zeros(6, 1)], [1, 0], None, "do not ascend"),
        ([torch.zeros(6, 1), torch.full((6, 1), torch.nan)], [0, 1], None, "6 cells at time 1"),
        ([torch.zeros(6, 1)] * 2, [0, 1], [torch.ones(6), -torch.ones(6)], "Weights of the cells"),
    ],
)
def test_bad_snapshots_are_named(values, times, weights, words):
    with pytest.raises(InputError, match=words):
        make_snapshots(values, times, weights=weights)


@pytest.mark.parametrize(
    "times",
    [
        [0.0] * 6 + [24.0] * 6,
        ["0"] * 6 + ["24"] * 6,
        pd.Categorical(["24"] * 6 + ["0"] * 6).rename_categories({"24": "0", "0": "24"}),
    ],
)
def test_times_are_read_as_numbers(times):
    course = timecourse(course_data(times), "day")
    assert course.times.tolist() == [0.0, 24.0]
    assert course.index_of("24.0") == 1
    assert course.at(0).tolist() == list(range(6))
    assert course.rows(0).tolist() == list(range(6, 12))


def test_ordered_categories_become_index_times():
    times = pd.Categorical(["late"] * 6 + ["early"] * 6, categories=["early", "late"], ordered=True)
    course = timecourse(course_data(times), "day")
    assert course.names == ("early", "late")
    assert course.times.tolist() == [0.0, 1.0]
    assert course.time_unit == "index of the time"
    assert course.at(0).tolist() == list(range(6, 12))


@pytest.mark.parametrize(
    ("times", "key", "words"),
    [
        ([0.0] * 6 + [1.0] * 6, "dya", 'did you mean "day"'),
        ([0.0] * 12, "day", "all cells have the same day"),
        ([0.0] * 9 + [1.0] * 3, "day", "time 1 of day has 3 cells"),
        (["x"] * 6 + ["y"] * 6, "day", "neither numbers nor ordered categories"),
        ([0.0] * 6 + [np.nan] * 6, "day", "6 of 12 cells have no time"),
        ([True] * 6 + [False] * 6, "day", "True and False"),
    ],
)
def test_unfit_time_columns_are_refused_in_a_sentence(times, key, words):
    with pytest.raises(InputError, match=words):
        timecourse(course_data(times), key)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_timecourse(tmp_path / "none.h5ad", "day")
    (tmp_path / "bad.h5ad").write_text("no hdf5")
    with pytest.raises(InputError, match="cannot be read"):
        read_timecourse(tmp_path / "bad.h5ad", "day")


def test_a_time_per_cell_is_joined_into_bins_of_equal_size():
    data = course_data(list(np.arange(40.0)))
    with pytest.raises(InputError, match="or join times by --time-bins"):
        timecourse(data, "day")
    course = timecourse(data, "day", bins=4)
    assert [len(course.at(i)) for i in range(4)] == [10] * 4
    assert course.times.tolist() == [4.5, 14.5, 24.5, 34.5]
    with pytest.raises(InputError, match="cannot be joined into 40 bins"):
        timecourse(data, "day", bins=40)
    with pytest.raises(InputError, match="take fewer bins"):
        timecourse(data, "day", bins=10)
