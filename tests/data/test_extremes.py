"""Numbers so large that they must stand for missing ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gru_parallel.data.datamodule import SeriesDataModule
from gru_parallel.data.extremes import stand_for_missing
from gru_parallel.data.series_outline import SeriesOutline
from gru_parallel.data.table import Table, tables_from_arrays
from gru_parallel.errors import UsageError
from tests.data.tables import load_table

Write = Callable[..., Path]

LARGEST = float(np.finfo(np.float64).max)
MARKS = [LARGEST, -LARGEST, float(np.finfo(np.float32).max), 9.96921e36, 1e20, -(2.0**63)]


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_named_by_row_and_column(write: Write, mark: float) -> None:
    path = write(f"a,b\n1,5\n2,{mark!r}\n3,7\n")
    with pytest.raises(UsageError) as caught:
        load_table(path)
    assert str(caught.value) == (
        f"data.path={path}: row 3, column 'b' holds {mark}, so much more than all others that it "
        "must stand for a missing value; correct it, or set data.missing=interpolate or "
        "data.missing=drop."
    )


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_filled_like_any_gap(write: Write, mark: float) -> None:
    rows = [f"{n % 7}" for n in range(40)]
    rows[5] = rows[30] = repr(mark)
    table = load_table(write("a\n" + "\n".join(rows) + "\n"), missing="interpolate")
    data = SeriesDataModule(table, input_length=3, horizon=1, batch_size=4)
    assert 0 < float(data.standardizer.scale[0]) < 10


def test_a_mark_in_an_array_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        tables_from_arrays([[[1.0, 2.0], [3.0, LARGEST]]])
    assert str(caught.value) == (
        f"arrays[0] holds {LARGEST} in row 1, column 'x1', so much more than all others that it "
        "must stand for a missing value; give finite numbers only."
    )


@pytest.mark.parametrize(
    "column",
    [
        [1e33, 2e33, 1.5e33],
        [0.0, 1e33, 2e33],
        [1e-17, 5.0, 3.0],
        [1.0, -9999.0, 3.0],
        [1e14, 1.0, 2.0],
        [10.0**n for n in range(30)],
    ],
)
def test_large_numbers_among_large_ones_are_measured(column: list[float]) -> None:
    assert not stand_for_missing(np.array(column)[:, None]).any()


@pytest.mark.parametrize(
    "column",
    [
        [0.0, 1e20, 0.0, -1e20],
        [0.0, 1e20, 1e36],
        [0.0, 1e20, LARGEST],
        [0.0, 0.5, 1e20],
    ],
)
def test_a_mark_beside_zeros_is_found(column: list[float]) -> None:
    found = stand_for_missing(np.array(column)[:, None])[:, 0]
    assert found.tolist() == [abs(value) >= 1e20 for value in column]


def test_gaps_are_no_zeros() -> None:
    assert not stand_for_missing(np.array([[np.nan], [1e20], [1e20]])).any()


def test_a_series_of_marks_alone_is_refused_beside_others() -> None:
    rows = np.arange(20.0)[:, None]
    tables = [
        Table(None, rows, ("a",), ("a",), "x"),
        Table(None, np.full((20, 1), 1e20), ("a",), ("a",), "y", source="data.path=s.csv"),
    ]
    how: dict[str, Any] = {"input_length": 2, "horizon": 1, "batch_size": 4}
    with pytest.raises(UsageError) as caught:
        SeriesOutline(tables, **how)
    assert str(caught.value) == (
        "data.path=s.csv: series 'y': column 'a' holds 1e+20, so much more than in all other"
        " series that it must stand for a missing value; leave the series or the column out, or,"
        " if it was measured, write the column in another unit."
    )
    SeriesOutline(tables[1], **how)


def test_several_marks_in_a_column_are_all_found() -> None:
    column = np.array([1.0, 1e20, 2.0, 1e36, np.nan, LARGEST])[:, None]
    assert stand_for_missing(column)[:, 0].tolist() == [False, True, False, True, False, True]
