"""data=own: what the function returns is looked at as a file is, and named in messages."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gru_parallel.assembly.own_series import own_tables
from gru_parallel.config.data_section import OwnDataConfig
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.data.table import Table
from gru_parallel.errors import DataWarning, UsageError

HOURS = np.datetime64("2026-01-01T00", "h") + np.arange(40)


def table(times: Any = None, name: str = "", column: str = "a") -> Table:
    n_rows = 40 if times is None else len(times)
    return Table(times, np.zeros((n_rows, 1)), (column,), (column,), name)


def not_finite() -> Table:
    return Table(None, np.array([[1.0], [np.inf]]), ("a",), ("a",))


def without_names() -> list[Table]:
    return [table(), table()]


def of_one_name() -> list[Table]:
    return [table(name="x"), table(name="x")]


def of_other_columns() -> list[Table]:
    return [table(name="x"), table(name="y", column="b")]


def numbers() -> list[int]:
    return [1, 2]


def with_a_gap() -> list[Table]:
    return [table(np.delete(HOURS, [5, 6]), "x"), table(HOURS, "y")]


def at_odd_times() -> Table:
    return table(np.arange(40) ** 2)


def at_even_times() -> Table:
    return table(HOURS)


def tables_of(function: Callable[[], object]) -> list[Table]:
    config = read_config(
        compose_config(["data=own", f"data.source={__name__}.{function.__name__}"])
    )
    assert isinstance(config.data, OwnDataConfig)
    return own_tables(config.data, None)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (not_finite, "values holds inf in row 1, column 'a'; give finite numbers, or NaN"),
        (of_one_name, "2 of the 2 series have the name 'x'"),
        (of_other_columns, "series 'y' has the columns b, and the first series has a"),
        (numbers, "it returned int; return a gru_parallel.data.Table, or a list of them."),
    ],
)
def test_what_is_no_series_is_refused_by_the_name_of_its_source(
    function: Callable[[], object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        tables_of(function)

    assert str(caught.value).startswith(f"data.source={__name__}.{function.__name__}: {message}")


def test_several_series_without_a_name_are_told_apart() -> None:
    assert [each.name for each in tables_of(without_names)] == ["0", "1"]


def test_rows_that_are_missing_are_warned_of() -> None:
    said = (
        r"data\.source=.*: series 'x': 2 rows are missing in 1 series at a step of 1h, in 1 gap,"
        r" the first after row 4 \(2026-01-01T04\); windows span them as if they were not there\."
    )
    with pytest.warns(DataWarning, match=said):
        tables_of(with_a_gap)
    with pytest.warns(DataWarning, match=r"not evenly spaced \(.* times grows by 1 to 77\)"):
        tables_of(at_odd_times)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables_of(at_even_times)
