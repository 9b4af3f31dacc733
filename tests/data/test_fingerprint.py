"""Ranks notice by one line that they have other series, and only then."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gru_parallel.data import Table
from gru_parallel.data.fingerprint import fingerprint, fingerprint_of_windows
from gru_parallel.data.forecast_window import ForecastWindow

VALUES = np.array([[0.5, 1.0], [np.nan, -2.0], [3.0, 1e-300]])
TIMES = np.array(["2026-01-01", "2026-01-02", "2026-01-03"], dtype="datetime64[ns]")
TABLE = Table(TIMES, VALUES, ("a", "b"), ("a",), "x", static={"size": 2.0, "kind": "shop"})


def test_the_same_series_have_one_fingerprint_on_every_machine() -> None:
    # The bytes of a number are the same everywhere, but not those of NaN, nor their order.
    other_nan = np.where(np.isnan(VALUES), np.copysign(np.nan, -1.0), VALUES)
    swapped = np.asfortranarray(VALUES).astype(">f8")

    assert fingerprint([TABLE]) == "3 rows in 1 series, SHA-256 6af64e63333e10d3"
    for values in (VALUES.copy(), other_nan, swapped):
        same = replace(TABLE, values=values, static={"size": np.float64(2.0), "kind": "shop"})
        assert fingerprint([same]) == fingerprint([TABLE])


@pytest.mark.parametrize(
    "change",
    [
        {"values": np.where(VALUES == 3.0, np.nextafter(3.0, 4.0), VALUES)},
        {"times": TIMES + np.timedelta64(1, "s")},
        {"times": None},
        {"weight": np.ones(3)},
        {"columns": ("a", "c")},
        {"targets": ("b",)},
        {"future": ("b",)},
        {"name": "y"},
        {"static": {"size": 2.0, "kind": "home"}},
        {"static": {"size": 2.5, "kind": "shop"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_another_changes_it(change: dict[str, Any]) -> None:
    assert fingerprint([replace(TABLE, **change)]) != fingerprint([TABLE])


def test_rows_are_not_mistaken_for_those_of_another_series() -> None:
    parts = [
        [replace(TABLE, times=None, values=VALUES[rows]) for rows in (slice(at), slice(at, 3))]
        for at in (1, 2)
    ]

    assert fingerprint(parts[0]) != fingerprint(parts[1])


def test_long_series_are_read_to_their_end() -> None:
    values = np.zeros((2**16 + 2, 1))
    long = Table(None, values, ("a",), ("a",))
    values_with_another_end = values.copy()
    values_with_another_end[-1] = 1.0

    assert fingerprint([long]) != fingerprint([replace(long, values=values_with_another_end)])


def test_windows_to_forecast_from_have_one_too() -> None:
    none = np.zeros((0, 0))
    window = ForecastWindow("x", VALUES, TIMES, TIMES[:1], VALUES[:1, :1], none, none, none)

    found = fingerprint_of_windows([window])

    assert found.startswith("1 windows, SHA-256 ")
    for change in ({"values": VALUES + 1}, {"series": "y"}, {"times": TIMES[1:2]}):
        assert fingerprint_of_windows([replace(window, **change)]) != found
