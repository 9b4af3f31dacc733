"""Columns that describe a series, from training to forecasts of other series."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.app import predict
from gru_parallel.training.checkpoint_file import read_checkpoint
from tests.cli.finished import OF_FILE, finish_run, series
from tests.cli.in_process import RunCommand, assert_refused

STATIC = (
    *OF_FILE,
    "data.path=long.csv",
    "data.series_column=id",
    "data.static=[size,region]",
    "data.future=[c]",
    "model.head=decoder",
)

ONE_STEP = ("trainer.max_steps=1", "trainer.limit_val_batches=0", "trainer.limit_test_batches=0")
"""For runs that only their data modules are looked at of."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which take most of the time."""
    monkeypatch.setattr(predict, "draw_forecasts", lambda *_: None)


def long_table(names: str = "xyz", region: str = "south") -> pd.DataFrame:
    """Make series that differ in all that describes them; the last one is from `region`."""
    regions = ["north", "south", region][-len(names) :]
    parts = [
        series(60, seed).assign(id=name, size=3 * seed, region=of_series)
        for seed, (name, of_series) in enumerate(zip(names, regions, strict=True))
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_model_forecasts_other_series_by_what_describes_them(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    long_table().to_csv("long.csv", index=False)
    finish_run(train_command, *STATIC)
    again = use_command("evaluate", "run=run")
    assert again.status == 0, again.err
    before, now = (
        json.loads(Path(path).read_text())["test_metrics"]
        for path in ("run/summary.json", "run/evaluation/evaluation.json")
    )
    assert now == before

    predict = ("predict", "run=run", "data.path=next.csv", "output=out.csv")
    found = []
    for region in ("south", "north", "west"):
        frame = long_table("w", region)
        frame.loc[50:, ["a", "b", "size", "region"]] = np.nan
        frame.to_csv("next.csv", index=False)
        ended = use_command(*predict)
        if region == "west":
            assert_refused(ended, ["series 'w'", "(data.static) holds 'west'", "north, south"])
            break
        assert ended.status == 0, ended.err
        found.append(pd.read_csv("out.csv")["y_hat"])
    assert len(found[0]) == 2 * 3
    assert (found[0] != found[1]).all()


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        (["data.static=[sizes]"], ["data.static=sizes is not a column (did you mean 'size'?)"]),
        (["data.static=[b]"], ["data.target and data.static both name 'b'"]),
        (["data.static=[c]"], ["data.static and data.future both name 'c'"]),
        (["data.static=[]"], ["data.static=[] names no column", "null for none"]),
        (["data.future=[]"], ["data.future=[] names no column", "null for none"]),
        (["data.static=[a]", "data.target=b"], ["series 'x': column 'a' holds", "all rows of a"]),
    ],
)
def test_what_does_not_describe_series_is_refused(
    settings: list[str], fragments: list[str], train_command: RunCommand
) -> None:
    long_table().to_csv("long.csv", index=False)
    assert_refused(train_command(*STATIC, *settings), fragments)


def test_words_keep_their_places_in_runs_that_begin_with_the_weights(
    train_command: RunCommand,
) -> None:
    long_table().to_csv("long.csv", index=False)
    finish_run(train_command, *STATIC)
    # As many words, in another order.
    long_table().replace("north", "zone").to_csv("long.csv", index=False)
    last = "run/checkpoints/last.ckpt"
    for settings in (
        (f"ckpt_path={last}", "trainer.max_epochs=2"),
        (f"init_from={last}",),
        (f"init_from={last}", "init_from_scaling=keep"),
    ):
        ended = train_command(*STATIC, *settings, run="other")
        assert_refused(
            ended,
            [f"{settings[0]} does not fit the data: data.path=long.csv: series 'x'", "'zone'"],
        )
    # Other sizes are refitted, or not, and the words are where they were.
    table = long_table().replace({"size": {0: 9}})
    table.to_csv("long.csv", index=False)
    for scaling, mean in (("refit", 6.0), ("keep", 3.0)):
        ended = train_command(
            *STATIC, *ONE_STEP, f"init_from={last}", f"init_from_scaling={scaling}", run=scaling
        )
        assert ended.status == 0, ended.err
        saved = read_checkpoint(ended.folder / "checkpoints" / "last.ckpt")["SeriesDataModule"]
        size, region = saved["static"]
        assert (size["mean"], tuple(region["categories"])) == (mean, ("north", "south"))


def test_fewer_words_keep_their_places_and_more_are_refused(train_command: RunCommand) -> None:
    long_table().to_csv("long.csv", index=False)
    finish_run(train_command, *STATIC)
    last = "run/checkpoints/last.ckpt"
    # By itself, this word would be the first one.
    long_table().query("region == 'south'").to_csv("long.csv", index=False)
    ended = train_command(*STATIC, *ONE_STEP, f"init_from={last}", run="fewer")
    assert ended.status == 0, ended.err
    saved = read_checkpoint(ended.folder / "checkpoints" / "last.ckpt")["SeriesDataModule"]
    assert saved["static"][1]["categories"] == ("north", "south")

    long_table(region="west").to_csv("long.csv", index=False)
    assert_refused(
        train_command(*STATIC, f"init_from={last}", run="more"),
        [
            f"init_from={last} does not fit the data: data.path=long.csv: series 'z'",
            "'west', and in the training part there is only north, south; correct it,",
        ],
    )


def test_weights_that_know_a_number_take_no_word_for_it(train_command: RunCommand) -> None:
    table = long_table()
    table.assign(region=1).to_csv("long.csv", index=False)
    assert train_command(*STATIC, *ONE_STEP).status == 0
    # One word becomes one number, as a number does.
    table.assign(region="north").to_csv("long.csv", index=False)
    ended = train_command(*STATIC, "init_from=run/checkpoints/last.ckpt", run="other")
    assert_refused(ended, ["does not fit the data", "holds 'north'", "there is only numbers"])
