from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.missing import as_numbers, rows_to_keep
from gru_parallel.data.sheet import Sheet
from gru_parallel.errors import UsageError

NAN = float("nan")


def sheet_of(**columns: object) -> Sheet:
    return Sheet(Path("series.csv"), pd.DataFrame(columns), first_row=2)


def error_of(sheet: Sheet, missing: str = "error") -> str:
    with pytest.raises(UsageError) as caught:
        as_numbers(sheet, list(sheet.frame.columns), missing)
    return str(caught.value)


def numbers_of(sheet: Sheet, missing: str) -> list[list[float]]:
    """The numbers of each column."""
    return as_numbers(sheet, list(sheet.frame.columns), missing).T.tolist()


def test_numbers_of_any_type_are_read() -> None:
    sheet = sheet_of(
        whole=[1, 2],
        real=[1.5, 2.5],
        nullable=pd.array([1, 2], dtype="Int64"),
        decimal=[Decimal("1.5"), Decimal(2)],
        huge=[10**30, 10**29],
        truth=[True, False],
    )
    assert numbers_of(sheet, "error") == [
        [1, 2],
        [1.5, 2.5],
        [1, 2],
        [1.5, 2],
        [1e30, 1e29],
        [1, 0],
    ]


def test_a_text_cell_is_named() -> None:
    assert error_of(sheet_of(a=[1, 2], b=["3", "broken"])) == (
        "data.path=series.csv: row 3, column 'b' holds 'broken', which is not a number; correct "
        "it, or set data.missing=interpolate or data.missing=drop, or leave the column out with "
        "data.columns or data.future."
    )


@pytest.mark.parametrize("empty", [NAN, None, pd.NA, pd.NaT])
def test_an_empty_cell_is_named(empty: object) -> None:
    cells = pd.Series([1, 2, empty], dtype=object)
    assert error_of(sheet_of(a=cells)) == (
        "data.path=series.csv: row 4, column 'a' is empty or NaN; correct it, or set "
        "data.missing=interpolate or data.missing=drop."
    )


def test_a_missing_value_of_a_nullable_column_is_named() -> None:
    cells = pd.array([1, None], dtype="Int64")
    assert "row 3, column 'a' is empty or NaN" in error_of(sheet_of(a=cells))


def test_an_infinite_cell_is_named() -> None:
    assert error_of(sheet_of(a=[1, float("-inf")])) == (
        "data.path=series.csv: row 3, column 'a' is infinite (-inf); correct it, or set "
        "data.missing=interpolate or data.missing=drop."
    )


def test_the_first_bad_row_is_the_one_named() -> None:
    assert "row 2, column 'b'" in error_of(sheet_of(a=[1, NAN], b=["x", "2"]))


def test_a_column_of_dates_is_no_column_of_numbers() -> None:
    sheet = sheet_of(a=pd.date_range("2020-01-01", periods=2))
    assert "row 2, column 'a' holds '2020-01-01 00:00:00', which is not a number" in error_of(sheet)


def test_a_column_of_lists_is_no_column_of_numbers() -> None:
    assert "column 'a' holds '[1]', which is not a number" in error_of(sheet_of(a=[[1], [2]]))


@pytest.mark.parametrize("missing", ["interpolate", "drop"])
def test_cells_that_are_no_finite_numbers_become_gaps(missing: str) -> None:
    sheet = sheet_of(a=[NAN, 1, float("inf")], b=["1", "?", "3"])
    np.testing.assert_equal(numbers_of(sheet, missing), [[NAN, 1, NAN], [1, NAN, 3]])


def test_interpolate_keeps_every_row() -> None:
    numbers = np.array([[NAN, 1], [2, NAN]])
    assert rows_to_keep(numbers, ["a", "b"], "interpolate").tolist() == [0, 1]


def test_drop_leaves_out_every_row_with_a_gap() -> None:
    numbers = np.array([[NAN, 1], [1, 2], [2, NAN], [4, 5]])
    assert rows_to_keep(numbers, ["a", "b"], "drop").tolist() == [1, 3]


@pytest.mark.parametrize("missing", ["interpolate", "drop"])
def test_a_column_without_any_number_cannot_be_helped(missing: str) -> None:
    assert error_of(sheet_of(a=[1, 2], place=["north", "south"]), missing) == (
        f"data.path=series.csv: column 'place' holds no number, so data.missing={missing} cannot "
        "help; leave it out with data.columns or data.future."
    )


def test_drop_must_leave_a_row() -> None:
    numbers = as_numbers(sheet_of(a=[1, NAN, 3], b=[NAN, 2, NAN]), ["a", "b"], "drop")
    with pytest.raises(UsageError) as caught:
        rows_to_keep(numbers, ["a", "b"], "drop")
    assert str(caught.value) == (
        "data.missing=drop leaves none of the 3 rows (column 'b' has the most gaps); leave that "
        "column out with data.columns or data.future, or use data.missing=interpolate."
    )


def test_an_unknown_treatment_is_refused() -> None:
    assert error_of(sheet_of(a=[1]), "ignore") == (
        "data.missing=ignore is unknown; use one of error, interpolate, drop."
    )


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolon"), (" ", "space"), ("|", "pipe")])
def test_a_cell_of_several_columns_is_asked_about(mark: str, word: str) -> None:
    message = error_of(sheet_of(**{f"date{mark}a": [f"2020-01-01{mark}5"]}))
    assert f"looks like several columns; if it is, set data.separator={word}," in message


@pytest.mark.parametrize(("name", "cell"), [("load MW", "5 km"), ("load", "5 5"), ("a b", "x")])
def test_other_texts_are_of_one_column(name: str, cell: str) -> None:
    assert "which is not a number; correct it" in error_of(sheet_of(**{name: [cell]}))
