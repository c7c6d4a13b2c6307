"""An AnnData with a time column, read and checked: which cell was seen when.

Times are numbers (of any numeric dtype, or text that reads as numbers) or ordered categories. Ordered
categories that are no numbers are taken as 0, 1, 2, ... and the unit says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad

from domains.cells.snapshots import FEWEST_CELLS
from workbench.errors import InputError, nearest

INDEX_UNIT = "index of the time"


@dataclass(frozen=True, eq=False)
class Timecourse:
    """Cells with their times.

    data       the AnnData, with cells that have a time alone
    time_key   the column of `obs`
    times      [time] ascending, in `time_unit`
    names      what the column calls each time
    when       [cell] index into `times`
    """

    data: AnnData
    time_key: str
    times: np.ndarray
    time_unit: str
    names: tuple[str, ...]
    when: np.ndarray

    @property
    def n_times(self) -> int:
        return len(self.names)

    def at(self, index: int) -> np.ndarray:
        """[cell of this time] rows of `data` at one time."""
        return np.flatnonzero(self.when == index)

    def rows(self, left_out: int | None = None) -> np.ndarray:
        """Rows of all cells, without those of one time."""
        keep = np.ones(len(self.when), bool) if left_out is None else self.when != left_out
        return np.flatnonzero(keep)

    def index_of(self, name: str) -> int:
        """The index of the time called `name`, or equal to it as a number. Raises InputError."""
        for i, (known, value) in enumerate(zip(self.names, self.times, strict=True)):
            if name == known or _as_number(name) == value:
                return i
        raise InputError(
            f'there is no time "{name}" in {self.time_key}{nearest(name, self.names)}: it holds '
            f"{', '.join(self.names)}"
        )


def read_timecourse(
    path: Path, time_key: str, time_unit: str = "", bins: int | None = None
) -> Timecourse:
    """The cells of an .h5ad file, their times joined into `bins` where given. Raises InputError for a file
    that cannot be read or is unfit."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: give the path of an .h5ad file")
    try:
        data = read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read as .h5ad ({reason})") from error
    return timecourse(data, time_key, time_unit, bins)


def timecourse(
    data: AnnData, time_key: str, time_unit: str = "", bins: int | None = None
) -> Timecourse:
    """`data` with its time column read. Raises InputError for a missing column (naming those there
    are), times without a number or an order, one time alone, or a time with too few cells."""
    if time_key not in data.obs:
        columns = [str(column) for column in data.obs.columns]
        known = ", ".join(columns) or "no columns at all"
        raise InputError(
            f'there is no column "{time_key}" in obs{nearest(time_key, columns)}: it has {known}'
        )
    column = data.obs[time_key]
    n_missing = int(column.isna().sum())
    if n_missing:
        raise InputError(
            f"{n_missing} of {len(column)} cells have no time in {time_key}: leave them out of the file"
        )
    values, labels, unit = _numbers(column, time_key, time_unit)
    times, when = np.unique(values, return_inverse=True)
    names = tuple(str(labels[np.argmax(when == i)]) for i in range(len(times)))
    if len(times) < 2:
        raise InputError(
            f"all cells have the same {time_key} ({names[0]}): two or more times are needed"
        )
    course = Timecourse(data, time_key, times.astype(float), unit, names, when)
    if bins is not None:
        return binned(course, bins)
    for i, name in enumerate(names):
        n = int((when == i).sum())
        if n < FEWEST_CELLS:
            raise InputError(
                f"time {name} of {time_key} has {n} cells: leave it out of the file, or give "
                f"{FEWEST_CELLS} or more, or join times by --time-bins"
            )
    return course


def binned(course: Timecourse, n: int) -> Timecourse:
    """The times joined into `n` bins of about equally many cells, each at the mean time of its cells: for
    simulations and pseudotimes, where nearly every cell has a time of its own. Raises InputError."""
    if not 2 <= n < course.n_times:
        raise InputError(
            f"{course.n_times} times cannot be joined into {n} bins: give 2 or more, and fewer than there are"
        )
    value = course.times[course.when]
    edges = np.quantile(value, np.linspace(0, 1, n + 1))[1:-1]
    when = np.unique(np.searchsorted(edges, value, side="right"), return_inverse=True)[1]
    times = np.array([value[when == i].mean() for i in range(when.max() + 1)])
    for i, time in enumerate(times):
        if (size := int((when == i).sum())) < FEWEST_CELLS:
            raise InputError(f"the bin at time {time:g} has {size} cells: take fewer bins")
    names = tuple(f"{time:g}" for time in times)
    return Timecourse(course.data, course.time_key, times, course.time_unit, names, when)


def _numbers(column: pd.Series, key: str, unit: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The times as numbers, their labels, and the unit."""
    labels = column.astype(str).to_numpy()
    if pd.api.types.is_bool_dtype(column):
        raise InputError(f"{key} holds True and False: give a column of times")
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=float)
        labels = np.array([f"{value:g}" for value in values])
    else:
        as_numbers = pd.to_numeric(pd.Series(labels), errors="coerce").to_numpy(dtype=float)
        if np.isfinite(as_numbers).all():
            values = as_numbers
        elif isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered:
            return column.cat.codes.to_numpy(dtype=float), labels, unit or INDEX_UNIT
        else:
            seen = ", ".join(dict.fromkeys(labels[:1000]))[:120]
            raise InputError(
                f"times in {key} are neither numbers nor ordered categories ({seen}): make the column "
                "numeric, or an ordered categorical"
            )
    if not np.isfinite(values).all():
        raise InputError(f"{key} holds infinite times: leave those cells out of the file")
    return values, labels, unit


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def column_of(data: AnnData, key: str, what: str) -> Any:
    """A column of `obs` as an array of text; InputError that names the columns where it is missing."""
    if key not in data.obs:
        columns = [str(column) for column in data.obs.columns]
        raise InputError(
            f'there is no {what} column "{key}" in obs{nearest(key, columns)}: it has '
            f"{', '.join(columns)}"
        )
    return data.obs[key].astype(str).to_numpy()
