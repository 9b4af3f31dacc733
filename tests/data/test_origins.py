"""From which rows a backtest forecasts, and what each of its fits is trained on."""

from typing import Any

import numpy as np
import pytest

from gru_parallel.data.origins import Rolling, refits, roll
from gru_parallel.data.parts import Parts, SeriesPart, all_rows
from gru_parallel.data.table import Table
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import DataWarning, UsageError

SHAPE = WindowShape(6, 3)
X, Y = SeriesPart(range(80, 100), 0, "x"), SeriesPart(range(148, 160), 100, "y")
DAY = np.datetime64("2026-01-01T00", "h")


def table(n_rows: int, name: str, times: Any = None) -> Table:
    values = np.zeros((n_rows, 1))
    return Table(times, values, ("a",), ("a",), name)


TABLES = [table(100, "x"), table(60, "y")]


def cutoffs(rolling: Rolling, tables: list[Table] = TABLES) -> list[list[int]]:
    """Return the last known rows of each series, counted in it."""
    rolled = roll(tables, [X, Y], SHAPE, rolling)
    return [[end - 1 - part.series_start for end in part.ends or ()] for part in rolled]


def test_origins_begin_with_the_test_part_and_leave_room_for_the_horizon() -> None:
    assert cutoffs(Rolling(7)) == [[79, 86, 93], [47, 54]]
    assert cutoffs(Rolling(1))[1] == [*range(47, 57)]


def test_the_last_origins_end_with_the_series() -> None:
    assert cutoffs(Rolling(4, n_origins=2)) == [[92, 96], [52, 56]]
    # The second series has no more than three.
    assert cutoffs(Rolling(4, n_origins=5)) == [[80, 84, 88, 92, 96], [48, 52, 56]]


def test_origins_begin_at_a_row_and_number_as_many_as_are_wanted() -> None:
    assert cutoffs(Rolling(4, start="85", n_origins=2)) == [[85, 89]]
    said = "start=50 is before the first possible origin in 1 of 2 series: .* begin at 79,"
    with pytest.warns(DataWarning, match=said):
        assert cutoffs(Rolling(4, start="50")) == [[79, 83, 87, 91, 95], [50, 54]]


def test_a_start_is_a_date_where_there_are_dates() -> None:
    dated = [table(n, name, DAY + np.arange(n)) for n, name in ((100, "x"), (60, "y"))]
    wanted = str(DAY + 90)
    assert cutoffs(Rolling(4, start=wanted), dated) == [[90, 94]]
    with pytest.raises(UsageError, match="start=soon is not a date"):
        cutoffs(Rolling(4, start="soon"), dated)


def test_what_leaves_no_origin_or_too_few_is_refused() -> None:
    with pytest.raises(UsageError, match=r"start=99 leaves no origin with data\.horizon=3"):
        cutoffs(Rolling(1, start="99"))
    with pytest.raises(UsageError, match=r"n_origins=9 exceeds the 5 origins .* one every 4 rows"):
        cutoffs(Rolling(4, n_origins=9))
    with pytest.raises(UsageError, match="start=soon cannot be read; give a row number"):
        cutoffs(Rolling(4, start="soon"))


def hourly(name: str, first_hour: int, n_rows: int) -> Table:
    return table(n_rows, name, DAY + first_hour + np.arange(n_rows))


def rows_of(fits: list[Parts], part: str) -> list[list[range]]:
    """Return the rows that each fit has of each series, counted in the series."""
    return [
        [range(of.rows.start - of.series_start, of.rows.stop - of.series_start) for of in fit[part]]
        for fit in fits
    ]


def origins_of(fits: list[Parts]) -> list[dict[str, list[int]]]:
    """Return the last known row of each forecast of each fit, counted in its series."""
    return [
        {of.series: [end - 1 - of.series_start for end in of.ends or ()] for of in fit["test"]}
        for fit in fits
    ]


def test_each_fit_is_trained_on_what_was_known_at_its_first_origin() -> None:
    # Both end with hour 99; origins are after the hours 79 to 95, and 87 to 95.
    tables = [hourly("x", 0, 100), hourly("y", 40, 60)]
    rolled = roll(tables, [X, Y], SHAPE, Rolling(4))
    fits = list(refits(tables, rolled, {0: 10}, every=3, shape=SHAPE))

    assert origins_of(fits) == [
        {"x": [79, 83, 87], "y": [47]},
        {"x": [91, 95], "y": [51, 55]},
    ]
    assert rows_of(fits, "training") == [[range(70), range(40)], [range(82), range(52)]]
    assert rows_of(fits, "validation") == [[range(70, 80)], [range(82, 92)]]


def test_the_last_origins_of_series_with_other_ends_are_not_forecast_together() -> None:
    # Of x the last origins are after the hours 92 and 96, of y, which ends later, after 96 and 100.
    tables = [hourly("x", 0, 100), hourly("y", 44, 60)]
    rolled = roll(tables, all_rows(tables), SHAPE, Rolling(4, n_origins=2))
    fits = list(refits(tables, rolled, {}, every=1, shape=SHAPE))

    assert origins_of(fits) == [{"x": [92]}, {"x": [96], "y": [52]}, {"y": [56]}]
    # x stays in the training when its origins are done.
    assert rows_of(fits, "training") == [
        [range(93), range(49)],
        [range(97), range(53)],
        [range(100), range(57)],
    ]


def test_a_series_without_origins_is_trained_on() -> None:
    tables = [hourly("x", 0, 100), hourly("ended", 10, 30), hourly("begins", 80, 20)]
    rolled = roll(tables, all_rows(tables), SHAPE, Rolling(5, start=str(DAY + 85), n_origins=2))
    assert [part.series for part in rolled] == ["x", "begins"]
    fits = list(refits(tables, rolled, {}, every=1, shape=SHAPE))

    # From 9 rows on, the last one trains the model, too: a window of 6 rows and 3 to forecast.
    assert origins_of(fits) == [{"x": [85], "begins": [5]}, {"x": [90], "begins": [10]}]
    assert rows_of(fits, "training") == [
        [range(86), range(30)],
        [range(91), range(30), range(11)],
    ]


def test_a_series_that_begins_after_the_end_of_the_others_has_fits_of_its_own() -> None:
    tables = [hourly("x", 0, 40), hourly("y", 100, 40)]
    rolled = roll(tables, all_rows(tables), SHAPE, Rolling(4, n_origins=2))
    fits = list(refits(tables, rolled, {}, every=2, shape=SHAPE))

    assert origins_of(fits) == [{"x": [32, 36]}, {"y": [32, 36]}]
    assert rows_of(fits, "training") == [[range(33)], [range(40), range(33)]]


def test_without_times_the_number_of_a_row_is_its_time() -> None:
    rolled = roll(TABLES, [X, Y], SHAPE, Rolling(4))
    fits = list(refits(TABLES, rolled, {}, every=3, shape=SHAPE))

    assert origins_of(fits) == [{"y": [47, 51, 55]}, {"x": [79, 83, 87]}, {"x": [91, 95]}]
    assert rows_of(fits, "training") == [
        [range(48), range(48)],
        [range(80), range(60)],
        [range(92), range(60)],
    ]


def test_a_series_is_not_trained_on_before_each_column_has_a_value() -> None:
    x, y = hourly("x", 0, 100), hourly("y", 40, 60)
    y.values[:50] = np.nan
    rolled = roll([x, y], [X], SHAPE, Rolling(10, n_origins=2))
    fits = list(refits([x, y], rolled, {}, every=1, shape=SHAPE))

    assert origins_of(fits) == [{"x": [86]}, {"x": [96]}]
    assert rows_of(fits, "training") == [[range(87)], [range(97), range(57)]]


def test_fits_without_enough_rows_to_train_on_are_refused() -> None:
    tables = [hourly("x", 0, 100)]
    rolled = roll(tables, all_rows(tables), SHAPE, Rolling(4, start=str(DAY + 17)))
    refused = (
        r"Up to the first origin, 2026-01-01 17:00:00, no series has .* data\.input_length=6 and"
        r" data\.horizon=3 needs 9 rows before those for validation"
    )
    with pytest.raises(UsageError, match=refused):
        list(refits(tables, rolled, {0: 10}, every=1, shape=SHAPE))
    assert list(refits(tables, rolled, {0: 9}, every=1, shape=SHAPE))
