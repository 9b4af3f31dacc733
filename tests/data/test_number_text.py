"""Numbers written with thousands apart and with decimal commas: said how, read; unsaid, asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.number_text import settings_to_read
from gru_parallel.errors import UsageError
from tests.data.tables import load_table

Write = Callable[..., Path]


def values(path: Path, *form: str | None) -> list[list[float]]:
    read: list[list[float]] = load_table(path, csv_format=CsvFormat.read(*form)).values.tolist()
    return read


@pytest.mark.parametrize(
    ("content", "form", "expected"),
    [
        (
            'a,b\n"1,234.5",2\n"-1,234,567",0.5\n',
            ("comma", "point", "comma"),
            [[1234.5, 2], [-1234567, 0.5]],
        ),
        ('a,b\n"12,34,567",2\n', (",", ".", ","), [[1234567, 2]]),
        (
            "a;b\n1,5;2\n-3,25;4e-3\n",
            ("semicolon", "comma", None),
            [[1.5, 2], [-3.25, 0.004]],
        ),
        (
            "a;b\n1.234,5;2\n1.234.567;0,5\n",
            (";", ",", "point"),
            [[1234.5, 2], [1234567, 0.5]],
        ),
        (
            "a\tb\n1 234,5\t2\n1\u202f234\t0,5\n",
            ("tab", "comma", "space"),
            [[1234.5, 2], [1234, 0.5]],
        ),
        ("a|b\n1'234.5|2\n", ("pipe", "point", "apostrophe"), [[1234.5, 2]]),
        ("  a     b\n  1   2.5\n 10  12.5\n", ("space", "point", None), [[1, 2.5], [10, 12.5]]),
    ],
)
def test_numbers_are_read_as_they_are_said_to_be_written(
    write: Write, content: str, form: tuple[str | None, ...], expected: list[list[float]]
) -> None:
    assert values(write(content), *form) == expected


def test_dates_with_points_stay_dates_where_points_part_thousands(write: Write) -> None:
    path = write("date;a\n01.02.2020;1.234\n13.02.2020;2.345,5\n")
    table = load_table(path, csv_format=CsvFormat.read("semicolon", "comma", "point"))
    assert table.values.tolist() == [[1234], [2345.5]]
    assert str(np.asarray(table.times)[0]).startswith("2020-02-01")


def test_groups_of_the_wrong_length_are_no_number(write: Write) -> None:
    with pytest.raises(UsageError, match=r"row 3, column 'a' holds '1,2'"):
        values(write('a\n"1,234"\n"1,2"\n'), ",", ".", "comma")


@pytest.mark.parametrize(
    ("cell", "settings"),
    [
        ("1,234", "data.thousands=comma"),
        ("-12,345.5", "data.thousands=comma"),
        ("1,5", "data.decimal=comma"),
        (",5", "data.decimal=comma"),
        ("1.234,5", "data.thousands=point data.decimal=comma"),
        ("1.234.567", "data.thousands=point data.decimal=comma"),
        ("1 234", "data.thousands=space"),
        ("1\u00a0234,5", "data.thousands=space data.decimal=comma"),
        ("1'234.5", "data.thousands=apostrophe"),
        ("5 km", ""),
        ("north", ""),
        ("1,2,3", ""),
        ("13:00", ""),
    ],
)
def test_the_settings_that_would_read_a_cell_are_named(cell: str, settings: str) -> None:
    assert settings_to_read(cell, CsvFormat()) == settings


@pytest.mark.parametrize("missing", ["error", "interpolate", "drop"])
def test_a_number_in_another_spelling_is_never_taken_for_a_gap(write: Write, missing: str) -> None:
    path = write('a\n1\n2\n"1,234"\n3\n')
    with pytest.raises(UsageError) as caught:
        load_table(path, missing=missing)
    assert str(caught.value) == (
        f"data.path={path}: row 4, column 'a' holds '1,234'; to have it read, set "
        "data.thousands=comma."
    )


def test_what_the_message_asks_for_works(write: Write) -> None:
    assert values(write('a\n1\n"1,234"\n'), ",", ".", "comma") == [[1], [1234]]


def test_a_number_with_an_underscore_is_refused_as_no_number(write: Write) -> None:
    with pytest.raises(UsageError, match="row 2, column 'a' holds '1_0', which is not a number"):
        values(write("a,b\n1_0,2\n3,4\n"), ",", ".", None)


def test_texts_with_digits_that_become_gaps_are_counted(write: Write) -> None:
    path = write("a\n1\n5 km\n?\n7 km\n")
    with pytest.warns(match=r"column 'a' holds 2 texts with digits, the first '5 km' in row 3"):
        load_table(path, missing="interpolate")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"separator": ":"},
            "data.separator=: is not a valid choice; use one of comma, semicolon, tab, pipe, "
            "space.",
        ),
        ({"decimal": "dot"}, "data.decimal=dot is not a valid choice; use one of point, comma."),
        (
            {"thousands": ""},
            "data.thousands= is not a valid choice; use one of comma, point, space, apostrophe.",
        ),
        (
            {"thousands": "point"},
            "data.thousands=point is data.decimal, too, so that no number can be read; use two "
            "different characters.",
        ),
    ],
)
def test_marks_that_cannot_be_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        CsvFormat.read(**{"separator": ",", "decimal": ".", "thousands": None, **options})
    assert str(caught.value) == message
