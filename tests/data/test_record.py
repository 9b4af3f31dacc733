"""A record tells other data from the same data, however that was read."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from gru_parallel.data import SeriesDataModule, Table
from gru_parallel.data.record import DataRecord
from gru_parallel.errors import UsageError

COLUMNS = ("a", "b", "c")


def record_of(
    values: np.ndarray,
    columns: tuple[str, ...] = COLUMNS,
    target: str = "a",
    weight: np.ndarray | None = None,
) -> DataRecord:
    table = Table(None, values, columns, (target,), weight=weight)
    return SeriesDataModule(table, input_length=4, horizon=2, batch_size=8).record


@pytest.fixture
def values() -> np.ndarray:
    walk = np.random.default_rng(0).normal(size=(100, 3)).cumsum(0)
    # A constant column, and one far from zero.
    return walk * [1.0, 0.0, 1e-3] + [0.0, 7.0, 1e6]


def test_a_record_comes_back_from_plain_values(values: np.ndarray) -> None:
    record = record_of(values)

    state = pickle.loads(pickle.dumps(record.state()))

    assert DataRecord.from_state(state) == record
    assert record.parts["training"].n_rows == 70
    assert record.parts["training"].scale[1] == 1.0


def test_the_last_digits_make_no_other_data(values: np.ndarray) -> None:
    rounded = values * (1 + 1e-15)

    record_of(values).check_same(record_of(rounded))


@pytest.mark.parametrize("row", [0, 75, 99])
def test_one_other_value_in_any_part_does(row: int, values: np.ndarray) -> None:
    other = values.copy()
    other[row, 2] += 1e-3

    with pytest.raises(
        UsageError, match=r"column c of the (training|validation|test) part has mean"
    ):
        record_of(values).check_same(record_of(other))


def test_rows_columns_and_targets_are_compared(values: np.ndarray) -> None:
    record = record_of(values)

    with pytest.raises(UsageError, match=r"with 70 rows in its training part, and .+ has 63 rows"):
        record.check_same(record_of(values[:90]))
    with pytest.raises(UsageError, match=r"with the columns a, b, c, and .+ the columns a, b, d"):
        record.check_same(replace(record, columns=["a", "b", "d"]))
    with pytest.raises(UsageError, match=r"with the targets a, and this run has the targets b"):
        record.check_same(record_of(values, target="b"))


def test_weights_of_rows_are_compared_where_a_run_goes_on(values: np.ndarray) -> None:
    weight, other = np.ones(100), np.ones(100)
    weight[::2] = other[::3] = 0.5
    record = record_of(values, weight=weight)

    DataRecord.from_state(record.state()).check_same(record_of(values, weight=weight))
    with pytest.raises(
        UsageError, match=r"with weights of rows that have mean .+ and this run has"
    ):
        record.check_same(record_of(values, weight=other))
    with pytest.raises(UsageError, match="this run has weights that are all alike"):
        record.check_same(record_of(values, weight=np.ones(100)))
    assert record.difference(record_of(values, weight=other)) is None
