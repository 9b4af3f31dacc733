from typing import Any

import numpy as np
import pytest

from gru_parallel.data.table import Table, tables_from_arrays
from gru_parallel.errors import UsageError


def test_a_table_refuses_values_that_do_not_fit_its_columns() -> None:
    with pytest.raises(UsageError) as caught:
        Table(None, np.zeros((5, 3)), ("a", "b"), ("a",))
    assert str(caught.value) == (
        "values has the shape (5, 3), which does not fit 2 columns; give an array of shape "
        "(rows, 2)."
    )


def test_a_table_refuses_a_target_that_is_no_column() -> None:
    with pytest.raises(UsageError, match=r"data\.target=c is not a column"):
        Table(None, np.zeros((5, 2)), ("a", "b"), ("c",))


def test_a_table_makes_arrays_and_tuples_of_lists() -> None:
    lists: dict[str, Any] = {
        "times": [3, 4],
        "values": [[1, 2], [3, 4]],
        "columns": ["a", "b"],
        "targets": ["a"],
        "future": ["b"],
        "weight": [0, 1],
    }
    table = Table(**lists)
    assert (table.columns, table.targets, table.future) == (("a", "b"), ("a",), ("b",))
    assert (table.times.tolist(), table.weight.tolist()) == ([3, 4], [0.0, 1.0])
    assert table.values.dtype == table.weight.dtype == np.float64
    assert Table(**{**lists, "columns": ["a1", "b"], "targets": "a1"}).targets == ("a1",)


HOURS = np.datetime64("2026-01-01T00", "h") + np.arange(3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"values": [[1, 2], [3, np.inf], [5, 6]]},
            "values holds inf in row 1, column 'b'; give finite numbers, or NaN for a gap.",
        ),
        ({"values": [[1, 2], [3, 1e30], [5, 6]]}, "1e+30 in row 1, column 'b', so much more than"),
        ({"values": [["x", 2], [3, 4], [5, 6]]}, "values cannot be read as numbers (could not"),
        ({"times": HOURS[:2]}, "times has the shape (2,), and values has 3 rows; give one time"),
        ({"times": [*HOURS[:2], np.datetime64("NaT")]}, "times holds NaT in row 2; give each"),
        ({"times": [1.0, 2.0, np.nan]}, "times holds nan in row 2; give each row its time."),
        (
            {"times": np.arange(3).astype("datetime64[ps]")},
            "times holds datetime64[ps], and dates are known to the nanosecond; give times.astype",
        ),
        ({"times": ["2026-1-1"] * 3}, "times holds texts; give an array of dates or of numbers"),
        (
            {"times": [1, 2, 2]},
            "times does not ascend: row 2 repeats the time of row 1, 2; keep one of them.",
        ),
        (
            {"times": HOURS[::-1]},
            "row 1 (2026-01-01T01) is earlier than row 0 (2026-01-01T02); sort the rows",
        ),
        ({"weight": [1, -1, 1]}, "weight has the shape (3,), and 1 of its numbers are below 0"),
        ({"weight": [[1], [1, 2]]}, "weight cannot be read as numbers"),
    ],
)
def test_a_table_refuses_what_is_no_series_in_the_words_of_its_arguments(
    changed: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"times": None, "values": np.ones((3, 2)), **changed}
    with pytest.raises(UsageError) as caught:
        Table(columns=("a", "b"), targets=("a",), name="x", **given)
    assert str(caught.value).startswith("series 'x': ")
    assert message in str(caught.value)


def test_arrays_become_named_tables() -> None:
    of_one_array: Any = np.ones((4, 3, 2))
    assert len(tables_from_arrays(of_one_array)) == 4
    first, second = tables_from_arrays([np.ones((3, 2)), [[1, 2]]], ["a", "b"], "b")
    assert (first.name, second.name) == ("0", "1")
    assert first.values.shape == (3, 2)
    assert second.values.tolist() == [[1.0, 2.0]]
    assert first.columns == second.columns == ("a", "b")
    assert first.targets == second.targets == ("b",)


def test_arrays_without_names_get_columns_that_count() -> None:
    (table,) = tables_from_arrays([np.zeros((4, 3))])
    assert table.columns == table.targets == ("x0", "x1", "x2")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "arrays=[] holds no series; give at least one array."),
        (
            [np.zeros((4, 2)), np.zeros((4, 3))],
            "arrays[1] has the shape (4, 3), which does not fit 2 columns; give an array of shape "
            "(rows, 2).",
        ),
        (
            [np.zeros(4)],
            "arrays[0] has the shape (4,), which does not fit 4 columns; give an array of shape "
            "(rows, 4).",
        ),
        (
            [[[0, 1], [2, float("nan")]]],
            "arrays[0] holds nan in row 1, column 'x1'; give finite numbers only.",
        ),
    ],
)
def test_arrays_that_make_no_series_are_refused(arrays: list[object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        tables_from_arrays(arrays)
    assert str(caught.value) == message
