"""Columns that count rows or time are asked about before they go in as values."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from gru_parallel.data.files import load_tables
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.errors import DataWarning

Write = Callable[..., Path]


def content(name: str, step: float, start: float = 0, n_rows: int = 20) -> str:
    rows = (f"x,{start + n * step},{n * 7 % 5}\n" for n in range(n_rows))
    return f"id,{name},a\n" + "".join(rows)


@pytest.mark.parametrize(
    ("name", "step"), [("step", 1), ("Unnamed: 0", 1), ("year", 1), ("t", 0.1)]
)
def test_a_column_that_counts_is_asked_about(name: str, step: float, write: Write) -> None:
    path = write(content(name, step))
    with pytest.warns(DataWarning) as caught:
        (table,) = load_tables(SeriesFile(path, series_column="id"))
    assert table.columns == (name, "a")
    assert str(caught[0].message) == (
        f"data.path={path}: column {name!r} ascends in equal steps, as times and row numbers do, "
        f"and is used as a value; if it is one of these, set data.time_column={name}, or list the "
        "columns to use in data.columns."
    )


@pytest.mark.parametrize("options", [{"time_column": "step"}, {"columns": ["step", "a"]}])
def test_it_is_not_asked_about_once_it_is_named(options: dict[str, object], write: Write) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_tables(SeriesFile(write(content("step", 1)), series_column="id", **options))


def test_every_series_counts_for_itself(write: Write) -> None:
    text = content("step", 1) + content("step", 1).partition("\n")[2].replace("x,", "y,")
    with pytest.warns(DataWarning, match="column 'step' ascends"):
        load_tables(SeriesFile(write(text), series_column="id"))


@pytest.mark.parametrize(("step", "n_rows"), [(0, 20), (-1, 20), (1, 9)])
def test_what_stands_falls_or_is_short_is_no_counter(step: int, n_rows: int, write: Write) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_tables(SeriesFile(write(content("step", step, n_rows=n_rows)), series_column="id"))


def test_in_series_of_one_row_nothing_counts(write: Write) -> None:
    rows = "".join(f"{n},{n * 7 % 5},{n}\n" for n in range(20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_tables(SeriesFile(write(f"id,a,b\n{rows}"), series_column="id"))
