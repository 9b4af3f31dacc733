import numpy as np
import pytest

from gru_parallel.data.parts import SeriesPart, check_alike, named, split_tables
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError


def table(n_rows: int, name: str = "", columns: tuple[str, ...] = ("a", "b")) -> Table:
    return Table(None, np.zeros((n_rows, len(columns))), columns, columns[:1], name)


def error_of(tables: list[Table], parts: list[float], by: str) -> str:
    with pytest.raises(UsageError) as caught:
        split_tables(tables, parts, by)
    return str(caught.value)


def test_a_split_by_time_cuts_each_series_by_itself() -> None:
    parts = split_tables([table(10, "x"), table(20, "y")], [0.5, 0.2, 0.3])
    assert parts == {
        "training": (SeriesPart(range(5), 0, "x"), SeriesPart(range(10, 20), 10, "y")),
        "validation": (SeriesPart(range(5, 7), 0, "x"), SeriesPart(range(20, 24), 10, "y")),
        "test": (SeriesPart(range(7, 10), 0, "x"), SeriesPart(range(24, 30), 10, "y")),
    }


def test_a_split_by_series_takes_whole_ones_in_their_order() -> None:
    tables = [table(3), table(4), table(5), table(6)]
    parts = split_tables(tables, [2, 1, 1], by="series")
    assert parts == {
        "training": (SeriesPart(range(3), 0, "0"), SeriesPart(range(3, 7), 3, "1")),
        "validation": (SeriesPart(range(7, 12), 7, "2"),),
        "test": (SeriesPart(range(12, 18), 12, "3"),),
    }
    assert split_tables(tables, [0.5, 0.25, 0.25], by="series") == parts


def test_a_single_series_needs_no_name() -> None:
    assert split_tables([table(10)], [5, 2, 3])["test"] == (SeriesPart(range(7, 10), 0, ""),)


def test_a_series_with_too_few_rows_is_named() -> None:
    assert error_of([table(10, "x"), table(9, "y")], [5, 2, 3], "time") == (
        "data.split=[5,2,3] takes 10 rows, more than the 9 of series 'y'; use smaller counts, or "
        "fractions."
    )


def test_too_few_series_are_refused() -> None:
    tables = [table(10)] * 3
    assert error_of(tables, [2.0, 1.0, 1.0], "series") == (
        "data.split=[2,1,1] takes 4 series, more than the 3 that there are (data.split_by=series); "
        "use smaller counts, or fractions."
    )
    assert error_of(tables, [0.7, 0.1, 0.2], "series") == (
        "data.split=[0.7,0.1,0.2] leaves none of the 3 series for validation (data.split_by="
        "series); use other parts, or data.split_by=time."
    )


def test_a_mixture_is_refused_with_examples_in_series() -> None:
    assert error_of([table(10)] * 3, [0.5, 1, 2], "series") == (
        "data.split=[0.5,1,2] is neither all fractions nor all series counts; give three "
        "fractions, as [0.7,0.1,0.2], or three series counts, as [80,10,10]."
    )


def test_an_unknown_way_to_split_is_refused() -> None:
    assert error_of([table(10)], [0.7, 0.1, 0.2], "row") == (
        "data.split_by=row is unknown; use one of time, series."
    )


def test_series_must_have_the_same_columns_and_targets() -> None:
    with pytest.raises(UsageError) as caught:
        check_alike([table(10, "x"), table(10, "y", ("a", "c"))])
    assert str(caught.value) == (
        "series 'y' has the columns a, c, and the first series has a, b; give all series the same "
        "columns."
    )
    with pytest.raises(UsageError, match="series '1' has the targets b, and the first series has"):
        check_alike([table(10), Table(None, np.zeros((5, 2)), ("a", "b"), ("b",))])


def test_series_without_a_name_are_called_by_their_number() -> None:
    assert [each.name for each in named([table(3), table(4, "x"), table(5)])] == ["0", "x", "2"]
    assert [each.name for each in named([table(3)])] == [""]


@pytest.mark.parametrize("names", [("x", "y", "x"), ("", "0", "y")])
def test_series_of_one_name_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"2 of the 3 series have the name '[x0]'; give each a"):
        named([table(10, name) for name in names])


def test_there_must_be_a_series() -> None:
    with pytest.raises(UsageError, match="There is no series; give at least one table"):
        check_alike([])
