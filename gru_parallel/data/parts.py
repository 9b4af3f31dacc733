"""Which rows of which series are for training, for validation and for the test: data.split_by."""

from collections.abc import Sequence
from dataclasses import dataclass

from gru_parallel.data.split import split, split_series
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError

SPLIT_BY = ("time", "series")


@dataclass(frozen=True)
class SeriesPart:
    """The rows that one part of the data has of one series.

    Rows are counted through all series, as if they lay one after another in one array.

    Attributes:
        rows: the rows of the part.
        series_start: first row of the series.
        series: name of the series; empty where there is but one.
    """

    rows: range
    series_start: int = 0
    series: str = ""


def split_tables(
    tables: Sequence[Table], parts: Sequence[float], by: str = "time"
) -> dict[str, tuple[SeriesPart, ...]]:
    """Share the rows of all series out among training, validation and test.

    Args:
        tables: the series.
        parts: the user's data.split, see `split` and `split_series`.
        by: "time" cuts each series by itself, the oldest rows for training; "series" gives whole
            series to a part, the first ones to training.

    Returns:
        For "training", "validation" and "test", what the part has of each of its series.

    Raises:
        UsageError: `by` is unknown, or the parts do not fit the series.
    """
    whole = _whole_series(tables)
    if by == "series":
        series_of = vars(split_series(len(tables), parts))
        return {name: tuple(whole[number] for number in series_of[name]) for name in series_of}
    if by != "time":
        raise UsageError(f"data.split_by={by} is unknown; use one of {', '.join(SPLIT_BY)}.")
    cuts = [vars(split(len(part.rows), parts, part.series)) for part in whole]
    return {
        name: tuple(
            SeriesPart(_shifted(cut[name], part.series_start), part.series_start, part.series)
            for cut, part in zip(cuts, whole, strict=True)
        )
        for name in cuts[0]
    }


def check_alike(tables: Sequence[Table]) -> None:
    """Refuse series that one model cannot be trained on together.

    Raises:
        UsageError: there is no series, or one has other columns or targets than the first.
    """
    if not tables:
        raise UsageError("There is no series; give at least one table.")
    first = tables[0]
    for number, table in enumerate(tables):
        for what in ("columns", "targets"):
            own, expected = getattr(table, what), getattr(first, what)
            if own != expected:
                raise UsageError(
                    f"series {_label(table, number)!r} has the {what} {', '.join(own)}, and the "
                    f"first series has {', '.join(expected)}; give all series the same {what}."
                )


def _whole_series(tables: Sequence[Table]) -> list[SeriesPart]:
    parts = []
    start = 0
    for number, table in enumerate(tables):
        name = _label(table, number) if len(tables) > 1 else table.name
        parts.append(SeriesPart(range(start, start + table.n_rows), start, name))
        start += table.n_rows
    return parts


def _label(table: Table, number: int) -> str:
    return table.name or str(number)


def _shifted(rows: range, n: int) -> range:
    return range(rows.start + n, rows.stop + n)
