"""From which rows a backtest forecasts, and what each of its fits is trained on."""

from typing import Any

import numpy as np
import pytest

from gru_parallel.data.origins import Rolling, refits, roll
from gru_parallel.data.parts import SeriesPart
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


def test_each_fit_is_trained_on_what_is_before_its_origins() -> None:
    whole = [SeriesPart(range(100), 0, "x"), SeriesPart(range(100, 160), 100, "y")]
    rolled = roll(TABLES, [X, Y], SHAPE, Rolling(4))
    fits = list(refits(rolled, whole, [10, 0], every=3))

    # Of x there are origins after rows 79, 83, 87, 91 and 95; of y after 47, 51 and 55.
    first, second = fits
    assert [part.rows for part in first["training"]] == [range(70), range(100, 148)]
    assert [part.rows for part in first["validation"]] == [range(70, 80)]
    assert [list(part.ends or ()) for part in first["test"]] == [[80, 84, 88], [148, 152, 156]]
    assert [part.rows for part in second["training"]] == [range(82), range(100, 156)]
    assert [part.rows for part in second["validation"]] == [range(82, 92)]
    assert [list(part.ends or ()) for part in second["test"]] == [[92, 96]]
