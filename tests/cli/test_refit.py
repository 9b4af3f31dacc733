"""With `refit`, each model of a backtest knows what was known at its first origin, and no more."""

import numpy as np
import pandas as pd

from tests.cli.finished import OF_FILE, finish_run, series
from tests.cli.in_process import RunCommand, assert_refused
from tests.cli.test_backtest import result_of, rows_of

OF_PANEL = (
    *OF_FILE,
    "data.path=panel.csv",
    "data.series_column=id",
    "trainer.limit_train_batches=2",
)


def part_of_panel(name: str, first_hour: int, n_rows: int) -> pd.DataFrame:
    rows = series(n_rows, first_hour).assign(id=name)
    return rows.assign(date=rows["date"] + pd.Timedelta(hours=first_hour))


def test_a_refit_knows_of_no_series_what_came_after_its_first_origin(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    # The last origins are after the hours 116 and 126.
    parts = [part_of_panel("x", 0, 120), part_of_panel("y", 60, 70)]
    panel = pd.concat(parts, ignore_index=True)
    panel.to_csv("panel.csv", index=False)
    assert train_command(*OF_PANEL).status == 0
    # In place of what came after hour 116, something else comes.
    later = (panel["id"] == "y") & (panel["date"] > "2024-01-05T20:00")
    panel.loc[later, ["a", "b", "c"]] *= -3
    panel.to_csv("other.csv", index=False)
    found = []
    for path in ("panel.csv", "other.csv"):
        settings = ("refit=true", "n_origins=1", f"data.path={path}")
        ended = use_command("backtest", "run=run", *settings)
        assert result_of(ended)["fits"] == 2
        found.append(rows_of("run/backtest/forecasts.csv"))

    assert "Fit 1/2: trains on the rows of 2 series up to 2024-01-05 20:00:00" in ended.out
    for one, other in zip(*found, strict=True):
        assert (one == other) == (one["unique_id"] == "x")


def test_a_history_is_measured_when_its_own_first_origin_is_known(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    # The last origins are after the hours 116 and 126, and the gap of y is between them.
    parts = [part_of_panel("x", 0, 120), part_of_panel("y", 60, 70)]
    parts[1].loc[60, ["a", "b"]] = np.nan
    pd.concat(parts).to_csv("panel.csv", index=False)
    assert train_command(*OF_PANEL, "data.missing=interpolate").status == 0

    assert result_of(use_command("backtest", "run=run", "refit=true", "n_origins=1"))["fits"] == 2

    found = pd.read_csv("run/backtest/backtest.csv")
    of_y = found[found["unique_id"] == "y"]
    # Its second fit validates on the rows from 60 on, where a gap repeats the value before.
    naive = parts[1][["a", "b"]].ffill().iloc[:67].diff(4).abs().mean()
    expected = of_y["mae_in_units"] / of_y["target"].map(naive)
    np.testing.assert_allclose(of_y["mase_of_history"], expected, rtol=1e-6)
    assert found["mase_of_history"].notna().all()


def test_a_series_that_has_ended_before_the_origins_is_trained_on(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    whole = {"x": (120, "north"), "y": (120, "north"), "ended": (70, "south")}
    parts = [
        part_of_panel(name, 0, n_rows).assign(region=region)
        for name, (n_rows, region) in whole.items()
    ]
    pd.concat(parts).to_csv("panel.csv", index=False)
    assert train_command(*OF_PANEL, "data.static=[region]").status == 0
    backtest = ("backtest", "run=run", "refit=true", "n_origins=1")

    ended = use_command(*backtest, "start=2024-01-05")

    assert result_of(ended)["test_windows"] == 2
    assert "Fit 1/1: trains on the rows of 3 series up to 2024-01-05" in ended.out
    # Eight rows before its origin are too few to train on, so no model knows its word.
    begins = part_of_panel("begins", 89, 30).assign(region="west")
    pd.concat([*parts, begins]).to_csv("more.csv", index=False)
    refused = [
        "'west'",
        "only north, south;",
        "Fit 1/1 is trained on the rows up to 2024-01-05;",
        "give a later start, or leave the series out",
    ]
    assert_refused(use_command(*backtest, "start=2024-01-05", "data.path=more.csv"), refused)
    later = use_command(*backtest, "start=2024-01-05T12:00", "data.path=more.csv")
    assert result_of(later)["test_windows"] == 3


def test_numbers_that_a_later_fit_cannot_scale_are_refused_before_the_first(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    # The fits are trained on 96, 99, 102 and 105 rows, and the square of this number is 0.
    table = series().assign(c=0.0)
    table.loc[100, "c"] = 1e-200
    table.to_csv("other.csv", index=False)

    ended = use_command("backtest", "run=run", "refit=true", "n_origins=4", "data.path=other.csv")

    fit = "Fit 3/4 is trained on the rows up to 2024-01-05 17:00:00"
    assert_refused(ended, ["column 'c'", "no number can be scaled", fit])
