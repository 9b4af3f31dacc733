"""Gaps are filled from what is known by then: from the same part, or from an earlier one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from gru_parallel.data.datamodule import SeriesDataModule
from gru_parallel.data.gaps import fill_gaps
from gru_parallel.data.parts import split_tables
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError

NAN = float("nan")


def tables_of(*series: Sequence[float]) -> list[Table]:
    """Series of one column."""
    return [Table(None, np.array(values)[:, None], ("a",), ("a",)) for values in series]


def filled(tables: list[Table], split: Sequence[float], by: str = "time") -> list[float]:
    values = np.concatenate([table.values for table in tables])
    filled_values: list[float] = fill_gaps(values, ("a",), split_tables(tables, split, by))[
        :, 0
    ].tolist()
    return filled_values


def test_in_training_a_gap_repeats_the_last_value_before_it_or_the_first_of_all() -> None:
    series = [NAN, 1, NAN, NAN, 4, NAN, 10, 20]
    assert filled(tables_of(series), [6, 1, 1]) == [1, 1, 1, 1, 4, 4, 10, 20]


def test_in_validation_and_test_a_gap_repeats_the_last_value_before_it() -> None:
    series = [1, 2, 10, NAN, NAN, 16, 20, NAN, 30]
    assert filled(tables_of(series), [2, 4, 3]) == [1, 2, 10, 10, 10, 16, 20, 20, 30]


def test_a_gap_where_a_part_begins_is_filled_from_the_part_before() -> None:
    series = [1, NAN, 3, NAN, NAN, 6, NAN, NAN, 9]
    assert filled(tables_of(series), [4, 3, 2]) == [1, 1, 3, 3, 3, 6, 6, 6, 9]


def test_each_series_is_filled_by_itself() -> None:
    tables = tables_of([1, NAN, 3, NAN, NAN], [NAN, 100, NAN, NAN, 200])
    assert filled(tables, [3, 1, 1]) == [1, 1, 3, 3, 3, 100, 100, 100, 100, 200]


def test_whole_series_are_filled_as_their_part_is() -> None:
    gaps = [1.0, NAN, 3.0]
    tables = tables_of(gaps, gaps, gaps)
    assert filled(tables, [1, 1, 1], by="series") == [1, 1, 3, 1, 1, 3, 1, 1, 3]


def test_where_nothing_is_known_yet_a_gap_is_the_training_mean() -> None:
    tables = tables_of([1, 3], [NAN, 50], [NAN, NAN, 70])
    assert filled(tables, [1, 1, 1], by="series") == [1, 3, 2, 50, 2, 2, 70]


def test_rows_of_no_part_stay_as_they_are() -> None:
    np.testing.assert_equal(filled(tables_of([1, 2, 3, NAN]), [1, 1, 1]), [1, 2, 3, NAN])


def test_without_gaps_nothing_is_copied() -> None:
    values = np.ones((4, 1))
    assert fill_gaps(values, ("a",), split_tables(tables_of([1, 1, 1, 1]), [2, 1, 1])) is values


@pytest.mark.parametrize("by", ["time", "series"])
def test_nothing_in_the_training_part_to_start_from_is_an_error(by: str) -> None:
    tables = [Table(None, np.array([[NAN], [2], [3]]), ("a",), ("a",), name) for name in "xyz"]
    tables[0] = Table(None, np.full((3, 1), NAN), ("a",), ("a",), "x")
    with pytest.raises(UsageError) as caught:
        filled(tables, [1, 1, 1], by)
    assert str(caught.value) == (
        "data.missing=interpolate cannot fill column 'a', which has no value in the training part "
        "of series 'x'; leave it out with data.columns or data.future, or change data.split."
    )


def data(values: np.ndarray, **options: Any) -> SeriesDataModule:
    columns = ("a", "b")
    series = np.split(values, 3) if options.get("split_by") == "series" else [values]
    tables = [Table(None, rows, columns, columns) for rows in series]
    return SeriesDataModule(
        tables, input_length=4, horizon=2, batch_size=8, centre="none", **options
    )


def with_gaps(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=(90, 2))
    values[random.random(values.shape) < 0.4] = NAN
    # Something is known in the first row of each series, and around each border there is nothing.
    values[::30] = 1.0
    for border in (29, 30, 31, 59, 60, 61):
        values[border, border % 2] = NAN
    return values


SPLITS = {"time": [30, 30, 30], "series": [1, 1, 1]}


def windows_of(module: SeriesDataModule, part: str) -> dict[str, torch.Tensor]:
    windows = module.dataset(part)
    return windows.__getitems__(range(len(windows)))


def assert_same_windows(one: SeriesDataModule, other: SeriesDataModule, part: str) -> None:
    expected = windows_of(other, part)
    for name, tensor in windows_of(one, part).items():
        # A series without a training part has no error of a season to compare with: NaN.
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("by", SPLITS)
def test_later_parts_change_nothing_in_earlier_ones(by: str) -> None:
    values = with_gaps(0)
    changed = values.copy()
    changed[30:] = with_gaps(1)[30:] * 1000
    before, after = (data(v, split=SPLITS[by], split_by=by) for v in (values, changed))
    assert (before.standardizer.mean == after.standardizer.mean).all()
    assert (before.standardizer.scale == after.standardizer.scale).all()
    assert_same_windows(before, after, "training")

    changed = values.copy()
    changed[60:] = with_gaps(1)[60:] * 1000
    after = data(changed, split=SPLITS[by], split_by=by)
    assert_same_windows(before, after, "validation")


@pytest.mark.parametrize("by", SPLITS)
@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_no_window_holds_what_it_is_to_forecast(by: str, part: str) -> None:
    values = with_gaps(2)
    options: dict[str, Any] = {"split": SPLITS[by], "split_by": by, "scaling": "none"}
    module = data(values, **options)
    inputs = windows_of(module, part)["x"]
    ends = module.dataset(part).rows_of(range(len(inputs))).ends.flatten().tolist()
    for window, end in enumerate(ends):
        changed = values.copy()
        changed[end:] = -1000
        after = data(changed, **options)
        assert torch.equal(inputs[window], after.dataset(part)[window]["x"])
