"""Forecasts in the units of the series, with times: of which windows, of which rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gru_parallel.data.forecasts import (
    forecasts_of,
    windows_of_batch,
    windows_to_show,
    written,
)
from gru_parallel.data.series_data import SeriesData
from gru_parallel.data.share import Share
from gru_parallel.data.table import Table
from gru_parallel.report.forecasts_file import read_forecasts, write_forecasts

COLUMNS, TARGETS = ("a", "b"), ("b",)


def table(n_rows: int = 100, name: str = "", times: bool = False) -> Table:
    """Make a table whose column b counts 1,000 and its rows."""
    rows = np.arange(float(n_rows))
    values = np.stack([np.sin(rows), 1000 + rows], axis=1)
    start = np.datetime64("2026-01-31T22", "h")
    return Table(start + np.arange(n_rows) if times else None, values, COLUMNS, TARGETS, name)


def data_of(*tables: Table, **options: Any) -> SeriesData:
    defaults: dict[str, Any] = {"input_length": 6, "horizon": 3, "batch_size": 4}
    return SeriesData(list(tables) or [table()], **defaults | options)


def perfect(data: SeriesData, windows: list[int]) -> dict[int, torch.Tensor]:
    """Predict what came."""
    return {window: data.dataset("test")[window]["y"] for window in windows}


@pytest.mark.parametrize("centre", ["last", "none"])
def test_a_perfect_prediction_is_what_came_in_the_units_of_the_series(centre: str) -> None:
    data = data_of(centre=centre)
    forecasts = forecasts_of(data, perfect(data, [5, 0]), "f")

    # The test part begins with row 80; window 0 has its targets there, window 5 five rows later.
    assert [(f.ds, f.cutoff) for f in forecasts] == [
        *(("80", "79"), ("81", "79"), ("82", "79")),
        *(("85", "84"), ("86", "84"), ("87", "84")),
    ]
    assert {(f.unique_id, f.target) for f in forecasts} == {("f", "")}
    for forecast in forecasts:
        assert forecast.y == pytest.approx(1000 + int(forecast.ds), abs=1e-3)
        assert forecast.y_hat == pytest.approx(forecast.y, abs=1e-3)


def test_forecasts_of_a_high_level_keep_their_digits() -> None:
    rows = np.arange(100.0)
    high = Table(None, 1.5e9 + 30 * np.sin(rows)[:, None], ("a",), ("a",))
    data = data_of(high)

    for levels in ((), (0.5,)):
        predictions = perfect(data, [0, 7])
        if levels:
            predictions = {w: torch.stack([y, y], dim=-1) for w, y in predictions.items()}
        for forecast in forecasts_of(data, predictions, "f", levels):
            values = [forecast.y_hat, *(value for _, value in forecast.quantiles)]
            assert values == pytest.approx([forecast.y] * len(values), rel=0, abs=1e-3)


def test_a_prediction_of_no_change_repeats_the_last_value() -> None:
    data = data_of(centre="last")
    (first, *_, last) = forecasts_of(data, {0: torch.zeros(3, 1)}, "f")

    assert first.y_hat == last.y_hat == pytest.approx(1079, abs=1e-3)
    assert last.y == pytest.approx(1082, abs=1e-3)


def test_times_are_written_as_dates() -> None:
    data = data_of(table(times=True))
    (first, *_) = forecasts_of(data, perfect(data, [0]), "f")

    # 80 hours after the 31st, 22 o'clock.
    assert (first.ds, first.cutoff) == ("2026-02-04 06:00:00", "2026-02-04 05:00:00")


def test_each_series_is_named_and_counts_its_own_rows() -> None:
    data = data_of(table(100, "x"), table(60, "y"))
    # 20 rows of x are in its test part, which makes 18 windows.
    forecasts = forecasts_of(data, perfect(data, [0, 18]), "f")

    assert [(f.unique_id, f.ds) for f in forecasts[::3]] == [("x", "80"), ("y", "48")]
    assert forecasts[3].y_hat == pytest.approx(1048, abs=1e-3)


def test_at_every_step_the_forecast_of_a_window_is_that_of_its_last_step() -> None:
    series = [table(100, name) for name in ("x", "y", "z")]
    options = {"task": "every_step", "centre": "none", "min_input_length": 2, "horizon": 2}
    data = data_of(*series, **options, split=(1, 1, 1), split_by="series")
    dataset = data.dataset("test")
    padded = {0: torch.cat([dataset[0]["y"], torch.full((3, 1), 7.0)])}
    (forecast,) = forecasts_of(data, padded, "f")

    # The first window has two rows, and the series three.
    assert (forecast.unique_id, forecast.ds, forecast.cutoff) == ("z", "3", "1")
    assert forecast.y_hat == pytest.approx(forecast.y, abs=1e-3)
    assert forecast.y == pytest.approx(1000 + int(forecast.ds), abs=1e-3)


def test_no_prediction_is_no_forecast() -> None:
    assert forecasts_of(data_of(), {}, "f") == []


def test_windows_to_show_follow_one_another_without_overlap() -> None:
    data = data_of()
    tested = data.evaluation_windows("test", 100)

    assert windows_to_show(data, tested).tolist() == [0, 3, 6, 9, 12, 15]
    assert windows_to_show(data, tested[:7].flip(0)).tolist() == [0, 3, 6]
    assert windows_to_show(data, tested[:0]).tolist() == []


def test_of_too_many_values_windows_are_chosen_evenly() -> None:
    data = data_of(table(30_000))
    tested = data.evaluation_windows("test", 10_000)
    shown = windows_to_show(data, tested)

    # 5,998 windows, each third of which makes 5,997 values; 4,000 are to be enough.
    assert len(shown) * 3 <= 4000
    assert set(shown.diff().tolist()) == {6}


@pytest.mark.parametrize("n_shares", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"order": "streams", "centre": "none", "stride": 3}])
def test_the_windows_of_batches_are_those_whose_targets_they_have(
    n_shares: int, options: dict[str, Any]
) -> None:
    seen: list[int] = []
    for index in range(n_shares):
        data = data_of(share=Share(index, n_shares), **options)
        for number, batch in enumerate(data.test_dataloader()):
            windows = windows_of_batch(data, batch, number)
            assert torch.equal(data.dataset("test").__getitems__(windows)["y"], batch["y"])
            seen += windows.tolist()
    assert sorted(seen) == list(range(len(data.dataset("test"))))


def test_times_of_one_table_are_written_in_one_way() -> None:
    days = np.array(["2026-02-04", "2026-02-05"], dtype="datetime64[s]")

    assert written(days) == [["2026-02-04", "2026-02-05"]]
    assert written(days, days[:1] + 1800) == [
        ["2026-02-04 00:00:00", "2026-02-05 00:00:00"],
        ["2026-02-04 00:30:00"],
    ]
    assert written(np.array([3, 4])) == [["3", "4"]]


def test_times_that_are_whole_numbers_are_written_without_a_point() -> None:
    assert written(np.array([1577836800.0, 1e16])) == [["1577836800", "10000000000000000"]]
    assert written(np.array([3.0]), np.array([3.5])) == [["3.0"], ["3.5"]]
    assert written(np.array([1e30])) == [["1e+30"]]


@pytest.mark.parametrize("task", ["window", "every_step"])
def test_quantiles_are_columns_in_the_units_of_the_series(task: str, tmp_path: Path) -> None:
    data = data_of(task=task, centre="none")
    scale = float(data.standardizer.scale[1])
    steps = torch.tensor([0.0, -2.0, 0.0, 5.0]) / scale
    predictions = {w: y.unsqueeze(-1) + steps for w, y in perfect(data, [0, 3]).items()}

    forecasts = forecasts_of(data, predictions, "f", (0.1, 0.5, 0.9))

    for forecast in forecasts:
        assert [level for level, _ in forecast.quantiles] == [0.1, 0.5, 0.9]
        assert [value - forecast.y for _, value in forecast.quantiles] == pytest.approx(
            [-2, 0, 5], abs=2e-3
        )
        assert forecast.y_hat == forecast.quantiles[1][1]
    write_forecasts(forecasts, tmp_path / "forecasts.csv")
    head = (tmp_path / "forecasts.csv").read_text().splitlines()[0]
    assert head == "unique_id,ds,cutoff,y_hat,y_hat_0.1,y_hat_0.5,y_hat_0.9,y"
    assert read_forecasts(tmp_path / "forecasts.csv") == tuple(forecasts)
