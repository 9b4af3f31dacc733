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


def test_arrays_become_named_tables() -> None:
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
