"""Windows to forecast from are cut as whole series would have them, from pieces of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gru_parallel.data import SeriesDataModule, Share, Table
from gru_parallel.data.blocks import read_blocks
from gru_parallel.data.columns import OF_MODEL
from gru_parallel.data.forecast_window import ForecastDataset, ForecastWindow
from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.static import StaticColumn
from gru_parallel.data.tails import Tails
from gru_parallel.data.window_builder import N_TIMES
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import WindowDataset
from gru_parallel.errors import DataWarning, UsageError
from tests.grids import covering

LENGTH, HORIZON = 4, 2
SHAPE = WindowShape(LENGTH, HORIZON)
MEAN = np.array([100.0, 200.0])


def table(n_rows: int = 30, series: str | None = None, **options: Any) -> pd.DataFrame:
    """Make a series of two columns that count, by the hour."""
    frame = pd.DataFrame({"a": np.arange(n_rows) % 7 + 0.5, "b": np.arange(n_rows) % 5 * 2.0})
    frame.insert(0, "ds", pd.date_range("2024-01-01", periods=n_rows, **{"freq": "h", **options}))
    return frame if series is None else frame.assign(id=series)


def cut(path: Path, n_rows: int = 1000, **options: Any) -> list[ForecastWindow]:
    """Cut windows from a file that is read in pieces of `n_rows`."""
    own = {name: options.pop(name) for name in ("cutoffs", "shape", "by") if name in options}
    own["static"] = own.pop("by", ())
    shape = own.pop("shape", SHAPE)
    names = ("missing", "frequency", "future")
    common = {name: options[name] for name in names if name in options}
    names = ("a", "b")
    tails = Tails(shape, [0], MEAN, columns=names, path=path, label="file", **own, **common)
    columns = [name for name in ("a", "b") if name not in options.get("future", ())]
    file = SeriesFile(path, columns=columns, targets=["a"], columns_of=OF_MODEL, **options)
    for block in read_blocks(file, n_rows):
        tails.add(block)
        if "future" in options:
            continue
        most_of_series = max(shape.input_length, N_TIMES) + shape.horizon
        assert tails.n_kept <= tails.n_series * most_of_series
    return tails.windows()


def with_rows_ahead(n_rows: int = 30, n_ahead: int = 3, series: str | None = None) -> pd.DataFrame:
    """Make a series whose column b is known ahead."""
    frame = table(n_rows + n_ahead, series)
    frame.loc[n_rows:, "a"] = np.nan
    return frame


@covering(1, frequency=[None, "h"], n_rows=[1, 2, 7, 1000])
def test_rows_ahead_are_what_is_known_after_the_last_value(
    n_rows: int, frequency: str | None, tmp_path: Path
) -> None:
    x, y = with_rows_ahead(9, 5, "x"), with_rows_ahead(12, 2, "y")
    pd.concat([x, y]).sort_values(["ds", "id"]).to_csv(tmp_path / "a.csv", index=False)

    windows = cut(tmp_path / "a.csv", n_rows, series_column="id", frequency=frequency, future=["b"])

    for window, frame, end in zip(windows, (x, y), (9, 12), strict=True):
        assert window.values.tolist() == frame[["a", "b"]].iloc[end - LENGTH : end].values.tolist()
        assert window.future.tolist() == frame[["b"]].iloc[end : end + HORIZON].values.tolist()
        assert window.times.tolist() == frame["ds"].iloc[end : end + HORIZON].tolist()
        assert window.cutoff == frame["ds"].iloc[end - 1]
        assert np.isnan(window.known).all()


@pytest.mark.parametrize("n_rows", [1, 3, 1000])
def test_a_gap_before_the_last_value_is_no_row_ahead(n_rows: int, tmp_path: Path) -> None:
    frame = with_rows_ahead(9, 2)
    frame.loc[6:7, "a"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)

    with pytest.raises(UsageError, match="row 8 has no values, and row 10 after it has"):
        cut(tmp_path / "a.csv", n_rows, future=["b"])
    (filled,) = cut(tmp_path / "a.csv", n_rows, future=["b"], missing="interpolate")
    assert filled.values[:, 0].tolist() == [5.5, 5.5, 5.5, 1.5]
    assert filled.values[:, 1].tolist() == frame["b"].iloc[5:9].tolist()
    options = {"missing": "drop", "frequency": "none"}
    (dropped,) = cut(tmp_path / "a.csv", n_rows, future=["b"], **options)
    assert dropped.values[:, 0].tolist() == [3.5, 4.5, 5.5, 1.5]


@pytest.mark.parametrize("n_rows", [4, 1000])
def test_what_describes_a_series_is_read_over_all_pieces(n_rows: int, tmp_path: Path) -> None:
    frame = table(9, "x").assign(size=3.0)
    frame.loc[0:4, "size"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    by = [StaticColumn("size", 1.0, 4.0)]
    options: dict[str, Any] = {"series_column": "id", "static": ["size"]}

    (window,) = cut(tmp_path / "a.csv", n_rows, by=by, **options)
    assert window.static.tolist() == [0.5]

    frame.loc[8, "size"] = 4.0
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UsageError, match=r"series 'x': column 'size' holds 3\.0 "):
        cut(tmp_path / "a.csv", n_rows, by=by, **options)


def plain(windows: list[ForecastWindow]) -> list[Any]:
    return [
        (w.series, w.values.tolist(), str(w.cutoff), w.times.astype(str).tolist(), str(w.known))
        for w in windows
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("cutoffs", [[], ["2024-01-01T09:20", "2024-01-02", "2024-01-02T03"]])
def test_the_size_of_the_pieces_makes_no_difference(
    kind: str, cutoffs: list[str], tmp_path: Path
) -> None:
    parts = [table(30 + n, f"s{n}") for n in range(4)]
    whole = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    path = tmp_path / f"series.{kind}"
    whole.to_csv(path, index=False) if kind == "csv" else whole.to_parquet(path)
    options = {"series_column": "id", "cutoffs": cutoffs}

    expected = cut(path, **options)

    assert [window.series for window in expected][:: len(cutoffs) or 1] == ["s0", "s1", "s2", "s3"]
    assert plain(cut(path, n_rows=11, **options)) == plain(expected)
    assert plain(cut(path, n_rows=40, **options)) == plain(expected)


def test_a_window_ends_with_the_last_row_at_its_cutoff_and_knows_what_came(tmp_path: Path) -> None:
    frame = table()
    frame.to_csv(tmp_path / "a.csv", index=False)

    first, last = cut(tmp_path / "a.csv", cutoffs=["2024-01-02T04:30", "2024-01-01 03:00"])

    assert first.values.tolist() == frame[["a", "b"]].iloc[:4].to_numpy().tolist()
    assert first.known.tolist() == [[4.5], [5.5]]
    assert first.times.astype("datetime64[h]").tolist() == [
        pd.Timestamp("2024-01-01T04"),
        pd.Timestamp("2024-01-01T05"),
    ]
    assert (str(last.cutoff)[:13], last.known.tolist()[0]) == ("2024-01-02T04", [1.5])
    assert np.isnan(last.known[1, 0])


def test_gaps_repeat_the_last_value_and_begin_with_the_mean_of_the_run(tmp_path: Path) -> None:
    frame = table(9)
    frame.loc[[0, 5, 8], "a"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    options = {"missing": "interpolate", "cutoffs": ["2024-01-01T03", "2024-01-01T06"]}

    for n_rows in (1, 4, 100):
        first, last = cut(tmp_path / "a.csv", n_rows=n_rows, **options)
        assert first.values[:, 0].tolist() == [100.0, 1.5, 2.5, 3.5]
        assert last.values[:, 0].tolist() == [3.5, 4.5, 4.5, 6.5]
        assert (first.n_filled, last.n_filled) == (1, 1)
        # What was missing is not known, however it was filled.
        assert first.known[0] == 4.5
        assert np.isnan(first.known[1])
    with pytest.raises(UsageError, match=r"row 2, column 'a' is empty"):
        cut(tmp_path / "a.csv")
    (dropped,) = cut(tmp_path / "a.csv", missing="drop", frequency="none")
    assert dropped.values[:, 0].tolist() == [3.5, 4.5, 6.5, 0.5]


@covering(1, n_rows=[1, 4, 1000])
def test_rows_at_the_end_without_any_value_are_not_known(n_rows: int, tmp_path: Path) -> None:
    frame = table(12)
    frame.loc[[5, *range(9, 12)], ["a", "b"]] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    options: dict[str, Any] = {"missing": "interpolate", "n_rows": n_rows}

    (window,) = cut(tmp_path / "a.csv", **options)

    assert str(window.cutoff)[:13] == "2024-01-01T08"
    assert window.values[:, 0].tolist() == [4.5, 6.5, 0.5, 1.5]
    assert [str(time)[11:13] for time in window.times] == ["09", "10"]
    (window,) = cut(tmp_path / "a.csv", cutoffs=["2024-01-01T08"], **options)
    assert str(window.cutoff)[:13] == "2024-01-01T08"
    with pytest.raises(UsageError, match="the series ends before the cutoffs"):
        cut(tmp_path / "a.csv", cutoffs=["2024-01-01T10"], **options)


@covering(1, n_rows=[1, 4, 1000])
def test_a_column_without_any_number_is_refused(n_rows: int, tmp_path: Path) -> None:
    empty = table(12, "y").assign(b=np.nan)
    pd.concat([table(12, "x"), empty]).to_csv(tmp_path / "a.csv", index=False)

    with pytest.raises(UsageError, match=r"series 'y': column 'b' holds no number, so nothing"):
        cut(tmp_path / "a.csv", n_rows, missing="interpolate", series_column="id")


def test_missing_rows_are_warned_of_refused_or_filled(tmp_path: Path) -> None:
    frame = table(10).drop(index=[7])
    frame.to_csv(tmp_path / "a.csv", index=False)

    with pytest.warns(
        DataWarning, match=r"1 row is missing at a step of 1h.* after row 8 \(ds=2024"
    ):
        (window,) = cut(tmp_path / "a.csv", shape=WindowShape(8, HORIZON))
    assert window.values[-4:, 0].tolist() == [5.5, 6.5, 1.5, 2.5]
    with pytest.raises(UsageError, match=r"data.frequency=1h 1 row is missing"):
        cut(tmp_path / "a.csv", frequency="1h")
    (window,) = cut(tmp_path / "a.csv", frequency="1h", missing="interpolate")
    assert (window.values[:, 0].tolist(), window.n_filled) == ([6.5, 6.5, 1.5, 2.5], 2)


@covering(1, shortest=[None, 5], n_rows=[1, 3, 1000])
def test_rows_that_are_inserted_count_for_the_length_of_a_series(
    n_rows: int, shortest: int | None, tmp_path: Path
) -> None:
    pd.concat([table(6, "x").drop(index=[2, 3]), table(30, "y"), table(4, "z")]).to_csv(
        tmp_path / "a.csv", index=False
    )
    options = {"frequency": "1h", "series_column": "id"}
    shape = WindowShape(6, HORIZON, min_input_length=shortest)

    with pytest.warns(DataWarning, match=r"series 'z' has fewer than data.\w+=[56] rows,"):
        first, _ = cut(tmp_path / "a.csv", n_rows, shape=shape, missing="interpolate", **options)

    assert (first.series, first.values[:, 0].tolist()) == ("x", [0.5, 1.5, 1.5, 1.5, 4.5, 5.5])
    assert str(first.times[0])[:13] == "2024-01-01T06"
    with pytest.warns(DataWarning, match=r"2 series \('x', 'z'\) have fewer"):
        cut(tmp_path / "a.csv", n_rows, shape=shape, **options)


@pytest.mark.parametrize("n_rows", [7, 1000])
def test_a_gap_is_filled_however_long_it_is_beside_a_window(n_rows: int, tmp_path: Path) -> None:
    table(150).drop(index=range(45, 148)).to_csv(tmp_path / "a.csv", index=False)

    (window,) = cut(tmp_path / "a.csv", n_rows, missing="interpolate", frequency="h")

    assert (window.values[:, 0].tolist(), window.n_filled) == ([2.5, 2.5, 1.5, 2.5], 4)


def test_times_have_to_ascend_from_piece_to_piece_in_one_format(tmp_path: Path) -> None:
    frame = table(10)
    frame.iloc[[5, 6]] = frame.iloc[[6, 5]].to_numpy()
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UsageError, match=r"row 8 .+ is (not later|earlier) than row 7"):
        cut(tmp_path / "a.csv", n_rows=6)
    with pytest.raises(UsageError, match=r"row 8 .+ is (not later|earlier) than row 7"):
        cut(tmp_path / "a.csv", n_rows=100)

    lines = [f"{t:%d/%m/%Y},1,2" for t in pd.date_range("2024-01-25", periods=12)]
    path = tmp_path / "days.csv"
    path.write_text("\n".join(["ds,a,b", *lines]))
    # Of its own, the second piece could begin with the month.
    (window,) = cut(path, n_rows=7)
    assert str(window.cutoff)[:10] == "2024-02-05"
    path.write_text("\n".join(["ds,a,b", *lines[:8], "5,1,2", "6,1,2", "7,1,2"]))
    with pytest.raises(UsageError, match=r"row 10, column 'ds' holds '5', which is (not|in)"):
        cut(path, n_rows=8)


@covering(
    1,
    form=["%d/%m/%Y", "%d %b %Y", "%d %B %Y"],
    first=["2024-01-01", "2024-01-02", "2024-05-01"],
    n_rows=[1, 3, 7, 1000],
)
def test_dates_that_the_first_piece_does_not_tell_are_told_by_more_of_the_file(
    form: str, first: str, n_rows: int, tmp_path: Path
) -> None:
    times = pd.date_range(first, periods=40)
    lines = [f"{time.strftime(form)},{name},1,2" for time in times for name in "xyz"]
    path = tmp_path / "days.csv"
    path.write_text("\n".join(["ds,id,a,b", *lines]))

    windows = cut(path, n_rows, series_column="id")

    assert [window.cutoff for window in windows] == [times[-1]] * 3


def test_dates_that_no_row_tells_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "days.csv"
    path.write_text("\n".join(["ds,a,b", *(f"0{day}/02/2024,1,2" for day in range(1, 10))]))
    with pytest.raises(UsageError, match="'ds' can be read in two ways, as %m/%d/%Y and as %d"):
        cut(path, n_rows=2)


def test_series_that_are_too_short_or_end_too_early_are_left_out_and_named(tmp_path: Path) -> None:
    parts = [table(n_rows, f"s{n_rows}") for n_rows in (3, 10, 30)]
    pd.concat(parts).to_csv(tmp_path / "a.csv", index=False)
    options = {"series_column": "id", "cutoffs": ["2024-01-01T20"]}

    with pytest.warns(DataWarning) as warned:
        (window,) = cut(tmp_path / "a.csv", **options)

    assert window.series == "s30"
    assert any("2 series ('s3', 's10') end before the cutoffs" in str(w.message) for w in warned)
    with pytest.warns(DataWarning, match=r"series 's3' has fewer than data.input_length=4 rows,"):
        cut(tmp_path / "a.csv", series_column="id")
    short = WindowShape(LENGTH, HORIZON, min_input_length=2)
    windows = cut(tmp_path / "a.csv", series_column="id", shape=short)
    assert [len(window.values) for window in windows] == [3, 4, 4]


def test_batches_with_all_that_is_known_are_those_of_windows_that_have_targets() -> None:
    frame = with_rows_ahead(20, HORIZON)
    values, times = frame[["a", "b"]].to_numpy(), frame["ds"].to_numpy()
    whole = Table(times[:20], values[:20], ("a", "b"), ("a",), "x", ("b",), {"size": 3.0})
    options: dict[str, Any] = {"input_length": LENGTH, "horizon": HORIZON, "batch_size": 4}
    data = SeriesDataModule(whole, calendar=["hour"], split=[20, 0, 0], **options)
    end = 12
    window = ForecastWindow(
        "x",
        values[end - LENGTH : end],
        times[end - LENGTH : end],
        times[end : end + HORIZON],
        np.zeros((HORIZON, 1)),
        values[end : end + HORIZON, 1:],
        times[end : end + HORIZON],
        np.zeros(1),
    )

    dataset = ForecastDataset(
        [window],
        [0],
        SHAPE,
        data.standardizer,
        centre="last",
        calendar=["hour"],
        batch_size=4,
    )

    expected = data.dataset("training").__getitems__([end - LENGTH])
    found = dataset.__getitems__([0])
    assert set(found) == set(expected) - {"y"} == {"x", "anchor", "future", "static"}
    assert all(torch.equal(found[name], expected[name]) for name in found)
    # Another replica may have no row of a batch.
    none = ForecastDataset(
        [window],
        [0],
        SHAPE,
        data.standardizer,
        centre="last",
        calendar=["hour"],
        batch_size=4,
        share=Share(1, 2),
    ).__getitems__([0])
    assert {name: tuple(tensor.shape) for name, tensor in none.items()} == {
        name: (0, *tensor.shape[1:]) for name, tensor in found.items()
    }


@pytest.mark.parametrize("level", [3, 1e9])
def test_batches_are_those_of_windows_that_have_targets(level: float) -> None:
    values = np.random.default_rng(0).normal(level, 2, size=(20, 2))
    scale = Standardizer(np.array([1.0, 2.0]), np.array([3.0, 0.7]))
    windows = [
        ForecastWindow(
            "s",
            rows,
            np.arange(len(rows)),
            np.zeros(2),
            np.zeros((2, 1)),
            np.zeros((2, 0)),
            np.zeros(2),
            np.zeros(0),
        )
        for rows in (values[max(0, end - 4) : end] for end in range(2, 19))
    ]
    shape = WindowShape(LENGTH, HORIZON, min_input_length=2)
    part = SeriesPart(range(20))
    expected = WindowDataset(scale.transform(values), [1], [part], shape).__getitems__(range(17))

    dataset = ForecastDataset(windows, [1], shape, scale, centre="last", batch_size=32)
    found = dataset.__getitems__(range(17))

    assert set(found) == {"x", "anchor", "lengths"}
    differences = scale.transform(values)[5:8] - scale.transform(values)[8]
    assert found["x"][7, :3].numpy() == pytest.approx(differences, rel=1e-6)
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype
        assert tensor.equal(expected[name]), name
