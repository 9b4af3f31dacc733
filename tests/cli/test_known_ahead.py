"""Columns and dates that are known ahead, from training to forecasts of rows that have not come."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data import Table
from gru_parallel.report.forecasts_file import read_forecasts
from tests.cli.finished import HORIZON, N_ROWS, OF_FILE, finish_run, names_in, series
from tests.cli.in_process import SMALL, RunCommand, assert_refused

AHEAD = (*OF_FILE, "data.future=[c]", "data.calendar=[hour,dayofweek]")
DECODER = (
    *AHEAD,
    "data.horizon=10",
    "model.encoder=segments",
    "model.segment_length=4",
    "model.head=decoder",
    "schedule.n_chunks=2",
)
N_PAST = N_ROWS - 12
"""Rows of a file of which the rest is ahead."""


def with_rows_ahead(n_ahead: int) -> pd.DataFrame:
    """Make the series as it is `N_PAST` rows on, with what is known of the rows after them."""
    frame = series().iloc[: N_PAST + n_ahead]
    frame.loc[N_PAST:, ["a", "b"]] = np.nan
    return frame


def forecast_by(use_command: RunCommand, *arguments: str) -> list[list[str]]:
    """Return time, target and value of each forecast."""
    ended = use_command("predict", "run=run", "output=out.csv", *arguments)
    assert ended.status == 0, ended.err
    with Path("out.csv").open(newline="") as file:
        return [[row["ds"], row["target"], row["y_hat"]] for row in csv.DictReader(file)]


@pytest.mark.parametrize(("settings", "horizon"), [(AHEAD, HORIZON), (DECODER, 10)])
def test_forecasts_use_the_rows_ahead_of_the_file(
    settings: tuple[str, ...], horizon: int, train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *settings)
    cutoff = f"{series()['date'].iloc[N_PAST - 1]:%Y-%m-%dT%H}"
    expected = forecast_by(use_command, f"cutoffs=[{cutoff}]")

    with_rows_ahead(12).to_csv("next.csv", index=False)
    found = forecast_by(use_command, "data.path=next.csv")

    assert len(found) == 2 * horizon
    assert found == expected
    changed = with_rows_ahead(12)
    changed.loc[N_PAST + 1, "c"] += 5
    changed.loc[N_PAST + horizon :, "c"] += 50
    changed.to_csv("next.csv", index=False)
    other = forecast_by(use_command, "data.path=next.csv")
    assert [row[:2] for row in other] == [row[:2] for row in expected]
    assert all(one[2] != two[2] for one, two in zip(other[2:4], expected[2:4], strict=True))
    changed.loc[N_PAST + horizon :, "c"] += 50
    changed.to_csv("next.csv", index=False)
    assert forecast_by(use_command, "data.path=next.csv") == other


def test_a_run_is_tested_again_and_forecasts_its_test_from_cutoffs(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *AHEAD)
    evaluated = use_command("evaluate", "run=run")
    assert evaluated.status == 0, evaluated.err
    before, again = (
        json.loads(path.read_text())["test_metrics"]
        for path in (run / "summary.json", run / "evaluation" / "evaluation.json")
    )
    assert again == before
    tested = list(read_forecasts(run / "forecasts.csv"))
    cutoffs = ",".join(dict.fromkeys(each.cutoff.replace(" ", "T") for each in tested))
    found = forecast_by(use_command, f"cutoffs=[{cutoffs}]")
    assert [float(row[2]) for row in found] == pytest.approx([each.y_hat for each in tested])
    assert use_command("backtest", "run=run", "refit=true", "n_origins=1").status == 0
    exported = use_command("export", "run=run", "format=torch")
    assert_refused(exported, ["known ahead or of", "data.calendar", "export takes the rows"])


REFUSED = {
    "no rows ahead": (
        lambda: series(),
        ["series 'next' from 2024-01-05 23:00:00", "next 3 rows", "at 2024-01-06 00:00:00", "'c'"],
    ),
    "too few rows ahead": (lambda: with_rows_ahead(2), ["from 2024-01-05 11:00:00", "at 2024-"]),
    "a row ahead without its value": (
        lambda: with_rows_ahead(3).assign(c=series()["c"].where(series().index != N_PAST + 1)),
        ["row 111", "column 'c' is empty"],
    ),
    "rows without values inside": (
        lambda: pd.concat([with_rows_ahead(2), series().iloc[N_PAST + 2 :]]),
        ["row 110 has no values, and row 121 after it has", "data.missing=interpolate"],
    ),
    "no dates": (
        lambda: with_rows_ahead(3).assign(date=np.arange(N_PAST + 3)),
        ["data.calendar=[hour,dayofweek] is read from dates", "numbers for times"],
    ),
    "a file without the column": (
        lambda: series().drop(columns="c"),
        ["has no column 'c', which the model was trained on"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_forecast_lacks_is_said(
    name: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *AHEAD)
    make, fragments = REFUSED[name]
    make().to_csv("next.csv", index=False)
    before = names_in(Path())

    ended = use_command("predict", "run=run", "data.path=next.csv")

    assert_refused(ended, fragments)
    assert names_in(Path()) == before


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        (["data.horizon=10"], ["data.horizon=10 exceeds data.input_length=8", "head=decoder"]),
        (["data.future=[a]"], ["data.target and data.future both name 'a'"]),
        (["data.calendar=[hours]"], ["data.calendar=[hours] is not valid", "hour, dayofweek"]),
        (
            ["data.time_column=none", "data.columns=[a,b]"],
            ["data.calendar", "no times; use data with dates (of a file, data.time_column"],
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(
    settings: list[str], fragments: list[str], train_command: RunCommand
) -> None:
    series().to_csv("series.csv", index=False)
    ended = train_command(*AHEAD, *settings)
    assert_refused(ended, fragments)
    assert not ended.folder.exists()


def own_series(n_ahead: int = 0) -> Table:
    """What data=own has here: the series, with what is known of some rows ahead."""
    frame = with_rows_ahead(n_ahead)
    columns = ("a", "b", "c")
    values, times = frame[[*columns]].to_numpy(), frame["date"].to_numpy()
    return Table(times, values, columns, ("b", "a"), future=("c",))


def test_series_of_ones_own_have_rows_ahead_too(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    of_file = ("data=", "data.path=", "data.target=")
    settings = [text for text in OF_FILE if not text.startswith(of_file)]
    own = ("data=own", f"data.source={__name__}.own_series", "data.calendar=[hour]")
    assert train_command(*settings, *own, "data.arguments={n_ahead: 2}").status == 0

    ended = use_command("predict", "run=run")
    assert_refused(
        ended, [f"data.source={__name__}.own_series: the", "series 'own'", "no 'c'; add"]
    )
    found = forecast_by(use_command, "data.arguments={n_ahead: 3}")
    assert [row[0] for row in found[::2]] == [f"2024-01-05 {hour}:00:00" for hour in (12, 13, 14)]


def test_a_run_resumes_only_with_what_it_knew_ahead(train_command: RunCommand) -> None:
    finish_run(train_command, *AHEAD)
    settings = [text for text in AHEAD if not text.startswith("data.calendar")]
    last = "ckpt_path=run/checkpoints/last.ckpt"

    ended = train_command(*settings, "data.calendar=[hour,month]", last, run="more")

    assert_refused(ended, ["calendar features hour, dayofweek", "hour, month"])


def test_a_series_that_is_generated_has_no_column_of_dates_to_name(
    train_command: RunCommand,
) -> None:
    refused = ["no times; use data with dates (of a file,", "or leave data.calendar out"]

    assert_refused(train_command(*SMALL, "data.calendar=[hour]"), refused)
