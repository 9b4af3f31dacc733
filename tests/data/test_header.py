"""A file without a header row: its first row must not become names without a word."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from gru_parallel.data.reading import read_sheet
from gru_parallel.errors import DataWarning, UsageError

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        ("2020-01-01 00:00,1.5,2", "2020-01-01 00:00, 1.5, 2"),
        ("2020-01-01,7", "2020-01-01, 7"),
        ("1/13/20 0:00,1,2,3,4", "1/13/20 0:00, 1, 2, ..."),
        ("2020-01-01", "2020-01-01"),
    ],
)
def test_a_date_among_numbers_is_no_name(write: Write, first: str, shown: str) -> None:
    path = write(f"{first}\n{first}\n")
    with pytest.raises(UsageError) as caught:
        read_sheet(path)
    assert str(caught.value) == (
        f"data.path={path} has no header row: its first row holds {shown}; add a row with a name "
        "for each column."
    )


@pytest.mark.parametrize(
    ("first", "shown"), [("1.5,-2,7e3", "1.5, -2, 7e3"), ("7,3", "7, 3"), ("north,1.5", "1.5")]
)
def test_names_that_are_numbers_are_asked_about(write: Write, first: str, shown: str) -> None:
    path = write(f"{first}\n{first}\n")
    with pytest.warns(DataWarning) as caught:
        read_sheet(path)
    assert str(caught[0].message) == (
        f"data.path={path}: the header row names columns {shown}; if these are values, add a row "
        "with a name for each column above them."
    )


def test_two_equal_numbers_for_names_are_asked_about(write: Write) -> None:
    with pytest.raises(UsageError, match=r"named '5'.*; rename all but one, or, if these are valu"):
        read_sheet(write("5,5\n6,7\n"))


@pytest.mark.parametrize("first", ["date,0,1,2,OT", "0,1,2", "1,2,3", "a1,b2", "2nd,3rd", "id,lat"])
def test_names_that_count_and_names_with_digits_are_names(write: Write, first: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_sheet(write(f"{first}\n{','.join('1' for _ in first.split(','))}\n"))
