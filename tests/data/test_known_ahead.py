"""What is known ahead: rows ahead of a series, columns for two things, and batches."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gru_parallel.data import SeriesDataModule, SeriesFile, Table, load_tables
from gru_parallel.data.calendar_features import calendar_features
from gru_parallel.data.record import DataRecord
from gru_parallel.data.table import without_rows_ahead
from gru_parallel.errors import UsageError

Write = Callable[..., Path]

ROWS = "date,id,a,price,b\n" + "".join(
    f"2024-01-01T{hour:02},{name},{a},{hour}.5,{b}\n"
    for name, n_past in (("x", 6), ("y", 4))
    for hour in range(8)
    for a, b in [(hour * 7 % 5, hour * 3 % 4) if hour < n_past else ("", "")]
)
"""Series x has two rows ahead of it, y has four."""

N, LENGTH, HORIZON = 60, 6, 3


def read(path: Path, **options: Any) -> list[Table]:
    return load_tables(SeriesFile(path, series_column="id", future=["price"], **options))


def table(n_future: int = 1) -> Table:
    values = np.random.default_rng(0).normal(5, 2, size=(N, 2 + n_future))
    names = ("a", "b", "price", "plan")[: 2 + n_future]
    times = np.datetime64("2024-01-01", "h") + np.arange(N)
    return Table(times, values, names, ("b",), future=names[2:])


def test_columns_that_are_known_ahead_come_last_and_rows_ahead_are_no_rows(write: Write) -> None:
    x, y = read(write(ROWS))

    assert (x.columns, x.targets, x.future) == (("a", "b", "price"), ("a", "b"), ("price",))
    assert (x.n_rows, y.n_rows) == (6, 4)
    assert x.values[5].tolist() == [0, 3, 5.5]
    assert x.times is not None
    assert len(x.times) == 6


def test_a_row_without_values_that_others_follow_is_a_gap(write: Write) -> None:
    path = write(ROWS.replace("T02,x,4,2.5,2", "T02,x,,2.5,"))
    with pytest.raises(UsageError, match="series 'x': row 4, column 'a' is empty"):
        read(path)
    x, _ = read(path, missing="interpolate")
    assert np.isnan(x.values).tolist() == [[row == 2, row == 2, False] for row in range(6)]
    x, _ = read(path, missing="drop", frequency="none")
    assert x.n_rows == 5


def test_a_series_in_memory_may_have_rows_ahead_too() -> None:
    whole = table()
    values = whole.values.copy()
    values[-4:, :2] = np.nan
    past = without_rows_ahead(replace(whole, values=values))

    assert past.n_rows == N - 4
    assert past.times is not None
    assert len(past.times) == N - 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"future": ["prise"]}, "data.future=prise is not a column (did you mean 'price'?)"),
        ({"columns": ["a", "price"]}, "data.future and data.columns both name 'price'"),
        ({"targets": "price"}, "data.target and data.future both name 'price'"),
        ({"future": ["date"], "time_column": "date"}, "data.future=date is the time column"),
        ({"future": ["a", "b", "price"]}, "there is no value column"),
    ],
)
def test_a_column_is_one_thing(options: dict[str, Any], words: str, write: Write) -> None:
    with pytest.raises(UsageError) as caught:
        load_tables(
            SeriesFile(write(ROWS), **{"series_column": "id", "future": ["price"], **options})
        )
    assert words in str(caught.value)


def test_a_table_has_what_is_known_ahead_last() -> None:
    with pytest.raises(UsageError, match="last of the columns a, b, price"):
        replace(table(), future=("a",))
    with pytest.raises(UsageError, match="no targets"):
        replace(table(), targets=("price",))


@pytest.mark.parametrize("centre", ["last", "standardize", "none"])
@pytest.mark.parametrize("task", ["window", "every_step"])
def test_a_batch_has_what_is_known_of_its_rows_and_of_those_after_it(
    centre: str, task: str
) -> None:
    if task == "every_step" and centre != "none":
        return
    calendar = ["hour", "dayofweek"]
    options: dict[str, Any] = {"horizon": HORIZON, "batch_size": 8, "input_length": LENGTH}
    options |= {"centre": centre, "task": task, "min_input_length": 2}
    whole = table(2)
    data = SeriesDataModule(whole, calendar=calendar, **options)
    plain = SeriesDataModule(Table(whole.times, whole.values[:, :2], ("a", "b"), ("b",)), **options)

    windows, without = data.dataset("training"), plain.dataset("training")
    batch, expected = (each.__getitems__(range(len(each))) for each in (windows, without))
    scaled = data.standardizer.transform(whole.values)[:, 2:]
    assert whole.times is not None
    known = torch.tensor(
        np.concatenate([scaled, calendar_features(whole.times, calendar)], axis=1)
    ).float()

    assert list(batch) == [*expected, "future"] or set(batch) == {*expected, "future"}
    assert torch.equal(batch["x"][..., :2], expected["x"])
    assert all(torch.equal(batch[name], expected[name]) for name in expected if name != "x")
    for row, length in enumerate(batch["lengths"].tolist()):
        end = int(windows.rows_of([row]).ends)
        assert torch.equal(batch["x"][row, :length, 2:], known[end - length : end])
        assert not batch["x"][row, length:].any()
        assert torch.equal(batch["future"][row], known[end : end + HORIZON])


def test_what_is_known_ahead_is_scaled_where_values_are_left_as_they_are() -> None:
    data = SeriesDataModule(table(), input_length=4, horizon=2, batch_size=8, scaling="none")

    assert data.standardizer.mean[:2].tolist() == [0, 0]
    assert data.standardizer.scale[:2].tolist() == [1, 1]
    batch = data.dataset("training").__getitems__(range(10))
    prices = data.standardizer.transform(table().values)[4:6, 2]
    assert batch["future"][0, :, 0].tolist() == pytest.approx(prices.tolist())
    assert abs(float(data.standardizer.mean[2]) - 5) < 1


def test_a_record_tells_what_is_known_ahead() -> None:
    options: dict[str, Any] = {"horizon": 2, "batch_size": 8, "input_length": 4}
    data = SeriesDataModule(table(), calendar=["hour"], **options)
    record = DataRecord.from_state(data.record.state())

    assert record == data.record
    assert record.widths == data.widths
    assert (record.widths.n_channels, record.widths.n_known) == (2, 2)
    other = SeriesDataModule(table(), calendar=["month"], **options).record
    assert record.difference(other) == (
        "with the calendar features hour",
        "the calendar features month",
    )
    inside = SeriesDataModule(replace(table(), future=()), **options).record
    assert record.difference(inside) == (
        "with the columns known ahead price",
        "the columns known ahead none",
    )
