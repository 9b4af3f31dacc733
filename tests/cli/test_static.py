"""Columns that describe a series, from training to forecasts of other series."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.app import predict
from tests.cli.finished import OF_FILE, series
from tests.cli.in_process import RunCommand, assert_refused

STATIC = (
    *OF_FILE,
    "data.path=long.csv",
    "data.series_column=id",
    "data.static=[size,region]",
    "data.future=[c]",
    "model.head=decoder",
)


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
    ended = train_command(*STATIC)
    assert ended.status == 0, ended.err
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
        (["data.static=[a]", "data.target=b"], ["series 'x': column 'a' holds", "all rows of a"]),
    ],
)
def test_what_does_not_describe_series_is_refused(
    settings: list[str], fragments: list[str], train_command: RunCommand
) -> None:
    long_table().to_csv("long.csv", index=False)
    assert_refused(train_command(*STATIC, *settings), fragments)
