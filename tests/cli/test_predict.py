"""`predict` forecasts from the end of each series, or from cutoffs, and writes each row once."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gru_parallel
from gru_parallel.assembly.finished_run import open_run
from gru_parallel.assembly.forecast import prepare_forecasts
from gru_parallel.data.forecast import Forecast
from gru_parallel.report.forecasts_file import read_forecasts
from tests.cli.finished import HORIZON, OF_FILE, TEST_ROWS, finish_run, names_in, series
from tests.cli.in_process import RunCommand, assert_refused

OUTPUT = Path("run/predictions/forecasts.csv")

REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "an unknown kind": (["output=f.xlsx"], ["output=f.xlsx", ".csv or .parquet"]),
    "its data as output": (
        ["output=series.csv"],
        ["output=series.csv", "would overwrite series.csv"],
    ),
    "a file of the run as output": (
        ["output=run/forecasts.csv"],
        ["would overwrite run/forecasts.csv"],
    ),
    "a picture of the run as its picture": (["output=run/forecast.csv"], ["run/forecast.png"]),
    "a cutoff that is no date": (["cutoffs=[soon]"], ["cutoffs=[soon]", "2020-01-31"]),
    "cutoffs that are a mapping": (["cutoffs={a: 1}"], ["cutoffs=", "list of moments"]),
    "cutoffs before the series": (["cutoffs=[2023-12-31]"], ["nothing to forecast", "cutoffs"]),
    "cutoffs after the series": (
        ["cutoffs=[2031-01-01]"],
        ["nothing to forecast", "the series ends before the cutoffs"],
    ),
    "a name for no column": (["names=GRU"], ["names=GRU", "names={y_hat: GRU"]),
    "an unknown column": (["names={yhat: x}"], ["yhat", "y_hat?"]),
    "two columns of one name": (["names={y_hat: ds}"], ["'ds'", "name of its own"]),
    "a short series": (["data.path=short.csv"], ["nothing to forecast", "input_length=8"]),
    "a text among numbers": (["data.path=text.csv"], ["text.csv", "row 4", "'x'"]),
    "a file without a column": (["data.path=lacking.csv"], ["has no column 'b'", "'B'?"]),
}


def rows_of(path: Path = OUTPUT) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def as_read(row: dict[str, str]) -> Forecast:
    """Return a forecast as the folder of a run would tell it."""
    names = (row[name] for name in ("unique_id", "ds", "cutoff"))
    return Forecast(*names, row.get("target", ""), float(row["y_hat"]), float(row["y"]))


def test_forecasts_go_on_where_the_series_ends(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)

    ended = use_command("predict", "run=run", draws=True)

    assert (ended.status, ended.err) == (0, "")
    rows = rows_of()
    assert list(rows[0]) == ["unique_id", "ds", "cutoff", "target", "y_hat"]
    assert [(row["ds"], row["target"]) for row in rows] == [
        (f"2024-01-06 0{hour}:00:00", target) for hour in range(HORIZON) for target in ("b", "a")
    ]
    assert {(row["unique_id"], row["cutoff"]) for row in rows} == {
        ("series", "2024-01-05 23:00:00")
    }
    # In the units of the series: near its last values.
    last = series().iloc[-1]
    assert all(abs(float(row["y_hat"]) - last[row["target"]]) < 5 for row in rows)
    picture = OUTPUT.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    for said in ("series", str(len(rows)), str(OUTPUT), str(picture)):
        assert said in ended.out


def test_forecasts_from_cutoffs_are_those_of_the_test_beside_what_came(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE)
    expected = list(read_forecasts(run / "forecasts.csv"))
    # All those of the test, in the same batches: a batch of another size has other last digits.
    times = series()["date"].iloc[TEST_ROWS.start - 1 : TEST_ROWS.stop - HORIZON]
    cutoffs = [f"{time:%Y-%m-%dT%H}" for time in times]

    ended = use_command("predict", "run=run", f"cutoffs=[{','.join(reversed(cutoffs))}]")

    assert (ended.status, ended.err) == (0, "")
    shown = {pd.Timestamp(each.cutoff) for each in expected}
    found = [row for row in rows_of() if pd.Timestamp(row["cutoff"]) in shown]
    assert len(rows_of()) == len(cutoffs) * HORIZON * 2
    assert list(found[0]) == ["unique_id", "ds", "cutoff", "target", "y_hat", "y"]
    assert [as_read(row) for row in found] == expected
    assert list(found[0]) == list(rows_of(run / "forecasts.csv")[0])


def test_a_few_are_drawn_with_what_was_known_and_what_came(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    frames: list[pd.DataFrame] = []
    cutoffs = [f"2024-01-05T{hour}" for hour in range(10, 23)]

    panels = prepare_forecasts(open_run("run"), cutoffs).run(frames.append)

    assert [(str(each.past_times[-1])[11:13], each.target) for each in panels] == [
        *(("10", "b"), ("12", "a"), ("15", "b"), ("17", "a"), ("20", "b"), ("22", "a"))
    ]
    last, rows = panels[-1], series()
    assert last.past.tolist() == rows["a"].iloc[-9:-1].tolist()
    assert last.past_times.tolist() == rows["date"].iloc[-9:-1].to_numpy().tolist()
    assert (last.came[0], np.isnan(last.came[1:]).all()) == (rows["a"].iloc[-1], True)
    forecast = pd.concat(frames).query("target == 'a'")["y_hat"].iloc[-HORIZON:]
    assert last.forecast.tolist() == forecast.astype(float).tolist()


def test_what_came_is_left_open_where_it_is_not_known(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)

    ended = use_command("predict", "run=run", "cutoffs=2024-01-05T22:30", draws=True)

    assert ended.status == 0, ended.err
    known = {row["ds"]: row["y"] for row in rows_of() if row["target"] == "a"}
    assert list(known) == [f"2024-01-{at}:00:00" for at in ("05 23", "06 00", "06 01")]
    assert list(known.values()) == [str(series()["a"].iloc[-1]), "", ""]


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_one_file_comes_out_byte_for_byte_however_many_threads_make_it(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    long_table("many.csv")
    written = []
    for device_map in ("[0,0,0,0]", "[0,0,1,1]"):
        ended = use_command(
            "predict",
            "run=run",
            "data.path=many.csv",
            "data.series_column=id",
            "data.batch_size=4",
            f"placement.device_map={device_map}",
        )
        assert ended.status == 0, ended.err
        written.append(OUTPUT.read_bytes())

    assert written[0] == written[1]
    # Series 3 is too short, and each of the others comes once, in the order of the file.
    ids = list(dict.fromkeys(row["unique_id"] for row in rows_of()))
    assert ids == [f"s{n}" for n in range(9) if n != 3]
    assert len(rows_of()) == 8 * HORIZON * 2
    assert (
        "series 's3' has fewer than data.input_length=8 rows, and no forecast is made" in ended.err
    )


def long_table(path: str) -> None:
    """Write nine series, row by row in turn, one of them a short one."""
    parts = [series(5 if n == 3 else 20 + n, seed=n).assign(id=f"s{n}") for n in range(9)]
    pd.concat(parts).sort_index(kind="stable").to_csv(path, index=False)


def test_parquet_holds_the_numbers_of_csv_under_the_names_that_one_gives(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    series().to_parquet("series.parquet")
    common = ("predict", "run=run", "cutoffs=[2024-01-03]")

    plain = use_command(*common)
    other = use_command(
        *common,
        "output=new/f.parquet",
        "data.path=series.parquet",
        "names={y_hat: GRU, unique_id: id}",
    )

    assert (plain.status, other.status) == (0, 0), other.err
    found = pd.read_parquet("new/f.parquet")
    assert list(found) == ["id", "ds", "cutoff", "target", "GRU", "y"]
    assert [str(value) for value in found["GRU"].to_numpy()] == [row["y_hat"] for row in rows_of()]
    assert found["ds"].iloc[0] == pd.Timestamp("2024-01-03T01:00")
    assert not Path("new/f.parquet.part").exists()


def test_from_python_a_frame_comes_back(train_command: RunCommand, use_command: RunCommand) -> None:
    finish_run(train_command, *OF_FILE)
    use_command("predict", "run=run")

    frame = gru_parallel.forecast("run")

    assert list(frame) == ["unique_id", "ds", "cutoff", "target", "y_hat"]
    assert [str(value) for value in frame["y_hat"].to_numpy()] == [
        row["y_hat"] for row in rows_of()
    ]


def test_a_model_that_predicts_at_every_step_forecasts_one_step(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    heads = ("model.head=every_step", "data.centre=none", "data.target=a")
    run = finish_run(train_command, *OF_FILE, *heads)
    expected = read_forecasts(run / "forecasts.csv")[3]

    ended = use_command("predict", "run=run", f"cutoffs=[{expected.cutoff}]")

    assert ended.status == 0, ended.err
    (row,) = rows_of()
    assert as_read(row)[:-1] == pytest.approx(expected[:-1])
    assert list(row) == list(rows_of(run / "forecasts.csv")[0])
    assert (row["unique_id"], "target" in row) == ("series", False)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_ends_with_one_line_and_leaves_nothing(
    name: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    arguments, fragments = REFUSED[name]
    series(5).to_csv("short.csv", index=False)
    series().rename(columns={"b": "B"}).to_csv("lacking.csv", index=False)
    lines = series().to_csv(index=False).splitlines()
    lines[3] = f"{lines[3].rpartition(',')[0]},x"
    Path("text.csv").write_text("\n".join(lines))
    before = names_in(Path())

    ended = use_command("predict", "run=run", *arguments)

    assert_refused(ended, fragments)
    assert names_in(Path()) == before


def test_a_run_on_the_built_in_series_forecasts_by_row_numbers(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    settings = [text for text in OF_FILE if not text.startswith("data")]
    generated = ("data.n_steps=120", "data.n_channels=4", "data.input_length=8", "data.horizon=2")
    finish_run(train_command, *settings, *generated)

    ended = use_command("predict", "run=run", "cutoffs=[100]")

    assert ended.status == 0, ended.err
    assert {(row["cutoff"], row["ds"]) for row in rows_of()} == {("100", "101"), ("100", "102")}
