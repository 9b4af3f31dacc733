"""`evaluate` repeats the test of a run to the last digit, and tests its model on other data."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.cli.damage import cut_off, spoil
from tests.cli.finished import LENGTH, OF_FILE, TEST_ROWS, finish_run, names_in, series
from tests.cli.in_process import Ended, RunCommand, assert_refused

SAME = "The same as in the summary of the run, to the last digit."

REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "another model": (["model.hidden_size=8"], ["model.hidden_size=8", "model.hidden_size=4"]),
    "longer windows": (["data.input_length=9"], ["data.input_length=9", "data.input_length=8"]),
    "other targets": (["data.target=[a]"], ["data.target=[a]", "leave it out"]),
    "a setting of training": (["optimizer.lr=1"], ["optimizer.lr", "training alone"]),
    "other weights": (["ckpt_path=x.ckpt"], ["ckpt_path", "checkpoint="]),
    "a folder of Hydra's": (["hydra.run.dir=x"], ["hydra.run.dir", "output="]),
    "a mistyped setting": (["data.pth=x.csv"], ["data.pth", "data.path?"]),
    "a mistyped setting of the command": (["chekpoint=last"], ["chekpoint", "checkpoint?"]),
    "an unknown checkpoint": (["checkpoint=first"], ["checkpoint=first", "best, last"]),
    "a device that there is not": (["placement.device_map=[cuda:9,0,0,0]"], ["cuda:9"]),
    "ranks without a launcher": (["engine=processes"], ["torchrun", "gru_parallel.evaluate"]),
    "a file that there is not": (["data.path=nope.csv"], ["data.path=nope.csv does not exist"]),
    "a short file": (["data.path=short.csv"], ["test part has 5 rows"]),
    "a file without a column": (
        ["data.path=lacking.csv"],
        ["data.path=lacking.csv has no column 'b'", "did you mean 'B'?", "date, a, B, c"],
    ),
    "a file as output": (["output=series.csv"], ["output=series.csv", "folder"]),
    "a flag": (["--output", "x"], ["output=x"]),
}


def metrics_of(ended: Ended, path: str = "run/evaluation/evaluation.json") -> dict[str, Any]:
    assert ended.status == 0, ended.err
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def test_the_test_of_a_run_is_repeated_to_the_last_digit_wherever_it_runs(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE)
    expected = json.loads((run / "summary.json").read_text())
    before = {name: (run / name).read_bytes() for name in ("summary.json", "forecasts.csv")}
    # Other data would standardise otherwise.
    (run / "config.yaml").unlink()
    moved = run.rename("elsewhere")
    places = ([], ["placement.device_map=[0,1,2,3]"], ["placement.device_map=[0,0,0,0]"])

    for place in places:
        ended = use_command("evaluate", f"run={moved}", *place)
        found = metrics_of(ended, "elsewhere/evaluation/evaluation.json")
        for name in ("test_metrics", "baselines", "test_windows", "all_test_windows"):
            assert found[name] == expected[name]
        errors = [folder / "test_metrics.csv" for folder in (moved, moved / "evaluation")]
        assert errors[0].read_bytes() == errors[1].read_bytes()
        assert SAME in ended.out
        assert ended.err == ""
    assert {name: (moved / name).read_bytes() for name in before} == before


def test_of_a_run_that_averages_its_weights_the_test_is_of_the_averages(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    ema = "_target_: lightning.pytorch.callbacks.EMAWeightAveraging, decay: 0.5"
    finish_run(train_command, *OF_FILE, f"+callbacks.mine={{{ema}}}")

    ended = use_command("evaluate", "run=run")

    assert SAME in ended.out, ended.out + ended.err


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_other_data_is_tested_as_a_whole_and_standardised_as_in_the_run(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE)
    expected = json.loads((run / "summary.json").read_text())
    # The test part, and the rows that its first windows look back to.
    rows = series().iloc[TEST_ROWS.start - LENGTH :]
    rows.assign(more=1.0)[["more", "c", "date", "b", "a"]].to_csv("other.csv", index=False)

    ended = use_command("evaluate", "run=run", "data.path=other.csv", "output=there")

    found = metrics_of(ended, "there/evaluation.json")
    # No part of other data is for training, so that nothing scales MASE.
    assert found["test_metrics"] == expected["test_metrics"] | {"mase": None}
    assert found["test_windows"] == expected["test_windows"]
    assert found["data"] == "other.csv"
    assert ended.err == (
        "gru_parallel: data.path=other.csv: more is not among the columns that the model was"
        " trained on, and ignored.\n"
    )
    assert SAME not in ended.out
    whole = use_command("evaluate", "run=run", "data.path=other.csv", "data.split=[0,0,1]")
    assert metrics_of(whole)["test_metrics"] == found["test_metrics"]
    split = use_command("evaluate", "run=run", "data.path=series.csv", "data.split=[0.5,0.3,0.2]")
    of_split = metrics_of(split)["test_metrics"]
    assert of_split.pop("mase") != expected["test_metrics"].pop("mase")
    assert of_split == expected["test_metrics"]


def test_the_recipe_with_lightning_gives_as_printed_what_the_run_tested(
    train_command: RunCommand,
) -> None:
    series().drop(index=50).to_csv("gap.csv", index=False)
    run = finish_run(
        train_command,
        *(setting for setting in OF_FILE if "data.path" not in setting),
        "data.path=gap.csv",
        "data.missing=interpolate",
        "data.frequency=1h",
    )
    page = (Path(__file__).parents[2] / "docs" / "after-training.md").read_text()
    recipe = re.search(r"## With Lightning.*?```python\n(.*?)```", page, re.DOTALL)
    assert recipe is not None
    names: dict[str, Any] = {}

    exec(recipe[1].replace("outputs/RUN", str(run)), names)

    expected = json.loads((run / "summary.json").read_text())["test_metrics"]
    found = {name: names["metrics"][f"test/{name}"] for name in expected}
    assert found == pytest.approx(expected, rel=1e-5)
    assert sum(map(len, names["forecasts"])) == len(TEST_ROWS) - 2
    all_of_it = recipe[1].replace("split=own.split", "split=[0, 0, 1]")
    exec(all_of_it.replace("outputs/RUN", str(run)), names)
    assert sum(map(len, names["forecasts"])) == len(series()) - LENGTH - 2


def test_values_that_are_made_up_are_counted_wherever_they_go_in(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    gaps = series()
    gaps.loc[[50, 118], "a"] = float("nan")
    gaps.to_csv("series.csv", index=False)
    of_test = "Filled in: 1 of 72 values of the test part, which were missing."

    trained = train_command(*OF_FILE, "data.missing=interpolate")
    evaluated = use_command("evaluate", "run=run")
    predicted = use_command("predict", "run=run")

    assert "Filled in: 1 of 252 values of the training part," in trained.out
    assert of_test in trained.out
    assert of_test in evaluated.out
    assert "Filled in: 1 of 24 values of the windows to forecast from," in predicted.out


def test_the_last_checkpoint_is_used_where_one_says_so_or_there_is_no_best(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE)

    last = use_command("evaluate", "run=run", "checkpoint=last")
    named = use_command("evaluate", "run=run/checkpoints/last.ckpt")
    (run / "checkpoints" / "best.ckpt").unlink()
    without = use_command("evaluate", "run=run")

    for ended in (last, named, without):
        assert "last.ckpt, epoch 0" in ended.out, ended.err
    assert "the run has no best.ckpt, as nothing was validated, and the last epoch" in without.out


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_a_damaged_checkpoint_is_named_and_passed_over_for_the_one_before(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    folder = finish_run(train_command, *OF_FILE) / "checkpoints"
    best, before = folder / "best.ckpt", folder / "best.previous.ckpt"
    before.write_bytes(best.read_bytes())
    spoil(best)

    of_one_before = use_command("evaluate", "run=run")
    cut_off(before)
    of_last = use_command("predict", "run=run")
    named = use_command("evaluate", f"run={best}")
    cut_off(folder / "last.ckpt")
    of_none = use_command("evaluate", "run=run")

    assert (of_one_before.status, of_last.status) == (0, 0), of_last.err
    assert "best.previous.ckpt, epoch 0" in of_one_before.out
    (line,) = of_one_before.err.splitlines()
    assert line.startswith(f"gru_parallel: run={best} is damaged")
    assert line.endswith("passed over for best.previous.ckpt.")
    assert "last.ckpt, epoch 0" in of_last.out
    assert [line.count("passed over for last.ckpt") for line in of_last.err.splitlines()] == [1, 1]
    assert (named.status, of_none.status) == (2, 2)
    assert f"run={best} is damaged" in named.err
    assert "best.ckpt, best.previous.ckpt, last.ckpt are damaged" in of_none.err
    assert len(of_none.err.splitlines()) == 1


def test_data_that_has_changed_since_is_not_taken_for_that_of_the_run(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    series(121).to_csv("series.csv", index=False)

    ended = use_command("evaluate", "run=run")

    assert (ended.status, ended.out) == (2, "")
    assert "no longer that of run=run" in ended.err
    assert "84 rows in its training part, and now there is 85 rows" in ended.err


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_ends_with_one_line_and_leaves_nothing(
    name: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    arguments, fragments = REFUSED[name]
    series(5).to_csv("short.csv", index=False)
    series().rename(columns={"b": "B"}).to_csv("lacking.csv", index=False)
    before = names_in(Path())

    ended = use_command("evaluate", "run=run", *arguments)

    assert_refused(ended, fragments)
    assert names_in(Path()) == before


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ([], ["run is not given", "run=..."]),
        (["run=nope"], ["run=nope does not exist"]),
        (["run=empty"], ["run=empty holds no checkpoint"]),
        (["run=empty/a.ckpt"], ["not a checkpoint of a run"]),
    ],
)
def test_a_folder_that_holds_no_run_ends_with_one_line(
    arguments: list[str], fragments: list[str], use_command: RunCommand
) -> None:
    Path("empty").mkdir()
    Path("empty/a.ckpt").write_bytes(b"")

    ended = use_command("evaluate", *arguments)

    assert_refused(ended, fragments)


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_a_run_on_the_built_in_series_is_tested_on_a_file(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    settings = [text for text in OF_FILE if not text.startswith("data")]
    generated = ("data.n_steps=120", "data.n_channels=4", "data.input_length=8", "data.horizon=2")
    finish_run(train_command, *settings, *generated)
    frame = pd.DataFrame({f"x{n}": series(40)["a"] for n in range(4)})
    frame.to_csv("file.csv", index=False)

    repeated = use_command("evaluate", "run=run")
    longer = use_command("evaluate", "run=run", "data.n_steps=140")
    other = use_command("evaluate", "run=run", "data=csv", "data.path=file.csv")

    assert SAME in repeated.out, repeated.err
    assert_refused(longer, ["With data.n_steps the data is not that of run=run", "leave it out"])
    found = metrics_of(other)
    assert found["test_windows"] == 40 - 8 - 2 + 1
    assert list(found["baselines"]) == ["repeat_last"]
    assert "data.season_length=34 reaches back 26 rows" in other.err


def test_a_run_that_was_trained_on_all_its_data_is_tested_on_other_data_alone(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE, "data.split=[1,0,0]")
    series(40, seed=1).to_csv("other.csv", index=False)

    own = use_command("evaluate", "run=run")
    named = use_command("evaluate", "run=run", "data.path=series.csv")
    other = use_command("evaluate", "run=run", "data.path=other.csv")

    assert (named.status, own.status, own.out) == (2, 2, "")
    assert "has no test part (data.split=[1,0,0])" in own.err
    assert "name other data with data.path=" in own.err
    assert metrics_of(other)["test_windows"] == 40 - LENGTH - 3 + 1
    assert "last.ckpt" in other.out or "best.ckpt" in other.out
