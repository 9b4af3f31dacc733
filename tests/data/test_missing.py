from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.missing import as_numbers, treat_missing
from gru_parallel.data.reading import Sheet
from gru_parallel.errors import UsageError

NAN = float("nan")


def sheet_of(**columns: object) -> Sheet:
    return Sheet(Path("series.csv"), pd.DataFrame(columns), first_row=2)


def error_of(sheet: Sheet, missing: str = "error") -> str:
    with pytest.raises(UsageError) as caught:
        as_numbers(sheet, list(sheet.frame.columns), missing)
    return str(caught.value)


def treated(sheet: Sheet, missing: str) -> list[list[float]]:
    columns = list(sheet.frame.columns)
    values, _ = treat_missing(as_numbers(sheet, columns, missing), columns, missing)
    assert np.isfinite(values).all()
    return values.T.tolist()


def test_numbers_of_any_type_are_read() -> None:
    sheet = sheet_of(
        whole=[1, 2],
        real=[1.5, 2.5],
        nullable=pd.array([1, 2], dtype="Int64"),
        decimal=[Decimal("1.5"), Decimal(2)],
        huge=[10**30, 1],
        truth=[True, False],
    )
    assert treated(sheet, "error") == [[1, 2], [1.5, 2.5], [1, 2], [1.5, 2], [1e30, 1], [1, 0]]


def test_a_text_cell_is_named() -> None:
    assert error_of(sheet_of(a=[1, 2], b=["3", "broken"])) == (
        "data.path=series.csv: row 3, column 'b' holds 'broken', which is no number; correct it, "
        "or set data.missing=interpolate or data.missing=drop, or leave the column out with "
        "data.columns."
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
    assert "row 2, column 'a' holds '2020-01-01 00:00:00', which is no number" in error_of(sheet)


def test_a_column_of_lists_is_no_column_of_numbers() -> None:
    assert "column 'a' holds '[1]', which is no number" in error_of(sheet_of(a=[[1], [2]]))


def test_interpolate_draws_straight_lines_and_keeps_the_ends_level() -> None:
    sheet = sheet_of(a=[NAN, 1, NAN, NAN, 4, float("inf")], b=["1", "?", "3", "4", "5", "6"])
    assert treated(sheet, "interpolate") == [[1, 1, 2, 3, 4, 4], [1, 2, 3, 4, 5, 6]]


def test_drop_leaves_out_every_row_with_a_gap() -> None:
    sheet = sheet_of(a=[NAN, 1, 2, float("inf"), 4], b=["1", "2", "?", "4", "5"])
    numbers = as_numbers(sheet, ["a", "b"], "drop")
    values, kept = treat_missing(numbers, ["a", "b"], "drop")
    assert values.tolist() == [[1, 2], [4, 5]]
    assert kept.tolist() == [1, 4]


@pytest.mark.parametrize("missing", ["interpolate", "drop"])
def test_a_column_without_any_number_cannot_be_helped(missing: str) -> None:
    assert error_of(sheet_of(a=[1, 2], place=["north", "south"]), missing) == (
        f"data.path=series.csv: column 'place' holds no number, so data.missing={missing} cannot "
        "help; leave it out with data.columns."
    )


def test_drop_must_leave_a_row() -> None:
    numbers = as_numbers(sheet_of(a=[1, NAN, 3], b=[NAN, 2, NAN]), ["a", "b"], "drop")
    with pytest.raises(UsageError) as caught:
        treat_missing(numbers, ["a", "b"], "drop")
    assert str(caught.value) == (
        "data.missing=drop leaves none of the 3 rows (column 'b' has the most gaps); leave that "
        "column out with data.columns, or use data.missing=interpolate."
    )


def test_an_unknown_treatment_is_refused() -> None:
    assert error_of(sheet_of(a=[1]), "ignore") == (
        "data.missing=ignore is unknown; use one of error, interpolate, drop."
    )
