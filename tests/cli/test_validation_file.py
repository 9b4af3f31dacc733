"""A run may validate on a file of its own."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gru_parallel.training.checkpoint_file import read_checkpoint
from tests.cli.finished import LENGTH, OF_FILE, series
from tests.cli.in_process import (
    Ended,
    RunCommand,
    assert_refused,
    look_at,
    losses_of,
    summary_of,
)

VALIDATED = (*OF_FILE, "data.validation_path=valid.csv", "data.split=[84,0,24]")


def write_files() -> None:
    """Cut the series into rows to train and test on, and rows to validate on."""
    whole = series(150)
    whole.to_csv("series.csv", index=False)
    # In another order, and with one column more.
    whole.iloc[84:96].assign(d=0.5)[["d", "c", "b", "a", "date"]].to_csv("valid.csv", index=False)


def record_of(ended: Ended, part: str) -> Any:
    saved = read_checkpoint(ended.folder / "checkpoints" / "last.ckpt")
    return saved["SeriesDataModule"]["parts"][part]


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_a_file_is_validated_on_like_the_part_that_it_was_cut_from(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    write_files()
    ended = look_at(train_command, *VALIDATED)
    assert ended.status == 0, ended.err
    ignored = "valid.csv: d is not among the columns that the run trains on, and ignored."
    assert f"data.validation_path={ignored}" in ended.out + ended.err
    assert record_of(ended, "validation")["n_rows"] == 12
    expected = series(150)[["a", "b", "c"]].iloc[84:96].mean().tolist()
    assert record_of(ended, "validation")["mean"] == pytest.approx(expected)
    assert summary_of(ended)["validation_loss"] > 0
    # What is trained on, and how it is scaled, is as without the file.
    other = train_command(*OF_FILE, "data.split=[84,12,24]", run="other")
    assert losses_of(other) == losses_of(ended)
    assert record_of(other, "training") == record_of(ended, "training")
    ids = [
        pd.read_csv(each.folder / "forecasts.csv")["unique_id"].unique().tolist()
        for each in (ended, other)
    ]
    assert ids[0] == ids[1]

    run = f"run={ended.folder}"
    assert use_command("evaluate", run, "output=again").status == 0
    tested = json.loads(Path("again/evaluation.json").read_text())["test_metrics"]
    assert tested == summary_of(ended)["test_metrics"]
    refit = use_command("backtest", run, "output=refit", "refit=true", "n_origins=1")
    assert refit.status == 0, refit.err
    assert_refused(use_command("predict", run, "output=valid.csv"), ["would overwrite valid.csv"])


def test_a_file_may_validate_on_later_rows_of_the_same_series(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    one, other = series(150).assign(id="x"), series(150).assign(id="y")
    for name, rows in (("series.csv", slice(0, 120)), ("valid.csv", slice(120, 150))):
        pd.concat([one[rows], other[rows]]).to_csv(name, index=False)

    ended = train_command(*VALIDATED, "data.series_column=id")

    assert ended.status == 0, ended.err
    forecasts = pd.read_csv(ended.folder / "forecasts.csv")
    assert [*forecasts["unique_id"].unique()] == ["x", "y"]


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_a_test_of_the_run_does_not_need_the_file(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    write_files()
    ended = look_at(train_command, *VALIDATED)
    assert ended.status == 0, ended.err
    Path("valid.csv").unlink()
    Path("series.csv").rename("moved.csv")

    for settings in ((), ("data.validation_path=null",)):
        moved = (f"run={ended.folder}", "output=again", "data.path=moved.csv")
        again = use_command("evaluate", *moved, *settings)
        assert again.status == 0, again.err
        tested = json.loads(Path("again/evaluation.json").read_text())["test_metrics"]
        assert tested == summary_of(ended)["test_metrics"]


def test_its_windows_are_its_own(train_command: RunCommand) -> None:
    write_files()
    series(150).iloc[84:95].to_csv("valid.csv", index=False)
    assert train_command(*VALIDATED).status == 0
    series(150).iloc[84 : 84 + LENGTH].to_csv("valid.csv", index=False)
    assert_refused(
        train_command(*VALIDATED, run="short"), ["The validation part", "has 8 rows", "needs 11"]
    )


@pytest.mark.parametrize(
    ("sweep", "n_windows", "comparable"),
    [
        # The first forecast of the file comes after its first input_length rows.
        (["data.input_length=8,9"], [2, 1], ["0", "1"]),
        (["data.batch_size=16,1", "trainer.limit_val_batches=1"], [2, 1], ["0", "1"]),
        (["data.batch_size=16,1"], [2, 2], ["0", "0"]),
    ],
)
def test_only_runs_on_the_same_windows_of_it_are_put_side_by_side(
    sweep: list[str], n_windows: list[int], comparable: list[str], train_command: RunCommand
) -> None:
    write_files()
    series(150).iloc[84:96].to_csv("valid.csv", index=False)
    short = ["trainer.limit_train_batches=1", "hydra.sweep.dir=sweep"]
    ended = train_command(*VALIDATED, *sweep, *short, flags=("-m",))

    assert ended.status == 0, ended.err
    with Path("sweep/comparison.csv").open(newline="") as file:
        assert [row["comparable"] for row in csv.DictReader(file)] == comparable
    summaries = [json.loads(Path(f"sweep/{n}/summary.json").read_text()) for n in range(2)]
    assert [summary["validation_windows"] for summary in summaries] == n_windows
    is_said = "their validation windows are not the same" in ended.out
    assert is_said == ("1" in comparable)


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        (
            ["data.split=[0.7,0.1,0.2]"],
            [
                "data.validation_path=valid.csv",
                "data.split=[0.7,0.1,0.2]",
                "use data.split=[0.8,0,",
            ],
        ),
        (["data.validation_path=none.csv"], ["data.validation_path=none.csv does not exist"]),
        (["data.validation_path=series.csv"], ["is data.path itself"]),
        (
            ["data.validation_path=lacking.csv"],
            ["data.validation_path=lacking.csv has no column 'b', which the run trains on"],
        ),
        (["data.validation_path=text.csv"], ["data.validation_path=text.csv", "row 3, column 'b'"]),
    ],
)
def test_a_file_that_cannot_be_validated_on_is_refused(
    settings: list[str], fragments: list[str], train_command: RunCommand
) -> None:
    write_files()
    frame = series(30)
    frame.drop(columns="b").to_csv("lacking.csv", index=False)
    frame.astype({"b": object}).assign(b=["1", "x", *["2"] * 28]).to_csv("text.csv", index=False)
    assert_refused(train_command(*VALIDATED, *settings), fragments)
