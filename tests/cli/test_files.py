"""Files that need a setting to be read: what is said without it, and that it leads to a run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from gru_parallel.app.command_line import with_home
from tests.cli.in_process import SMALL, RunCommand, assert_refused, summary_of

HOURS = pd.date_range("2024-01-01", periods=100, freq="h")
SETTINGS = (
    "data=csv",
    "data.path=series.csv",
    "data.input_length=8",
    "data.horizon=2",
    "data.season_length=4",
    *(setting for setting in SMALL if not setting.startswith("data.")),
    "trainer.max_epochs=1",
)


def put(lines: Sequence[str], folder: Path) -> None:
    (folder / "series.csv").write_text("\n".join(lines) + "\n")


def value(n: int) -> float:
    return n * 7 % 11 + 0.5


GAPS = ["date,a", *(f"{t},{value(n)}" for n, t in enumerate(HOURS) if n not in {20, 21, 80})]

FILES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "thousands apart": (
        ["a", *(f'"{value(n) * 1000:,.1f}"' for n in range(100))],
        ["holds '7,500.0'", "data.thousands=comma"],
        ["data.thousands=comma"],
    ),
    "decimal commas": (
        ["date;a", *(f"{t:%d.%m.%Y %H:%M};{value(n)}" for n, t in enumerate(HOURS))],
        ["separates its columns with ';'", "data.separator=semicolon"],
        ["data.separator=semicolon"],
    ),
    "date and time apart": (
        ["date,time,a", *(f"{t:%d/%m/%Y,%I:%M %p},{value(n)}" for n, t in enumerate(HOURS))],
        ["repeats the time of row 2", "data.time_column=[date,time]"],
        ["data.time_column=[date,time]"],
    ),
    "a mark for missing values": (
        ["a", *(str(value(n) if n != 50 else 1.7976931348623157e308) for n in range(100))],
        ["row 52, column 'a'", "1.7976931348623157e+308", "data.missing=interpolate"],
        ["data.missing=interpolate"],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_setting_that_the_message_names_leads_to_a_run(
    name: str, train_command: RunCommand, plan_command: RunCommand, in_tmp_path: Path
) -> None:
    lines, fragments, remedy = FILES[name]
    put(lines, in_tmp_path)

    assert_refused(plan_command(*SETTINGS), fragments)
    ended = train_command(*SETTINGS)
    assert_refused(ended, fragments)
    assert not ended.folder.exists()

    ended = train_command(*SETTINGS, *remedy, "trainer.fast_dev_run=true")
    assert ended.status == 0, ended.err
    assert ended.err == ""
    assert plan_command(*SETTINGS, *remedy).status == 0


# As outside of pytest, where no filter makes an error of them.
@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_missing_rows_are_told_in_one_line_and_the_run_goes_on(
    train_command: RunCommand, plan_command: RunCommand, in_tmp_path: Path
) -> None:
    put(GAPS, in_tmp_path)

    for ended in (plan_command(*SETTINGS), train_command(*SETTINGS)):
        assert ended.status == 0
        (line,) = ended.err.splitlines()
        assert line.startswith("gru_parallel: data.path=series.csv: 3 rows are missing at a step")
        assert "data.frequency=1h" in line


def test_missing_rows_are_refused_or_filled_as_asked(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    put(GAPS, in_tmp_path)

    assert_refused(train_command(*SETTINGS, "data.frequency=1h"), ["3 rows are missing", "row 21"])
    ended = train_command(*SETTINGS, "data.frequency=1h", "data.missing=interpolate")
    assert ended.status == 0, ended.err
    assert ended.err == ""
    # 100 rows, of which the last 20 are for the test: windows of 2 target rows.
    assert summary_of(ended)["baselines"].keys() == {"repeat_last", "seasonal_naive"}
    again = train_command(
        *SETTINGS, "data.frequency=none", "trainer.fast_dev_run=true", run="again"
    )
    assert again.err == ""


def test_a_home_folder_may_be_written_as_in_a_shell(
    train_command: RunCommand, in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = in_tmp_path / "some body (home)"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    put(["a", *(str(value(n)) for n in range(100))], home)

    ended = train_command(*SETTINGS, "data.path=~/series.csv", run="~/runs")

    assert ended.status == 0, ended.err
    assert (home / "runs" / "summary.json").exists()


def test_a_home_folder_is_put_in_where_a_value_begins() -> None:
    home = str(Path.home())
    given = ["a=~/x", "a=[~/x,~]", "a=~", "~a.b", "a=b~/x", "a=~user/x"]
    expected = [f"a={home}/x", f"a=[{home}/x,{home}]", f"a={home}", *given[3:]]
    assert with_home(given) == expected


def test_the_data_do_not_follow_the_seed_of_the_run(train_command: RunCommand) -> None:
    short = [*SMALL, "trainer.fast_dev_run=true"]
    baselines = [
        summary_of(train_command(*short, *overrides, run=run))["baselines"]
        for run, overrides in {"a": [], "b": ["seed=1"], "c": ["data.seed=1"]}.items()
    ]
    assert baselines[0] == baselines[1] != baselines[2]
